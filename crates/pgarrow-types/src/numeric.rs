//! `numeric`'s type modifier, and the decimal that holds every value it allows.

use arrow_schema::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION};

use crate::choices::NumericForm;

/// A `numeric` column's declared precision and scale.
///
/// Source: `make_numeric_typmod`, `numeric_typmod_precision` and `numeric_typmod_scale` in
/// PostgreSQL's `src/backend/utils/adt/numeric.c`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub enum NumericType {
    /// No type modifier: up to 131,072 digits before the point and 16,383 after it.
    Unconstrained,
    /// `numeric(precision, scale)`: precision 1 to 1,000 digits, scale -1,000 to 1,000.
    Declared {
        /// Significant digits.
        precision: u16,
        /// Digits after the point. If negative, the value is a multiple of 10^-scale.
        scale: i16,
    },
}

/// The Arrow form of a `numeric` column's values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DecimalForm {
    /// Up to 38 digits, 16 bytes a value.
    Decimal128 {
        /// 1 to 38.
        precision: u8,
        /// 0 to `precision`.
        scale: i8,
    },
    /// 39 to 76 digits, 32 bytes a value.
    Decimal256 {
        /// 39 to 76.
        precision: u8,
        /// 0 to `precision`.
        scale: i8,
    },
    /// The nearest double.
    Float64,
    /// The text PostgreSQL prints: no decimal of Arrow holds every value of the type.
    Text,
}

impl NumericType {
    /// Reads a type modifier as in `pg_attribute.atttypmod` and `RowDescription`.
    pub fn from_type_modifier(type_modifier: i32) -> Self {
        // VARHDRSZ is part of the stored modifier; below it there is none.
        let Some(packed) = type_modifier.checked_sub(4).filter(|packed| *packed >= 0) else {
            return Self::Unconstrained;
        };
        let precision = ((packed >> 16) & 0xffff) as u16;
        // An 11-bit two's complement number since PostgreSQL 15; before, 0 to 1,000: the same bits.
        let scale = ((packed & 0x7ff) ^ 1024) - 1024;
        Self::Declared { precision, scale: scale as i16 }
    }

    /// The Arrow form of the type's values with this choice.
    pub fn form(self, choice: NumericForm) -> DecimalForm {
        match (choice, self.decimal_form()) {
            (NumericForm::Text, _) => DecimalForm::Text,
            (NumericForm::Float64, _) => DecimalForm::Float64,
            (NumericForm::Decimal(decimal), DecimalForm::Text) => {
                Self::Declared { precision: decimal.precision().into(), scale: decimal.scale().into() }
                    .decimal_form()
            }
            // If a scan found values, it is a decimal by now.
            (NumericForm::Exact | NumericForm::Scan | NumericForm::Decimal(_), own) => own,
        }
    }

    /// The smallest decimal that holds every finite value of the type.
    ///
    /// A negative scale widens the precision, since Parquet has none; a scale above the precision
    /// (`numeric(3,7)`) becomes a decimal of that many digits.
    pub fn decimal_form(self) -> DecimalForm {
        let Self::Declared { precision, scale } = self else {
            return DecimalForm::Text;
        };
        let (precision, scale) = (i32::from(precision), i32::from(scale));
        let (precision, scale) =
            if scale < 0 { (precision - scale, 0) } else { (precision.max(scale), scale) };
        match (u8::try_from(precision), i8::try_from(scale)) {
            (Ok(precision @ 1..=DECIMAL128_MAX_PRECISION), Ok(scale)) => {
                DecimalForm::Decimal128 { precision, scale }
            }
            (Ok(precision @ 1..=DECIMAL256_MAX_PRECISION), Ok(scale)) => {
                DecimalForm::Decimal256 { precision, scale }
            }
            _ => DecimalForm::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `make_numeric_typmod` packs it.
    fn typmod(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn type_modifiers_as_the_server_packs_them() {
        for (precision, scale) in [(1, 0), (15, 2), (38, 38), (1000, 1000), (1000, -1000), (3, -6), (3, 7)] {
            assert_eq!(
                NumericType::from_type_modifier(typmod(precision, scale)),
                NumericType::Declared { precision: precision as u16, scale: scale as i16 },
            );
        }
        for none in [-1, 0, 3, i32::MIN] {
            assert_eq!(NumericType::from_type_modifier(none), NumericType::Unconstrained);
        }
    }

    #[test]
    fn every_declared_numeric_has_a_form_that_holds_it() {
        let form = |precision, scale| NumericType::Declared { precision, scale }.decimal_form();
        assert_eq!(form(15, 2), DecimalForm::Decimal128 { precision: 15, scale: 2 });
        assert_eq!(form(38, 38), DecimalForm::Decimal128 { precision: 38, scale: 38 });
        assert_eq!(form(39, 10), DecimalForm::Decimal256 { precision: 39, scale: 10 });
        assert_eq!(form(76, 0), DecimalForm::Decimal256 { precision: 76, scale: 0 });
        assert_eq!(form(77, 10), DecimalForm::Text);
        assert_eq!(form(3, -6), DecimalForm::Decimal128 { precision: 9, scale: 0 });
        assert_eq!(form(3, 7), DecimalForm::Decimal128 { precision: 7, scale: 7 });
        assert_eq!(form(1000, -1000), DecimalForm::Text);
        assert_eq!(form(1, 77), DecimalForm::Text);
        assert_eq!(NumericType::Unconstrained.decimal_form(), DecimalForm::Text);
    }
}
