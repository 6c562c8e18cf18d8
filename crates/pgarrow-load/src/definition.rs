//! What a new table takes over from the table of another server besides its columns: types that are made
//! there, and the primary key.
//!
//! ```text
//!  the source's catalog ─▶ NeededTypes, in the order of their dependencies ─▶ make: there and the same? or CREATE
//! ```
//!
//! The source is not trusted with names: they are quoted. Types that are not made are looked up on the
//! target, and only its own text for them becomes SQL. Checks and defaults of domains are expressions of the
//! source; each is part of one statement, and can begin no other.

mod compare;
mod expression;
mod read;

use arrow_schema::FieldRef;
use pgarrow_catalog::{RelationName, quote_identifier, quote_literal, type_by_name};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result};

use compare::difference;
use expression::with_casts_to;

/// Runs a query on the source, and returns its rows as text.
pub type Ask<'a> = dyn FnMut(&str) -> Result<Vec<Vec<Option<String>>>> + 'a;

/// The enums, domains and composites that a table of another server needs.
#[derive(Clone, Debug, Default)]
pub struct NeededTypes {
    /// A type comes after those that it is made of.
    types: Vec<TypeDefinition>,
    /// The schema that they are made in; `None` for that of the same name.
    schema: Option<String>,
}

/// A type that somebody has made.
#[derive(Clone, Debug)]
struct TypeDefinition {
    oid: u32,
    schema: String,
    name: String,
    /// As its server prints it in that session.
    printed: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Enum { labels: Vec<String> },
    Domain { base: TypeUse, not_null: bool, default: Option<String>, checks: Vec<Check> },
    Composite { attributes: Vec<(String, TypeUse)> },
}

/// A type as an attribute or a domain uses it.
#[derive(Clone, Debug)]
struct TypeUse {
    /// Of an array, its elements'.
    oid: u32,
    is_array: bool,
    /// As its server prints it, without the modifier.
    printed: String,
    modifier: i32,
    /// Schema and name, if it is not the type's own.
    collation: Option<(String, String)>,
}

/// A constraint of a domain.
#[derive(Clone, Debug)]
struct Check {
    name: String,
    /// As the server prints it: `CHECK (…)`.
    definition: String,
}

impl NeededTypes {
    /// Reads the types that the columns of a table need, by the table's OID on that server.
    ///
    /// # Errors
    ///
    /// Errors of `ask`.
    pub fn read(table: u32, ask: &mut Ask<'_>) -> Result<Self> {
        let of_columns = format!(
            "SELECT a.atttypid FROM pg_catalog.pg_attribute a \
             WHERE a.attrelid OPERATOR(pg_catalog.=) {table}::pg_catalog.oid \
               AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped"
        );
        Ok(Self { types: in_order(read::types(&of_columns, ask)?), schema: None })
    }

    /// Makes them in this schema, and not in schemas of the same names.
    #[must_use]
    pub fn in_schema(self, schema: Option<String>) -> Self {
        Self { schema, ..self }
    }

    /// Makes those that are not there, within the transaction.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for a type that is there and differs, and for one that needs another type that
    /// is not there; errors of the server.
    pub(crate) fn make(&self, session: &mut Session) -> Result<()> {
        for wanted in &self.types {
            let here = self.quoted(wanted);
            match type_by_name(session, &here, -1)? {
                Some((oid, _)) => self.compare(session, wanted, &here, oid)?,
                None => {
                    let sql = self.statement(session, wanted, &here)?;
                    // One statement, whatever the source says that a check is.
                    session.query(&sql, &[]).map_err(|error| {
                        Error::without_advice(error).context(format!("the type {here} cannot be made"))
                    })?;
                }
            }
        }
        Ok(())
    }

    /// The name of a type on the target, by how the source prints it: `None` for a type that is not made.
    pub(crate) fn name_here(&self, printed: &str) -> Option<String> {
        let (element, dimensions) = match printed.strip_suffix("[]") {
            Some(element) => (element, "[]"),
            None => (printed, ""),
        };
        let found = self.types.iter().find(|definition| definition.printed == element)?;
        Some(format!("{}{dimensions}", self.quoted(found)))
    }

    fn quoted(&self, definition: &TypeDefinition) -> String {
        let schema = self.schema.as_deref().unwrap_or(&definition.schema);
        format!("{}.{}", quote_identifier(schema), quote_identifier(&definition.name))
    }

