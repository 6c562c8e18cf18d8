//! Statements in parts: each part is read by another connection, and all of them have to mean the same.
//!
//! ```text
//!  updated >= now() - interval '1 day'       the keeper's time stands in every part:
//!                                            updated >= ('2026-11-22 03:00:00.123456+00'::pg_catalog.timestamptz) - …
//!  id IN (SELECT id FROM recent)             a view that uses now(): one connection reads all
//! ```
//!
//! A time that stands for a call is tried out on the server before the transaction begins, since a text is not an
//! expression: what is refused, or has other columns, is read as it was written, by one connection.

use pgarrow_catalog::{
    CatalogError, Relation, ServerTraits, differing_functions, shadowed_functions, used_views,
};
use pgarrow_protocol::{ColumnDescription, Session};
use pgarrow_session::{Error, ErrorKind, Result, without_read_timeout};

use super::opening::Opening;
use super::table::condition_as_query;
use crate::options::ExportOptions;
use crate::planner::Slices;
use crate::statement::uses::{Moment, Uses};

/// What is named of what differs, at most.
const NAMED: usize = 3;

/// A text, and what in it differs between connections. Values are yet to come.
#[derive(Clone, Debug, Default)]
pub(super) struct Fixed {
    text: String,
    /// `the filter`, `the query`.
    what: &'static str,
    uses: Uses,
}

/// A text as all parts have it.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    pub(super) text: String,
    /// Why there can be but one part.
    why_one: Option<String>,
}

impl Fixed {
    /// Of a filter of a relation. Outside of the export's transaction.
    pub(super) fn of_filter(opening: &mut Opening<'_>, text: &str, relation: &Relation) -> Result<Self> {
        let mut fixed = Self::of(text, "the filter")?;
        fixed.try_out(opening, |text| condition_as_query("", relation, text))?;
        Ok(fixed)
    }

    /// Of a query. Outside of the export's transaction.
    pub(super) fn of_query(opening: &mut Opening<'_>, text: &str) -> Result<Self> {
        let mut fixed = Self::of(text, "the query")?;
        fixed.try_out(opening, str::to_owned)?;
        Ok(fixed)
    }

    fn of(text: &str, what: &'static str) -> Result<Self> {
        Ok(Self { text: text.to_owned(), what, uses: Uses::of(text)? })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the server takes values for its moments. If not, they differ.
    fn try_out(&mut self, opening: &mut Opening<'_>, statement: impl Fn(&str) -> String) -> Result<()> {
        let moments = &self.uses.moments;
        if moments.is_empty() {
            return Ok(());
        }
        let calls = moments.iter().filter(|moment| moment.is_unqualified_call);
        let names: Vec<&str> = calls.map(|moment| moment.clock.name()).collect();
        let is_shadowed = opening.prepared.traits.is_plain_postgres
            && !names.is_empty()
            && !shadowed_functions(opening.session()?, &names)?.is_empty();
        let is_taken = !is_shadowed && opening.prepared.traits.is_plain_postgres && {
            let examples: Vec<&str> = moments.iter().map(|moment| moment.clock.example()).collect();
            let written = described(opening, &statement(&self.text))?;
            // What is wrong with the text as it was written is said later, in better words.
            written.is_none()
                || written == described(opening, &statement(&self.uses.with_values(&self.text, &examples)))?
        };
        if !is_taken {
            let moments = std::mem::take(&mut self.uses.moments);
            self.uses.differing.extend(moments.iter().map(|moment| moment.clock.name().to_owned()));
            self.uses.differing.dedup();
        }
        Ok(())
    }

    /// The text with the values of this transaction; or why it can have no parts. In the export's transaction.
    ///
    /// `relation` is read, too.
    pub(super) fn fix(
        self,
        session: &mut Session,
        relation: Option<&Relation>,
        traits: &ServerTraits,
    ) -> Result<Parts> {
        let Self { text, what, uses } = self;
        let mut differing = uses.differing.clone();
        if traits.is_plain_postgres {
            let of_text =
                if text.is_empty() { Vec::new() } else { differing_functions(session, &uses.names)? };
            differing.extend(of_text.iter().map(|name| format!("{name}()")));
            for view in used_views(session, relation.map(|relation| relation.oid), &uses.names.names)? {
                let words = Uses::of(&view.definition).map(|uses| uses.differing).unwrap_or_default();
                let words = words.into_iter().filter(|word| word.starts_with('\''));
                let used = view.differing.into_iter().chain(words).take(NAMED).collect::<Vec<_>>();
                if !used.is_empty() {
                    differing.push(format!("{} of the view {}", used.join(", "), view.view));
                }
            }
        } else if !uses.names.calls.is_empty() {
            differing.push("functions whose effects this server does not describe".to_owned());
        }
        let text = match uses.moments.as_slice() {
            [] => text,
            moments => uses.with_values(&text, &values(session, moments)?),
        };
        let why_one = (!differing.is_empty()).then(|| {
            let named = differing.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if differing.len() > NAMED { " and more" } else { "" };
            let what = if what.is_empty() { "it" } else { what };
            format!("{what} uses {named}{more}, which may differ from one connection to the next")
        });
        Ok(Parts { text, why_one })
    }
}

impl Parts {
    /// The slices; or one, where there can be no more. Where several readers were asked for, that is said of every plan.
    pub(super) fn hold(&self, slices: Slices, options: &ExportOptions, warnings: &mut Vec<String>) -> Slices {
        match &self.why_one {
            Some(why) if slices.slices.len() > 1 => {
                let why = format!("{why}; write a value in its place");
                if options.readers.is_none() && options.readers_wanted() > 1 {
                    warnings.push(format!("one connection reads: {why}"));
                }
                slices.in_one(&why).refused()
            }
            _ => slices,
        }
    }
}

/// The columns that a statement has. `None` if it is refused.
fn described(opening: &mut Opening<'_>, sql: &str) -> Result<Option<Vec<ColumnDescription>>> {
    match without_read_timeout(opening.session()?, |session| session.describe(sql)) {
        Ok(description) => Ok(Some(description.columns.unwrap_or_default())),
        // Class 42, syntax error or access rule violation; feature_not_supported; an invalid value.
        Err(error)
            if error
                .sqlstate()
                .is_some_and(|state| ["42", "0A", "22"].contains(&state.get(..2).unwrap_or(""))) =>
        {
            Ok(None)
        }
        Err(error) => Err(opening.not_waited(CatalogError::from(error))),
    }
}

/// The transaction's own values for moments, as text.
fn values(session: &mut Session, moments: &[Moment]) -> Result<Vec<String>> {
    let list = moments.iter().map(|moment| format!("({})::pg_catalog.text", moment.expression()));
    let rows = session.query(&format!("SELECT {}", list.collect::<Vec<_>>().join(", ")), &[])?;
    let values = (0..moments.len()).map(|index| rows.first().and_then(|row| row.text(index)));
    let is_plain = |value: &&str| !value.contains(['\'', '\\']);
    let values: Option<Vec<String>> = values.map(|value| value.filter(is_plain).map(str::to_owned)).collect();
    values.ok_or_else(|| Error::new(ErrorKind::Protocol, "the server does not say what time it is"))
}
