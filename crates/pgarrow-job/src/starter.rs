//! A first job file, made by looking at a server.

use std::fmt::Write;

use pgarrow_export::{Plan, Source};

/// A job file for these tables, with their estimated sizes as comments. The password, if there is one, is
/// left out.
pub fn starter<'p>(source: &Source, plans: impl IntoIterator<Item = &'p Plan>, path: &str) -> String {
    let config = source.config();
    let connection = format!(
        "host={} port={} dbname={} user={}",
        value(config.host()),
        config.port(),
        value(config.dbname()),
        value(config.user())
    );
    let mut text = format!(
        "# A job of pgarrow. Values may have variables of the environment, as in ${{NAME}}.\n\n[source]\n\
         # Without a password: it comes from PGPASSWORD, ~/.pgpass, or a variable as in ${{DB_PASSWORD}}.\n\
         connection = {}\ntables = [\n",
        quoted(&connection)
    );
    for plan in plans {
        let rows = match plan.estimated_rows() {
            Some(rows) => format!("about {rows} rows"),
            None => "size not known".to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    {}, # {rows}, {} columns", quoted(plan.subject()), plan.columns().len());
    }
    let _ = write!(
        text,
        "]\n# exclude_tables = [\"sales.tmp_*\"]\n\n[destination]\npath = {}\nformat = \"parquet\"\n\
         file_name = \"{{schema}}/{{table}}/part-{{index:05}}\"\nsuccess_file = true\n\n\
         # The options of an export, with _ between words.\n[options]\n# readers = 4\n# memory = \"1G\"\n",
        quoted(path)
    );
    text
}

/// A text as TOML's basic string, without variables.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.replace("${", "$${").chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // Writing to a string cannot fail.
            c if c.is_control() => drop(write!(quoted, "\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A value of a connection's key=value pairs.
fn value(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_toml() {
        for (text, expected) in [
            ("a", r#""a""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("a\nb\u{7f}", r#""a\u000Ab\u007F""#),
            ("${a} $b", r#""$${a} $b""#),
        ] {
            assert_eq!(quoted(text), expected);
        }
        assert_eq!(value(r"it's \ me"), r"'it\'s \\ me'");
    }
}
