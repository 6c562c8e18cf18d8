//! The SQL of the function that hands out pages to roles that are no superusers.
//!
//! `install.sql` says step by step what the function checks and why; `explained.sql` is for the
//! administrator.

use std::fmt::Write;

use pgarrow_catalog::quote_identifier;
use pgarrow_session::{Error, ErrorKind, Result};

const EXPLAINED: &str = include_str!("pages/explained.sql");
const INSTALL: &str = include_str!("pages/install.sql");
const REMOVE: &str = include_str!("pages/remove.sql");

/// Names that GRANT does not take for a role, even in quotes: everybody, and nobody. No role can have them.
///
/// Source: `RoleSpec` in PostgreSQL's `src/backend/parser/gram.y`.
const RESERVED: [&str; 2] = ["public", "none"];

/// The SQL that installs `pgarrow.heap_pages`, with which roles that are no superusers read tables by pages
/// ([`ReadMode::Pages`](crate::ReadMode::Pages)). `roles`: the exact names of the roles that may use it.
///
/// One transaction, for a superuser, from PostgreSQL 14 on. Its comments say what it grants and to whom, what
/// remains visible, and how to remove it. Another run replaces the function, its owner and its rights for
/// PUBLIC; other grants stay.
///
/// # Errors
///
/// [`ErrorKind::Options`] for `public` and `none`, which are no roles: the SQL grants nothing to everybody.
pub fn install_pages_sql<S: AsRef<str>>(roles: &[S]) -> Result<String> {
    let mut sql = EXPLAINED.to_owned();
    REMOVE.lines().for_each(|line| sql.extend(["--     ", line, "\n"]));
    sql.push('\n');
    sql.push_str(INSTALL);
    for role in roles {
        if RESERVED.contains(&role.as_ref()) {
            let text = format!(
                "\"{}\" is not the name of a role: PostgreSQL takes it for {}, in quotes, too; name the roles that may \
                 read tables by pages",
                role.as_ref(),
                if role.as_ref() == "public" { "everybody" } else { "nobody" }
            );
            return Err(Error::new(ErrorKind::Options, text));
        }
        let role = quote_identifier(role.as_ref());
        // Writing to a `String` does not fail.
        let _ = write!(
            sql,
            "GRANT USAGE ON SCHEMA pgarrow TO {role};\n\
             GRANT EXECUTE ON FUNCTION pgarrow.heap_pages(oid, int8, int8) TO {role};\n"
        );
    }
    sql.push_str("COMMIT;\n");
    Ok(sql)
}

/// The SQL that removes what [`install_pages_sql`] installed; also the extension pageinspect, if that was
/// created with it.
///
/// One transaction, for a superuser. It fails if the schema pgarrow contains other objects.
pub fn remove_pages_sql() -> &'static str {
    REMOVE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_roles_stay_names() {
        let sql = install_pages_sql(&["reader", "a\"; DROP TABLE t; --", "PUBLIC"]).unwrap();
        assert!(sql.contains(" TO \"a\"\"; DROP TABLE t; --\";"), "{sql}");
        // This is a role, if there is one of that name.
        assert!(sql.contains(" TO \"PUBLIC\";"), "{sql}");
        assert!(sql.trim_end().ends_with("COMMIT;"), "{sql}");
    }

    /// Formerly, `TO "public"` granted it to everybody.
    #[test]
    fn nothing_is_granted_to_everybody() {
        for name in RESERVED {
            let error = install_pages_sql(&["reader", name]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Options);
            assert!(
                error.to_string().starts_with(&format!("\"{name}\" is not the name of a role")),
                "{error}"
            );
        }
    }

    /// Databases of other encodings cannot read other characters and would refuse the SQL.
    #[test]
    fn all_of_it_is_ascii() {
        let sql = install_pages_sql(&["reader"]).unwrap();
        for line in sql.lines().chain(remove_pages_sql().lines()) {
            assert!(line.is_ascii(), "{line}");
        }
    }

    #[test]
    fn the_explanation_is_all_comments_and_says_how_to_remove_it() {
        let sql = install_pages_sql::<&str>(&[]).unwrap();
        let (explanation, rest) = sql.split_once("\n\n").unwrap();
        assert!(explanation.lines().all(|line| line.starts_with("--")), "{explanation}");
        assert!(explanation.ends_with("--     COMMIT;"), "{explanation}");
        assert!(rest.starts_with("BEGIN;") && !rest.contains("\nGRANT "), "{rest}");
    }
}
