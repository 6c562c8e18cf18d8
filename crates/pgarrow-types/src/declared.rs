//! A type as it was declared: the input of a receive function besides the bytes.

/// A type with its modifier, domains resolved to their base type, and the same for each of its parts.
///
/// Receive functions silently round and cut by the modifier (`timestamp(3)`, `numeric(10,2)`).
///
/// Source: `getBaseTypeAndTypmod` in PostgreSQL's `src/backend/utils/cache/lsyscache.c`; the `*_recv`
/// functions in `src/backend/utils/adt/`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeclaredType {
    /// `pg_type.oid`; for a domain, that of its base type. 0 if it is not known.
    pub base_oid: u32,
    /// `atttypmod`, `typtypmod`; -1 if there is none.
    pub type_modifier: i32,
    /// An array's element, a composite type's attributes, a range's bounds. Empty if they are not known.
    pub parts: Vec<DeclaredType>,
}

/// A part that is not known.
static UNKNOWN: DeclaredType = DeclaredType { base_oid: 0, type_modifier: -1, parts: Vec::new() };

impl DeclaredType {
    /// A type without parts.
    pub fn new(base_oid: u32, type_modifier: i32) -> Self {
        Self { base_oid, type_modifier, parts: Vec::new() }
    }

    /// One of its parts; without a modifier, if nothing is known of it.
    pub fn part(&self, index: usize) -> &Self {
        self.parts.get(index).unwrap_or(&UNKNOWN)
    }

    /// Digits of a second that the type keeps: `time(p)`, `timestamp(p)` and their kin. 6 if it declares
    /// none.
    ///
    /// Source: `anytime_typmod_check` and `anytimestamp_typmod_check` in `src/backend/utils/adt/`.
    pub fn second_digits(&self) -> u8 {
        u8::try_from(self.type_modifier).map_or(6, |digits| digits.min(6))
    }
}