    fn statement(&self, session: &mut Session, wanted: &TypeDefinition, here: &str) -> Result<String> {
        Ok(match &wanted.kind {
            Kind::Enum { labels } => {
                let labels: Option<Vec<String>> = labels.iter().map(|label| quote_literal(label)).collect();
                let labels = labels.ok_or_else(|| {
                    Error::new(ErrorKind::Options, format!("a label of {} has a zero byte", wanted.printed))
                })?;
                format!("CREATE TYPE {here} AS ENUM ({})", labels.join(", "))
            }
            Kind::Composite { attributes } => {
                let mut parts = Vec::with_capacity(attributes.len());
                for (name, of) in attributes {
                    parts.push(format!("{} {}", quote_identifier(name), self.used(session, of, here)?));
                }
                format!("CREATE TYPE {here} AS ({})", parts.join(", "))
            }
            Kind::Domain { base, not_null, default, checks } => {
                let mut sql = format!("CREATE DOMAIN {here} AS {}", self.used(session, base, here)?);
                if let Some(default) = default {
                    sql.push_str(&format!(" DEFAULT {}", self.expression_here(session, default)?));
                }
                if *not_null {
                    sql.push_str(" NOT NULL");
                }
                for Check { name, definition } in checks {
                    let definition = self.expression_here(session, definition)?;
                    sql.push_str(&format!(" CONSTRAINT {} {definition}", quote_identifier(name)));
                }
                sql
            }
        })
    }

    /// A type of an attribute or a domain, as SQL of the target.
    fn used(&self, session: &mut Session, of: &TypeUse, by: &str) -> Result<String> {
        let collation = of.collation.as_ref().map(|(schema, name)| {
            format!(" COLLATE {}.{}", quote_identifier(schema), quote_identifier(name))
        });
        Ok(format!("{}{}", self.type_here(session, of, by)?, collation.unwrap_or_default()))
    }

    /// The same without its collation, as the target itself prints it.
    fn type_here(&self, session: &mut Session, of: &TypeUse, by: &str) -> Result<String> {
        let made = self.types.iter().find(|definition| definition.oid == of.oid);
        let name = match made {
            Some(made) => format!("{}{}", self.quoted(made), if of.is_array { "[]" } else { "" }),
            None => of.printed.clone(),
        };
        match type_by_name(session, &name, of.modifier)? {
            Some((_, printed)) => Ok(printed),
            None => {
                let text = format!("the type {by} needs the type {name:?}, which the target does not have");
                Err(Error::new(ErrorKind::Options, text)
                    .advice("make it there first; an extension may have it"))
            }
        }
    }

    /// An expression of the source, with the target's names of the types that are made.
    fn expression_here(&self, session: &mut Session, expression: &str) -> Result<String> {
        let mut names = Vec::with_capacity(self.types.len());
        for made in &self.types {
            // A type that comes later is none of its.
            if let Some((_, printed)) = type_by_name(session, &self.quoted(made), -1)? {
                names.push((made.printed.as_str(), printed));
            }
        }
        Ok(with_casts_to(expression, &names))
    }

    /// The same for all expressions of a kind.
    fn kind_here(&self, session: &mut Session, kind: &Kind) -> Result<Kind> {
        let mut kind = kind.clone();
        if let Kind::Domain { default, checks, .. } = &mut kind {
            if let Some(default) = default {
                *default = self.expression_here(session, default)?;
            }
            for check in checks {
                check.definition = self.expression_here(session, &check.definition)?;
            }
        }
        Ok(kind)
    }

    /// Compares a type that is there with the wanted one.
    fn compare(&self, session: &mut Session, wanted: &TypeDefinition, here: &str, oid: u32) -> Result<()> {
        let roots = format!("SELECT {oid}::pg_catalog.oid");
        let mut ask = |sql: &str| {
            let rows = session.query(sql, &[]).map_err(Error::without_advice)?;
            let texts = |row: &pgarrow_protocol::Row| {
                (0..row.len()).map(|index| row.text(index).map(str::to_owned)).collect()
            };
            Ok(rows.iter().map(texts).collect())
        };
        let found = read::types(&roots, &mut ask)?.into_iter().find(|definition| definition.oid == oid);
        let there = Self::default();
        let difference = match found {
            None => Some("it is another kind of type".to_owned()),
            Some(found) => {
                let wanted = self.kind_here(session, &wanted.kind)?;
                let wanted = form(&wanted, &mut |of| self.type_here(session, of, here))?;
                let found = form(&found.kind, &mut |of| there.type_here(session, of, here))?;
                difference(&wanted, &found)
            }
        };
        match difference {
            None => Ok(()),
            Some(difference) => {
                let text = format!("the type {here} is there, and differs from the source's: {difference}");
                Err(Error::new(ErrorKind::Options, text)
                    .advice("make both the same, drop it, or load into another schema"))
            }
        }
    }
}

/// What a type is, as pairs of a word and a text to compare.
fn form(
    kind: &Kind,
    type_here: &mut dyn FnMut(&TypeUse) -> Result<String>,
) -> Result<Vec<(&'static str, String)>> {
    let mut used = |of: &TypeUse| -> Result<String> {
        let collation = of.collation.as_ref();
        let collation = collation.map(|(schema, name)| format!(" COLLATE {schema}.{name}"));
        Ok(format!("{}{}", type_here(of)?, collation.unwrap_or_default()))
    };
    Ok(match kind {
        Kind::Enum { labels } => labels.iter().map(|label| ("label", format!("{label:?}"))).collect(),
        Kind::Composite { attributes } => {
            let mut form = Vec::with_capacity(attributes.len());
            for (name, of) in attributes {
                form.push(("attribute", format!("{} {}", quote_identifier(name), used(of)?)));
            }
            form
        }
        Kind::Domain { base, not_null, default, checks } => {
            let mut form = vec![("base type", used(base)?)];
            form.push(("null", if *not_null { "NOT NULL" } else { "NULL" }.to_owned()));
            form.push(("default", default.clone().unwrap_or_else(|| "none".to_owned())));
            let mut checks: Vec<String> = checks.iter().map(|check| check.definition.clone()).collect();
            checks.sort();
            form.extend(checks.into_iter().map(|check| ("check", check)));
            form
        }
    })
}

