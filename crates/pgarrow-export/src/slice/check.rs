//! What a token may contain: everything in it that reaches SQL has a form that does no harm.

use pgarrow_session::Result;

use crate::slice::{Slice, SliceRange, SliceRelation, SliceSubject, TOKEN_BYTES_MAX, refused};

/// Bytes of a name at most; servers cut names at 63 bytes unless they are built with another limit.
const NAME_BYTES_MAX: usize = 1024;
/// Columns of a result at most: `MaxTupleAttributeNumber` of PostgreSQL's
/// `src/include/access/htup_details.h`.
const COLUMNS_MAX: usize = 1664;
/// Relations of a slice at most.
const RELATIONS_MAX: usize = 65_536;
/// Relations that a statement opens at most: several for each one that it names.
const OPENS_MAX: usize = 16 * RELATIONS_MAX;

impl Slice {
    /// Checks that the token is valid.
    pub(crate) fn check(&self) -> Result<()> {
        if self.version != Self::VERSION {
            return Err(refused("its version is not 2"));
        }
        if self.index >= self.of {
            return Err(refused("its index is not below the number of slices"));
        }
        if self.columns.len() > COLUMNS_MAX || self.columns.iter().any(|name| !is_text(name, NAME_BYTES_MAX))
        {
            return Err(refused("its columns cannot be columns"));
        }
        let source = &self.source;
        let texts = [&source.endpoint, &source.database, &source.server_started, &self.schema_fingerprint];
        if texts.iter().any(|text| !is_text(text, NAME_BYTES_MAX)) {
            return Err(refused("a text in it is too long or has a NUL byte"));
        }
        if self.filter.as_ref().is_some_and(|filter| !is_text(filter, TOKEN_BYTES_MAX)) {
            return Err(refused("its filter has a NUL byte"));
        }
        if let Some(snapshot) = &self.snapshot {
            if !is_snapshot_id(&snapshot.exported) {
                return Err(refused("its snapshot is not one that pg_export_snapshot() returns"));
            }
            // Its length has no bound: a snapshot lists the transactions that were running.
            if !snapshot.current.chars().all(|c| c.is_ascii_digit() || c == ':' || c == ',') {
                return Err(refused("its snapshot is not one that pg_current_snapshot() returns"));
            }
        }
        if self.opens.len() > OPENS_MAX || self.opens.contains(&0) {
            return Err(refused("it opens no relation, or too many"));
        }
        self.check_subject()?;
        self.check_range()
    }

    fn check_subject(&self) -> Result<()> {
        let is_relation = |relation: &SliceRelation| {
            relation.oid != 0 && is_name(&relation.schema) && is_name(&relation.name)
        };
        match &self.subject {
            SliceSubject::Relations { table, reads } => {
                let is_one = is_relation(table) && reads.iter().all(|read| is_relation(&read.relation));
                match is_one && (1..=RELATIONS_MAX).contains(&reads.len()) {
                    true => Ok(()),
                    false => Err(refused("it names no relation, too many, or one that cannot be")),
                }
            }
            SliceSubject::Query(_) if self.filter.is_some() => Err(refused("a query has no filter")),
            SliceSubject::Query(sql) if !is_text(sql, TOKEN_BYTES_MAX) => {
                Err(refused("its query has a NUL byte"))
            }
            SliceSubject::Query(_) => Ok(()),
        }
    }

    fn check_range(&self) -> Result<()> {
        let is_of_one = match &self.subject {
            SliceSubject::Relations { reads, .. } => reads.len() == 1,
            SliceSubject::Query(_) => true,
        };
        match &self.range {
            SliceRange::Whole => Ok(()),
            SliceRange::Pages { from, to } => {
                // A block number has 32 bits. `ctid` is unique in one heap only.
                let is_heap = match &self.subject {
                    SliceSubject::Relations { reads, .. } => reads.iter().all(|read| read.only),
                    SliceSubject::Query(_) => false,
                };
                let is_ascending = to.is_none_or(|to| *from < to && to <= u64::from(u32::MAX));
                match is_of_one && is_heap && is_ascending && *from <= u64::from(u32::MAX) {
                    true => Ok(()),
                    false => Err(refused("its pages are not pages of one table")),
                }
            }
            SliceRange::Key { column, from, to, nulls, .. } => {
                let is_bound = |bound: &Option<String>| {
                    bound.as_ref().is_none_or(|text| is_text(text, 64 * NAME_BYTES_MAX))
                };
                // Several relations must be read alone each: the key says nothing about the relation that a
                // row is in.
                let is_of_some = match &self.subject {
                    SliceSubject::Relations { reads, .. } => is_of_one || reads.iter().all(|read| read.only),
                    SliceSubject::Query(_) => true,
                };
                if !is_of_some || !is_name(column) || !is_bound(from) || !is_bound(to) {
                    return Err(refused("its key or a bound of it cannot be one"));
                }
                if from.is_none() && to.is_none() && !nulls {
                    return Err(refused("its range has neither bounds nor NULL keys"));
                }
                let is_named = || self.columns.iter().filter(|name| *name == column).count() == 1;
                match &self.subject {
                    SliceSubject::Query(_) if !is_named() => {
                        Err(refused("its key is not exactly one column of the query"))
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

/// Whether it has the form that `pg_export_snapshot()` returns: two groups of eight hexadecimal digits and a
/// number. A server uses the text as a file name.
///
/// Source: `ExportSnapshot` in PostgreSQL's `src/backend/utils/time/snapmgr.c`.
pub(crate) fn is_snapshot_id(text: &str) -> bool {
    let is_group = |group: &str| group.len() == 8 && group.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number =
        |group: &str| (1..=20).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_digit());
    let mut groups = text.split('-');
    let found = (groups.next(), groups.next(), groups.next(), groups.next());
    matches!(found, (Some(a), Some(b), Some(c), None) if is_group(a) && is_group(b) && is_number(c))
}

fn is_text(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max && !text.contains('\0')
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && is_text(text, NAME_BYTES_MAX)
}
