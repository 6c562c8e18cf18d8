//! Why tables are not read by pages. Equal reasons of many tables become one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pgarrow_types::Message;

use crate::plan::{Plan, PlanReport};

impl PlanReport {
    /// [`page_notes`](Self::page_notes) for people: a reason that several partitions have is one line,
    /// `198 of 200 tables of public.orders (public.orders_1 and 197 more): …`.
    pub fn page_notes_text(&self) -> Vec<Message> {
        let tables: BTreeSet<&str> =
            self.slices.iter().flat_map(|slice| &slice.relations).map(String::as_str).collect();
        grouped(&self.page_notes, tables.len(), Some(&self.subject))
    }
}

/// Why tables of these plans are read by COPY.
pub(super) fn of_plans(plans: &[Arc<Plan>]) -> Vec<Message> {
    let slices = plans.iter().flat_map(|plan| plan.slices());
    let tables: BTreeSet<u32> =
        slices.flat_map(|slice| &slice.relations).map(|(relation, _)| relation.oid).collect();
    let of = match plans {
        [plan] => Some(plan.subject()),
        _ => None,
    };
    grouped(plans.iter().flat_map(|plan| &plan.pages.why_not), tables.len(), of)
}

/// A reason and the tables that have it.
struct Group {
    reason: Message,
    /// `None` if the note has no name in front.
    first: Option<String>,
    names: BTreeSet<String>,
}

/// The notes, each once. Notes `NAME: reason` with equal reasons become one, in the place of the first.
/// `n_tables`: how many tables can have them; `of`: the table that all of them belong to, if it is one.
pub(crate) fn grouped<'a>(
    notes: impl IntoIterator<Item = &'a Message>,
    n_tables: usize,
    of: Option<&str>,
) -> Vec<Message> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: BTreeMap<(bool, String), usize> = BTreeMap::new();
    for note in notes {
        let (name, reason) = match named(note) {
            Some((name, reason)) => (Some(name), reason),
            None => (None, note.clone()),
        };
        let place = *places.entry((name.is_some(), reason.to_string())).or_insert_with(|| {
            groups.push(Group { reason, first: name.clone(), names: BTreeSet::new() });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            group.names.extend(name);
        }
    }
    groups.iter().map(|group| text(group, n_tables, of)).collect()
}

fn text(group: &Group, n_tables: usize, of: Option<&str>) -> Message {
    let Group { reason, first, names } = group;
    let front = match (first, names.len()) {
        (None, _) => String::new(),
        (Some(name), 1) => format!("{name}: "),
        (Some(first), n_named) => {
            let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
            let which = match n_named < n_tables {
                true => format!(" ({first} and {} more)", n_named - 1),
                false => String::new(),
            };
            format!("{n_named} of {} tables{of}{which}: ", n_tables.max(n_named))
        }
    };
    reason.clone().behind(front)
}

/// Name and reason of `NAME: reason`, the name as a relation is printed: without spaces outside of its
/// quotes.
fn named(note: &Message) -> Option<(String, Message)> {
    let text = note.to_string();
    let mut is_quoted = false;
    let end = text.find(|c: char| {
        is_quoted ^= c == '"';
        !is_quoted && (c == ':' || c.is_whitespace())
    })?;
    let name = text.get(..end)?;
    let reason = note.strip_prefix(&format!("{name}: "))?;
    Some((name.to_owned(), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(notes: &[&str], n_tables: usize, of: Option<&str>) -> Vec<Message> {
        let notes: Vec<Message> = notes.iter().map(|note| Message::from(*note)).collect();
        grouped(&notes, n_tables, of)
    }

    /// Formerly, each of two hundred partitions had a line.
    #[test]
    fn what_many_tables_have_is_said_once() {
        let of_all: Vec<Message> =
            (0..200).map(|n| format!("public.p_{n}: column \"x\" is odd: so").into()).collect();
        let expected = ["200 of 200 tables of public.p: column \"x\" is odd: so"];
        assert_eq!(grouped(&of_all, 200, Some("public.p")), expected);
        let of_some =
            ["a.b: it is small", "the role may not", "a.c: odd", "a.d: it is small", "a.b: it is small"];
        let expected = ["2 of 7 tables (a.b and 1 more): it is small", "the role may not", "a.c: odd"];
        assert_eq!(notes(&of_some, 7, None), expected);
        // The count does not include tables without slices.
        assert_eq!(notes(&["a.b: odd", "a.c: odd"], 1, None), ["2 of 2 tables: odd"]);
    }

    #[test]
    fn names_are_as_relations_print_them() {
        let of_quoted = named(&"public.\"a: \"\"b\": it is: small".into());
        assert_eq!(of_quoted, Some(("public.\"a: \"\"b\"".to_owned(), "it is: small".into())));
        for note in ["the role may: not", "column \"a\": odd", "a.b:odd", "a.b", "\"a: b"] {
            assert_eq!(named(&note.into()), None, "{note}");
        }
        // A note without a table stays as it is.
        assert_eq!(notes(&["the role: no", "the role: no"], 3, Some("public.p")), ["the role: no"]);
    }
}