/// Puts each type behind those that it is made of.
fn in_order(types: Vec<TypeDefinition>) -> Vec<TypeDefinition> {
    let mut left = types;
    let mut order: Vec<TypeDefinition> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let is_ready = |of: &TypeDefinition| {
            of.uses().all(|used| used == of.oid || left.iter().all(|other| other.oid != used))
        };
        // Types cannot be made of one another in a circle; if a server says so, it gets to see what it does
        // with it.
        let next = left.iter().position(is_ready).unwrap_or(0);
        order.push(left.remove(next));
    }
    order
}

impl TypeDefinition {
    /// The OIDs of the types that it is made of.
    fn uses(&self) -> impl Iterator<Item = u32> {
        let (base, attributes) = match &self.kind {
            Kind::Enum { .. } => (None, &[][..]),
            Kind::Domain { base, .. } => (Some(base.oid), &[][..]),
            Kind::Composite { attributes } => (None, attributes.as_slice()),
        };
        base.into_iter().chain(attributes.iter().map(|(_, of)| of.oid))
    }
}

/// The primary key of a table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrimaryKey {
    /// The constraint's name; `None` if the server chooses it.
    name: Option<String>,
    columns: Vec<String>,
}

impl PrimaryKey {
    /// The key of these columns, with a name that the server chooses.
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        Self { name: None, columns: columns.into_iter().map(Into::into).collect() }
    }

    /// Reads the key of a table, by the table's OID on that server; `None` if it has none.
    ///
    /// # Errors
    ///
    /// Errors of `ask`.
    pub fn read(table: u32, ask: &mut Ask<'_>) -> Result<Option<Self>> {
        read::primary_key(table, ask)
    }

    /// Refuses a key of columns that the new table does not have.
    pub(crate) fn check(&self, fields: &[FieldRef], table: &RelationName) -> Result<()> {
        let is_missing = |name: &&String| fields.iter().all(|field| field.name() != *name);
        match self.columns.iter().find(is_missing) {
            None => Ok(()),
            Some(name) => {
                let text = format!(
                    "{} cannot have its primary key: the data has no column {name:?}",
                    table.quoted()
                );
                Err(Error::new(ErrorKind::Options, text))
            }
        }
    }

    /// The statement that gives the key to a table; the table's name is quoted.
    pub(crate) fn statement(&self, table: &str) -> String {
        let name = self.name.as_deref();
        let name = name.map_or(String::new(), |name| format!("CONSTRAINT {} ", quote_identifier(name)));
        let columns: Vec<String> = self.columns.iter().map(|column| quote_identifier(column)).collect();
        format!("ALTER TABLE {table} ADD {name}PRIMARY KEY ({})", columns.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(oid: u32, uses: &[u32]) -> TypeDefinition {
        let used = |oid: &u32| {
            let printed = format!("t{oid}");
            let of = TypeUse { oid: *oid, is_array: true, printed, modifier: -1, collation: None };
            ("a".to_owned(), of)
        };
        let kind = Kind::Composite { attributes: uses.iter().map(used).collect() };
        let (name, printed) = (format!("t{oid}"), format!("s.t{oid}"));
        TypeDefinition { oid, schema: "s".to_owned(), name, printed, kind }
    }

    #[test]
    fn a_type_comes_after_what_it_is_made_of() {
        let types = vec![of(1, &[2, 3]), of(2, &[3, 23]), of(3, &[]), of(4, &[4])];
        let order: Vec<u32> = in_order(types).iter().map(|definition| definition.oid).collect();
        assert_eq!(order, [3, 2, 1, 4]);
    }

    #[test]
    fn names_are_quoted_and_move_to_another_schema() {
        let types = NeededTypes { types: vec![of(1, &[])], schema: None };
        assert_eq!(types.name_here("s.t1[]").as_deref(), Some("\"s\".\"t1\"[]"));
        let moved = types.in_schema(Some("T\"".to_owned()));
        assert_eq!(moved.name_here("s.t1").as_deref(), Some("\"T\"\"\".\"t1\""));
        assert_eq!(moved.name_here("t1"), None);
        let key =
            PrimaryKey { name: Some("k\"; drop".to_owned()), columns: vec!["a".to_owned(), "B".to_owned()] };
        assert_eq!(
            key.statement("\"s\".\"t\""),
            "ALTER TABLE \"s\".\"t\" ADD CONSTRAINT \"k\"\"; drop\" PRIMARY KEY (\"a\", \"B\")"
        );
    }
}
