//! Messages for runs with fewer readers than asked for, with advice.

use pgarrow_types::call::PLAN;
use pgarrow_types::option::SLICE_BYTES;
use pgarrow_types::{Hint, Message, message};

use crate::memory_policy::{self, Wish};
use crate::options::ExportOptions;
use crate::plan::Plan;

/// The most lines about tables that one connection reads.
const TABLES_NAMED: usize = 4;

/// Why there are fewer readers than the `asked` number; empty if there are not, or if another message said so
/// before. Also empty without a number from the user: the run then wants only as many as there is work for.
pub(crate) fn than_asked(asked: Option<usize>, options: &ExportOptions, plans: &[Plan]) -> Vec<Message> {
    let Some(asked) = asked.filter(|asked| *asked > 1) else { return Vec::new() };
    if options.readers != Some(asked) {
        let relations = plans.iter().filter_map(Plan::relation);
        let temporary = relations.into_iter().find(|relation| relation.is_temporary());
        let warnings =
            temporary.into_iter().map(|relation| of_temporary(asked, &relation.to_string()).into());
        return warnings.collect();
    }
    let n_slices: usize = plans.iter().map(Plan::n_slices).sum();
    let allowed = options.readers_wanted();
    if allowed < asked && allowed <= n_slices {
        return vec![of_memory(asked, allowed, options)];
    }
    match plans {
        [plan] if n_slices < allowed => vec![of_one(asked, plan, options)],
        [_] => Vec::new(),
        plans => of_many(asked, allowed, n_slices, plans),
    }
}

fn of_temporary(asked: usize, relation: &str) -> String {
    format!(
        "one connection reads instead of {asked}: {relation} is a temporary table, which is there for its own session \
         only; copy it into a table that is not, for several"
    )
}

fn of_memory(asked: usize, allowed: usize, options: &ExportOptions) -> Message {
    let mib = |bytes: usize| bytes >> 20;
    let needed = memory_policy::limit_for_readers(asked);
    let text = format!(
        "{} instead of {asked}: {} MiB of memory are enough for no more, and {asked} need {} MiB (",
        reads(allowed),
        mib(options.memory_bytes()),
        mib(needed)
    );
    message![text, Hint::memory(needed), ")"]
}

/// Why this limit allows fewer readers than the run wanted.
pub(crate) fn within_memory(n_readers: usize, wish: &Wish, limit: usize) -> Message {
    let Wish { n_readers: wanted, n_columns, .. } = *wish;
    let needed = wish.limit_for_all();
    let text = format!(
        "{n_readers} {} instead of {wanted}: {n_columns} columns take much memory in each, and {} MiB are enough for \
         no more; {wanted} need {} MiB (",
        if n_readers == 1 { "reader" } else { "readers" },
        limit >> 20,
        needed.div_ceil(1 << 20)
    );
    message![text, Hint::memory(needed), ")"]
}

fn of_one(asked: usize, plan: &Plan, options: &ExportOptions) -> Message {
    let n_slices = plan.n_slices();
    let what = match (&plan.one_stream, &options.split_on) {
        (Some(why), _) => why.clone(),
        (None, Some(column)) => format!("there are {n_slices} ranges of column {column:?}").into(),
        (None, None) => format!("{} is cut into {n_slices} slices", plan.subject()).into(),
    };
    let has_way_out = plan.is_refused || options.split_on.is_some() || options.slice_bytes.is_some();
    let way_out = match has_way_out {
        true => Message::default(),
        false => message!["; smaller slices are for more (", SLICE_BYTES, ")"],
    };
    message![format!("{} instead of {asked}: ", reads(n_slices)), what, way_out]
}

fn of_many(asked: usize, allowed: usize, n_slices: usize, plans: &[Plan]) -> Vec<Message> {
    let mut lines: Vec<Message> = Vec::new();
    if n_slices < allowed {
        let n_tables = plans.len();
        let text = format!(
            "{} instead of {asked}: the {n_tables} tables are cut into {n_slices} slices",
            reads(n_slices)
        );
        lines.push(text.into());
    }
    // Small tables take no time.
    let refused: Vec<&Plan> = plans.iter().filter(|plan| plan.is_refused).collect();
    let line = |plan: &&Plan| {
        let why = plan.one_stream.clone().unwrap_or_default();
        why.behind(format!("one connection reads {}: ", plan.subject()))
    };
    lines.extend(refused.iter().take(TABLES_NAMED).map(line));
    let n_more = refused.len().saturating_sub(TABLES_NAMED);
    if n_more > 0 {
        let tables = if n_more == 1 { "1 more table".to_owned() } else { format!("{n_more} more tables") };
        let text = format!("one connection reads each of {tables}; ");
        lines.push(message![text, PLAN, " says why"]);
    }
    lines
}

/// `one connection reads`.
fn reads(n_readers: usize) -> String {
    match n_readers {
        0 | 1 => "one connection reads".to_owned(),
        n_readers => format!("{n_readers} connections read"),
    }
}
