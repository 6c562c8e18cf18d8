//! Why tables are not read by pages, equal reasons of many tables as one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::plan::{Plan, PlanReport};

impl PlanReport {
    /// [`page_notes`](Self::page_notes) for people: a reason that several partitions have is one line,
    /// `198 of 200 tables of public.orders (public.orders_1 and 197 more): …`.
    pub fn page_notes_text(&self) -> Vec<String> {
        let tables: BTreeSet<&str> =
            self.slices.iter().flat_map(|slice| &slice.relations).map(String::as_str).collect();
        grouped(&self.page_notes, tables.len(), Some(&self.subject))
    }
}

/// Why tables of these plans are read by COPY.
pub(super) fn of_plans(plans: &[Arc<Plan>]) -> Vec<String> {
    let slices = plans.iter().flat_map(|plan| plan.slices());
    let tables: BTreeSet<u32> =
        slices.flat_map(|slice| &slice.relations).map(|(relation, _)| relation.oid).collect();
    let of = match plans {
        [plan] => Some(plan.subject()),
        _ => None,
    };
    grouped(plans.iter().flat_map(|plan| &plan.pages.why_not), tables.len(), of)
}

/// A reason, and who has it.
struct Group<'a> {
    reason: &'a str,
    /// None if the note has no name in front.
    first: Option<&'a str>,
    names: BTreeSet<&'a str>,
}

/// Notes, each once; of those that are `NAME: reason`, equal reasons as one note, where the first of them was. There are
/// `n_tables` that can have them, all of them tables `of` this one, if it is one.
pub(crate) fn grouped<'a>(
    notes: impl IntoIterator<Item = &'a String>,
    n_tables: usize,
    of: Option<&str>,
) -> Vec<String> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut places: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    for note in notes {
        let (name, reason) = named(note).map_or((None, note.as_str()), |(name, reason)| (Some(name), reason));
        let place = *places.entry((name.is_some(), reason)).or_insert_with(|| {
            groups.push(Group { reason, first: name, names: BTreeSet::new() });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            group.names.extend(name);
        }
    }
    groups.iter().map(|group| text(group, n_tables, of)).collect()
}

fn text(group: &Group<'_>, n_tables: usize, of: Option<&str>) -> String {
    let Group { reason, first, names } = group;
    match (first, names.len()) {
        (None, _) => (*reason).to_owned(),
        (Some(name), 1) => format!("{name}: {reason}"),
        (Some(first), n_named) => {
            let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
            let which = match n_named < n_tables {
                true => format!(" ({first} and {} more)", n_named - 1),
                false => String::new(),
            };
            format!("{n_named} of {} tables{of}{which}: {reason}", n_tables.max(n_named))
        }
    }
}

/// Name and reason of `NAME: reason`, the name as a relation is printed: without spaces outside of its quotes.
fn named(note: &str) -> Option<(&str, &str)> {
    let mut is_quoted = false;
    let end = note.find(|c: char| {
        is_quoted ^= c == '"';
        !is_quoted && (c == ':' || c.is_whitespace())
    })?;
    let (name, rest) = note.split_at(end);
    Some((name, rest.strip_prefix(": ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(notes: &[&str], n_tables: usize, of: Option<&str>) -> Vec<String> {
        let notes: Vec<String> = notes.iter().map(|note| (*note).to_owned()).collect();
        grouped(&notes, n_tables, of)
    }

    /// There was a line for each of two hundred partitions.
    #[test]
    fn what_many_tables_have_is_said_once() {
        let of_all: Vec<String> =
            (0..200).map(|n| format!("public.p_{n}: column \"x\" is odd: so")).collect();
        let expected = ["200 of 200 tables of public.p: column \"x\" is odd: so"];
        assert_eq!(grouped(&of_all, 200, Some("public.p")), expected);
        let of_some =
            ["a.b: it is small", "the role may not", "a.c: odd", "a.d: it is small", "a.b: it is small"];
        let expected = ["2 of 7 tables (a.b and 1 more): it is small", "the role may not", "a.c: odd"];
        assert_eq!(notes(&of_some, 7, None), expected);
        // Tables without slices are not among those that were counted.
        assert_eq!(notes(&["a.b: odd", "a.c: odd"], 1, None), ["2 of 2 tables: odd"]);
    }

    #[test]
    fn names_are_as_relations_print_them() {
        assert_eq!(named("public.\"a: \"\"b\": it is: small"), Some(("public.\"a: \"\"b\"", "it is: small")));
        for note in ["the role may: not", "column \"a\": odd", "a.b:odd", "a.b", "\"a: b"] {
            assert_eq!(named(note), None, "{note}");
        }
        // What is no table's is told as it is.
        assert_eq!(notes(&["the role: no", "the role: no"], 3, Some("public.p")), ["the role: no"]);
    }
}
