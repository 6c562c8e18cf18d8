//! Columns that go undecoded from one server to another, and the conditions for that.
//!
//! The receive function of a type accepts the bytes of the type's send function on another server if three
//! conditions hold. The type is built in, so its OID means the same everywhere. Every version reads it in the
//! same way. It refers to nothing that only one of the servers knows: no OIDs of objects, no enum labels, no
//! attributes of composites, no currency.

use std::collections::BTreeMap;

use crate::descriptor::built_in_types;

/// A type as a column declares it: its OID and its modifier (`atttypid`, `atttypmod`; -1 is no modifier).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ColumnType {
    /// `pg_type.oid`.
    pub oid: u32,
    /// The type modifier.
    pub modifier: i32,
}

impl ColumnType {
    /// Whether a column of the target type accepts the bytes of this type's values unchanged: the type is
    /// portable and the same, and the target's modifier is the same, or none.
    ///
    /// A receive function applies the modifier silently (`numeric_recv` rounds), so the values must be
    /// checked if the modifiers differ.
    pub fn goes_into(self, target: Self) -> bool {
        is_portable(self.oid)
            && target.oid == self.oid
            && (target.modifier == self.modifier || target.modifier == -1)
    }
}

/// The columns that may go undecoded, by name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OpaqueColumns {
    by_name: BTreeMap<String, ColumnType>,
    /// The table will be created from the data that arrives, so it has the same types.
    all: bool,
}

impl OpaqueColumns {
    /// Every column whose type is portable: for a table that is created like the source's columns.
    pub fn all() -> Self {
        Self { by_name: BTreeMap::new(), all: true }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        !self.all && self.by_name.is_empty()
    }

    /// The type of the column of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<ColumnType> {
        self.by_name.get(name).copied()
    }

    /// Whether a column of this name and type may go undecoded into these.
    pub fn takes(&self, name: &str, source: ColumnType) -> bool {
        source.goes_into(if self.all { source } else { self.get(name).unwrap_or(NO_TYPE) })
    }
}

/// `InvalidOid`.
const NO_TYPE: ColumnType = ColumnType { oid: 0, modifier: -1 };

impl FromIterator<(String, ColumnType)> for OpaqueColumns {
    fn from_iter<T: IntoIterator<Item = (String, ColumnType)>>(columns: T) -> Self {
        Self { by_name: columns.into_iter().collect(), all: false }
    }
}

/// Whether a type's binary form means the same on every server. False for all types that are not built in,
/// for `aclitem`, which names objects, and for `tsquery`, whose receive function refuses empty values, which
/// it sends.
fn is_portable(type_oid: u32) -> bool {
    type_oid != 0 && built_in_types().any(|of| of.is_portable && [of.oid, of.array_oid].contains(&type_oid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMERIC_10_2: ColumnType = ColumnType { oid: 1700, modifier: (10 << 16 | 2) + 4 };

    #[test]
    fn the_same_type_with_the_same_modifier_or_none() {
        let any = ColumnType { modifier: -1, ..NUMERIC_10_2 };
        let columns: OpaqueColumns =
            [("same".to_owned(), NUMERIC_10_2), ("any".to_owned(), any)].into_iter().collect();
        assert!(columns.takes("same", NUMERIC_10_2) && columns.takes("any", NUMERIC_10_2));
        // It would round silently.
        assert!(!columns.takes("same", any));
        assert!(!columns.takes("same", ColumnType { oid: 701, modifier: -1 }));
        assert!(!columns.takes("missing", any));
    }

    #[test]
    fn what_means_something_on_one_server_only_is_decoded() {
        // money, xml, aclitem, regclass, interval, int2vector, oidvector, and a type that is made on a
        // server.
        for oid in [790, 142, 1033, 2205, 1186, 22, 30, 16_384, 0] {
            assert!(!OpaqueColumns::all().takes("a", ColumnType { oid, modifier: -1 }), "{oid}");
        }
        assert!(OpaqueColumns::all().takes("a", NUMERIC_10_2));
        assert!(OpaqueColumns::default().is_empty() && !OpaqueColumns::all().is_empty());
    }
}
