//! Suggests similar names for a name that does not exist.

use pgarrow_protocol::Session;

use crate::error::CatalogError;
use crate::name::{RelationName, quote_identifier};
use crate::relation::{Relation, RelationKind};
use crate::texts::text;

/// The most names in a suggestion.
const NAMES_MAX: usize = 3;

/// The most similar of these names, if one is similar enough: equal except for case, or with at most one
/// wrong letter in three.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.into_iter().filter_map(|known| Some((distance(name, known)?, known)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// The same as a remark that follows a name: ` (did you mean "orderDate"?)`, or an empty text.
pub fn meant<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = nearest(name, known).map(|near| format!(" (did you mean {}?)", quote_identifier(near)));
    near.unwrap_or_default()
}

/// The distance between two names; `None` if they are not similar.
fn distance(one: &str, other: &str) -> Option<usize> {
    if one == other {
        return Some(0);
    }
    let (one, other) = (one.to_lowercase(), other.to_lowercase());
    let letters = one.chars().count().max(other.chars().count());
    // Two swapped letters count as one slip; a difference in case counts less.
    let distance = 1 + 2 * strsim::damerau_levenshtein(&one, &other);
    (distance <= 1 + 2 * (letters / 3)).then_some(distance)
}

/// Adds a suggestion to an error about a missing relation, from the relations that the role may use.
///
/// Run it in the transaction that looked up the name, or outside any. If the server refuses, nothing is
/// suggested.
pub fn suggest(session: &mut Session, error: CatalogError) -> CatalogError {
    match error {
        CatalogError::UnknownRelation { name, hint: None } => {
            let hint = RelationName::parse(&name).ok().and_then(|name| hint(session, &name).ok().flatten());
            CatalogError::UnknownRelation { name, hint }
        }
        error => error,
    }
}

/// An existing schema that the role may use, with a name similar to that of a missing one.
///
/// # Errors
///
/// Errors of the server.
pub fn near_schema(session: &mut Session, name: &str) -> Result<Option<String>, CatalogError> {
    let sql = "SELECT n.nspname FROM pg_catalog.pg_namespace n \
               WHERE pg_catalog.has_schema_privilege(n.oid, 'USAGE') ORDER BY n.nspname";
    let rows = session.query(sql, &[])?;
    let names = rows.iter().map(|row| text(row, 0)).collect::<Result<Vec<_>, _>>()?;
    let others = names.iter().map(String::as_str).filter(|known| *known != name);
    Ok(nearest(name, others).map(str::to_owned))
}

/// A relation as the session sees it.
struct Seen {
    relation: Relation,
    may_use_schema: bool,
    /// It can be named without its schema.
    is_visible: bool,
}

fn hint(session: &mut Session, name: &RelationName) -> Result<Option<String>, CatalogError> {
    let seen = seen(session, name)?;
    if let Some(schema) = &name.schema
        && !seen.iter().any(|seen| seen.relation.schema == *schema)
        && !has_schema(session, schema)?
        && !seen.iter().any(|seen| seen.relation.name == name.name && seen.may_use_schema)
    {
        let near = near_schema(session, schema)?;
        return Ok(near.map(|near| format!("there is no schema {schema:?}; did you mean {near:?}?")));
    }
    Ok(proposed(name, &seen))
}

/// The nearest of the seen relations.
fn proposed(name: &RelationName, seen: &[Seen]) -> Option<String> {
    let usable = seen.iter().filter(|seen| seen.may_use_schema);
    let scored = usable.filter_map(|seen| Some((score(name, seen)?, &seen.relation)));
    let mut scored: Vec<(usize, &Relation)> = scored.collect();
    scored.sort_by_key(|(score, _)| *score);
    let Some((best, _)) = scored.first() else {
        // A relation of this name whose schema the role may not use.
        let closed = seen.iter().find(|seen| seen.relation.name == name.name && !seen.may_use_schema)?;
        let Relation { schema, .. } = &closed.relation;
        return Some(format!(
            "there is {}, but this role may not use its schema; grant USAGE on schema {schema:?} to it",
            closed.relation
        ));
    };
    let nearest = scored.iter().take_while(|(score, _)| score == best).take(NAMES_MAX);
    let nearest: Vec<String> = nearest.map(|(_, relation)| relation.to_string()).collect();
    Some(format!("did you mean {}?", nearest.join(" or ")))
}

