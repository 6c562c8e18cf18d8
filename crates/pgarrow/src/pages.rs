//! The SQL of the function that hands out pages to who is no superuser.
//!
//! `install.sql` says step by step what the function looks at and why; `explained.sql` is for the administrator.

use std::fmt::Write;

use pgarrow_catalog::quote_identifier;

const EXPLAINED: &str = include_str!("pages/explained.sql");
const INSTALL: &str = include_str!("pages/install.sql");
const REMOVE: &str = include_str!("pages/remove.sql");

/// The SQL that installs `pgarrow.heap_page`, with which roles that are no superusers read tables by pages
/// ([`ReadMode::Pages`](crate::ReadMode::Pages)). `roles` may use it then; their exact names.
///
/// One transaction, for a superuser, from PostgreSQL 14 on. Its comments say what it gives, to whom, what remains visible, and
/// how to remove it. Running it again replaces the function, its owner and its rights for PUBLIC; other grants stay.
pub fn install_pages_sql<S: AsRef<str>>(roles: &[S]) -> String {
    let mut sql = EXPLAINED.to_owned();
    REMOVE.lines().for_each(|line| sql.extend(["--     ", line, "\n"]));
    sql.push('\n');
    sql.push_str(INSTALL);
    for role in roles {
        let role = quote_identifier(role.as_ref());
        // Writing to a text does not fail.
        let _ = write!(
            sql,
            "GRANT USAGE ON SCHEMA pgarrow TO {role};\n\
             GRANT EXECUTE ON FUNCTION pgarrow.heap_page(oid, int8) TO {role};\n"
        );
    }
    sql.push_str("COMMIT;\n");
    sql
}

/// The SQL that removes what [`install_pages_sql`] has installed; the extension pageinspect too, if it was made with it.
///
/// One transaction, for a superuser. What others have put into the schema pgarrow makes it fail.
pub fn remove_pages_sql() -> &'static str {
    REMOVE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_roles_stay_names() {
        let sql = install_pages_sql(&["reader", "a\"; DROP TABLE t; --", "public"]);
        assert!(sql.contains(" TO \"a\"\"; DROP TABLE t; --\";"), "{sql}");
        // PUBLIC is no role: it has to be written without quotes, and nobody can.
        assert!(sql.contains("TO \"public\";") && !sql.contains("TO public"), "{sql}");
        assert!(sql.trim_end().ends_with("COMMIT;"), "{sql}");
    }

    #[test]
    fn the_explanation_is_all_comments_and_says_how_to_remove_it() {
        let sql = install_pages_sql::<&str>(&[]);
        let (explanation, rest) = sql.split_once("\n\n").unwrap();
        assert!(explanation.lines().all(|line| line.starts_with("--")), "{explanation}");
        assert!(explanation.ends_with("--     COMMIT;"), "{explanation}");
        assert!(rest.starts_with("BEGIN;") && !rest.contains("\nGRANT "), "{rest}");
    }
}
