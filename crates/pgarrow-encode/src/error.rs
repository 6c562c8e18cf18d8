//! Why a value, or a whole type, cannot become PostgreSQL's.

use std::fmt;

/// Why one value could not be encoded. Holds no data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ValueError {
    /// Outside the range of the target's type.
    OutOfRange,
    /// It has digits that the target's type does not keep.
    LostDigits,
    /// Text with more blanks at its end than the target's type keeps.
    LostBlanks,
    /// Text holds a zero byte, which PostgreSQL's text cannot.
    ZeroByte,
    /// Text is not one of the target's labels.
    Label,
    /// Text is not a value of the target's type; the text says why.
    Malformed(&'static str),
    /// The target's type has no such value; the text says why.
    Invalid(&'static str),
    /// A key occurs twice, and the target's type would keep one of its values.
    DuplicateKey,
    /// NULL where the target's type has no room for it, as in a point's coordinate.
    NullPart,
    /// The lists in a list are of different lengths; PostgreSQL's arrays are rectangular.
    Ragged,
    /// A number that JSON does not have: NaN or an infinity.
    NotJson,
    /// A geometry of another SRID than the column declares.
    Srid,
    /// More than 1 GiB, PostgreSQL's limit.
    TooLarge,
    /// The array has another type than the encoder was made for.
    WrongArray,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfRange => "a value outside the range of the column's type",
            Self::LostDigits => "a value with more digits than the column's type keeps",
            Self::LostBlanks => "text with blanks at its end that the column's type cuts off",
            Self::ZeroByte => "text with a zero byte, which PostgreSQL cannot store",
            Self::Label => "text that is not one of the enum's labels",
            Self::Malformed(what) => {
                return write!(f, "text that is not a value of the column's type: {what}");
            }
            Self::Invalid(what) => return write!(f, "{what}, which the column's type does not have"),
            Self::DuplicateKey => "a key that is there twice; PostgreSQL would keep one",
            Self::NullPart => "NULL in a part of a value that cannot be NULL",
            Self::Ragged => "lists of different lengths in one list, which no PostgreSQL array holds",
            Self::NotJson => "NaN or an infinity, which JSON does not have",
            Self::Srid => "a geometry of another SRID than the column declares",
            Self::TooLarge => "a value of more than 1 GiB",
            Self::WrongArray => "an array of another type than the schema says",
        })
    }
}

impl std::error::Error for ValueError {}

/// A [`ValueError`], and its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EncodeError {
    /// The row in the batch, from 0.
    pub row: usize,
    /// The column in the encoder, from 0.
    pub column: usize,
    /// What is wrong with the value.
    pub cause: ValueError,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} of the batch, column {}: {}", self.row, self.column, self.cause)
    }
}

impl std::error::Error for EncodeError {}

/// Why values of an Arrow type cannot become values of the target's type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// What would help.
    pub kind: RefusalKind,
    /// The part of the type that it is about, as in `item.start`; empty for the whole type.
    pub path: String,
    /// Why, for people: "Int64 does not always fit".
    pub why: String,
}

/// What would help after a [`Refusal`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RefusalKind {
    /// [`Conversions::Check`](crate::Conversions::Check): values may fit.
    NeedsCheck,
    /// [`Conversions::Round`](crate::Conversions::Round): digits are lost.
    NeedsRound,
    /// The binary form of the target's type is not known: the server has to read text.
    NeedsServer,
    /// Nothing: the types are unrelated.
    Mismatch,
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, why: impl Into<String>) -> Self {
        Self { kind, path: String::new(), why: why.into() }
    }

    /// Values may fit, and may not.
    pub(crate) fn needs_check(why: impl Into<String>) -> Self {
        Self::new(RefusalKind::NeedsCheck, why)
    }

    /// Values are rounded.
    pub(crate) fn needs_round(why: impl Into<String>) -> Self {
        Self::new(RefusalKind::NeedsRound, why)
    }

    /// The same, for this part of a type.
    #[must_use]
    pub(crate) fn inside(mut self, part: &str) -> Self {
        self.path = if self.path.is_empty() { part.to_owned() } else { format!("{part}.{}", self.path) };
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => f.write_str(&self.why),
            false => write!(f, "{}: {}", self.path, self.why),
        }
    }
}

impl std::error::Error for Refusal {}