/// The smaller the nearer; `None` if it is not near.
fn score(name: &RelationName, seen: &Seen) -> Option<usize> {
    let of_name = distance(&name.name, &seen.relation.name)?;
    let of_schema = match &name.schema {
        None if seen.is_visible => 0,
        None => 1,
        Some(schema) => match distance(schema, &seen.relation.schema) {
            Some(distance) => distance,
            // The right name in an entirely different schema.
            None if of_name == 0 => 8,
            None => return None,
        },
    };
    Some(of_name + of_schema)
}

/// Relations that hold or show rows, by name and schema. If there are too many, those with this name come
/// first.
fn seen(session: &mut Session, name: &RelationName) -> Result<Vec<Seen>, CatalogError> {
    let sql = "SELECT n.nspname, c.relname, \
                 pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.pg_table_is_visible(c.oid) \
               FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
               WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}'::pg_catalog.\"char\"[]) \
                 AND (n.nspname OPERATOR(pg_catalog.=) $2::pg_catalog.name \
                   OR NOT n.nspname OPERATOR(pg_catalog.=) 'information_schema'::pg_catalog.name \
                      AND NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_')) \
               ORDER BY (c.relname OPERATOR(pg_catalog.=) $1::pg_catalog.name) DESC, c.relname, n.nspname \
               LIMIT 20000";
    let rows = session.query(sql, &[Some(&name.name), Some(name.schema.as_deref().unwrap_or_default())])?;
    let seen = rows.iter().map(|row| {
        let (schema, name) = (text(row, 0)?, text(row, 1)?);
        // Only schema and name are used.
        let relation = Relation { oid: 0, schema, name, kind: RelationKind::Table };
        let is = |index| row.text(index) == Some("t");
        Ok(Seen { relation, may_use_schema: is(2), is_visible: is(3) })
    });
    seen.collect()
}

fn has_schema(session: &mut Session, name: &str) -> Result<bool, CatalogError> {
    let sql = "SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) $1::pg_catalog.name";
    Ok(!session.query(sql, &[Some(name)])?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_near_and_names_that_are_not() {
        for (name, known, near) in [
            ("ordres", &["customers", "orders"][..], Some("orders")),
            ("order", &["orders", "order_items"], Some("orders")),
            ("Orders", &["orders"], Some("orders")),
            ("ID", &["ix", "id"], Some("id")),
            ("id", &["ix", "a"], None),
            ("orders", &["lineitem", "nation"], None),
            ("größe", &["GRÖSSE", "größen"], Some("größen")),
            ("", &["a", ""], Some("")),
        ] {
            assert_eq!(nearest(name, known.iter().copied()), near, "{name}");
        }
    }

    fn seen(schema: &str, name: &str, may_use_schema: bool, is_visible: bool) -> Seen {
        let (schema, name) = (schema.to_owned(), name.to_owned());
        Seen {
            relation: Relation { oid: 0, schema, name, kind: RelationKind::Table },
            may_use_schema,
            is_visible,
        }
    }

    #[test]
    fn what_is_proposed_is_what_can_be_used_and_the_nearest_first() {
        let all = [
            seen("archive", "orders", true, false),
            seen("closed", "wages", false, false),
            seen("public", "Orders2", true, true),
            seen("sales", "orders", true, false),
        ];
        for (name, says) in [
            ("orders", Some("did you mean archive.orders or sales.orders?")),
            ("orders2", Some("did you mean public.\"Orders2\"?")),
            ("salse.orders", Some("did you mean sales.orders?")),
            ("sales.ordres", Some("did you mean sales.orders?")),
            ("elsewhere.orders", Some("did you mean archive.orders or sales.orders?")),
            ("elsewhere.ordres", None),
            (
                "wages",
                Some(
                    "there is closed.wages, but this role may not use its schema; grant USAGE on schema \"closed\" to it",
                ),
            ),
            // A similar name must not reveal it.
            ("wage", None),
        ] {
            let name = RelationName::parse(name).unwrap();
            assert_eq!(proposed(&name, &all).as_deref(), says, "{name:?}");
        }
    }
}
