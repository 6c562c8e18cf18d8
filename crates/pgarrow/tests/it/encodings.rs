//! Databases with other encodings than UTF-8, and with none.

use arrow_array::cast::AsArray;
use arrow_schema::DataType;
use pgarrow::{
    EncodingPolicy, ErrorKind, ExportOptions, PoolOptions, Source, TypeOptions, install_pages_sql,
};
use pgarrow_testkit::{Capability, Database, TestServer, require};

use crate::choices::{data_type, options, report};
use crate::support::{assert_error, read, refusal};

/// A database with another encoding than UTF-8. Dropping the guard drops it.
struct Encoded {
    name: String,
    maintenance: Database,
}

impl Encoded {
    fn new(encoding: &str, sql: &str) -> Self {
        let maintenance = TestServer::shared().fresh_database("encoded");
        let name = format!("{}_x", maintenance.name());
        maintenance.execute(&format!(
            "CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        ));
        let encoded = Self { name, maintenance };
        encoded.source().execute(sql).unwrap();
        encoded
    }

    fn source(&self) -> Source {
        Source::connect_blocking(&TestServer::shared().url_for(&self.name)).unwrap()
    }
}

impl Drop for Encoded {
    fn drop(&mut self) {
        self.maintenance.execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

#[test]
fn text_of_no_encoding() {
    require!(Capability::Server);
    // The bytes of "café" in Latin-1, and a clean column.
    let ascii = Encoded::new(
        "SQL_ASCII",
        "CREATE TABLE e (id int4, v text, clean text); \
         INSERT INTO e VALUES (1, 'ok', 'a'), (2, convert_from('\\x636166e9', 'SQL_ASCII'), 'b')",
    );
    let source = ascii.source();
    // The server itself refuses to send it as UTF-8.
    let error = refusal(source.table("e"));
    assert_error(
        &error,
        ErrorKind::Server,
        Some("22021"),
        &["public.e: row 2:", "encoding=replace|latin1|binary"],
    );
    // Formerly, the error blamed a name in the catalog. Without statistics, and with them.
    for sql in ["SELECT 1", "ANALYZE e"] {
        source.execute(sql).unwrap();
        let split = ExportOptions::default().with_split_on("v").with_readers(2);
        let error = refusal(source.table("e").columns(["id"]).options(split));
        assert_error(&error, ErrorKind::Options, None, &["column \"v\" holds text", "another column"]);
    }
    assert_eq!(read(source.table("e").columns(["clean"])).unwrap().lines(), ["a", "b"]);
    let replaced = read(source.table("e").options(options(&[("v", "encoding-policy=replace")]))).unwrap();
    assert_eq!(replaced.lines(), ["1|ok|a", "2|caf\u{fffd}|b"]);
    let latin = read(source.table("e").options(options(&[("v", "encoding-policy=latin1")]))).unwrap();
    assert_eq!(latin.lines(), ["1|ok|a", "2|café|b"]);
    let run = TypeOptions { encoding: EncodingPolicy::Binary, ..TypeOptions::default() };
    let binary = read(source.table("e").options(ExportOptions::default().with_types(run))).unwrap();
    assert_eq!(data_type(&binary, "v"), DataType::Binary);
    assert_eq!(binary.batches[0].column(1).as_binary::<i32>().value(1), b"caf\xe9");
    for policy in ["encoding-policy=replace", "encoding-policy=latin1"] {
        let report = report(&source, options(&[("v", policy)]).with_readers(2).with_slice_bytes(1));
        assert_eq!(report.columns[1].effects["text_replaced"], 1);
    }
    // For a column without a choice, the library reports the error, since the server no longer checks.
    let error = refusal(source.table("e").options(options(&[("clean", "encoding-policy=replace")])));
    assert_error(
        &error,
        ErrorKind::Value,
        None,
        &["column \"v\"", "row 2", "encoding=replace|latin1|binary"],
    );
    // A session that is kept has the usual encoding again. Formerly, the next export failed.
    let pooled = ascii.source().with_pool(PoolOptions::default().with_idle_max(1));
    for readers in [1, 1, 2, 2] {
        let options = options(&[("v", "encoding-policy=latin1")]).with_readers(readers);
        assert_eq!(read(pooled.table("e").options(options)).unwrap().lines(), ["1|ok|a", "2|café|b"]);
        assert_eq!(read(pooled.table("e").columns(["clean"])).unwrap().lines(), ["a", "b"]);
    }
    // A text in the catalog that is not UTF-8.
    source.execute("DO $$ BEGIN EXECUTE 'COMMENT ON COLUMN e.v IS ' || quote_literal(convert_from('\\xe9', 'SQL_ASCII')); END $$").unwrap();
    let error = refusal(source.table("e"));
    assert_error(&error, ErrorKind::Server, Some("22021"), &["comment", "catalog is not UTF-8"]);
}

#[test]
fn text_that_the_server_cannot_convert_is_told_with_its_row() {
    require!(Capability::Server);
    let raw = Encoded::new(
        "EUC_JP",
        "CREATE TABLE e (v text); INSERT INTO e VALUES ('ok'), \
       (convert_from('\\xa4a2', 'EUC_JP')), (convert_from('\\x8fa2a1', 'EUC_JP'))",
    );
    let source = raw.source();
    let error = refusal(source.table("e"));
    // Formerly, the error named no table, and it named a slice although there was only one.
    assert_error(&error, ErrorKind::Server, Some("22P05"), &["public.e: row 3:"]);
    assert_eq!(read(source.query("SELECT v FROM e LIMIT 2")).unwrap().lines(), ["ok", "あ"]);
}

#[test]
fn every_text_inside_of_a_type_follows_the_policy() {
    require!(Capability::Server, Capability::Extension("hstore"));
    let raw = Encoded::new(
        "SQL_ASCII",
        "CREATE EXTENSION hstore; CREATE TYPE pair AS (a text, b varchar[]); CREATE TABLE e AS \
         SELECT hstore('k', convert_from('\\xe9', 'SQL_ASCII')) AS h, ARRAY[ROW(convert_from('\\xe9', 'SQL_ASCII'), ARRAY[convert_from('\\xe9e9', 'SQL_ASCII')])::pair] AS p",
    );
    let source = raw.source();
    for policy in [EncodingPolicy::Replace, EncodingPolicy::Binary] {
        let run = TypeOptions { encoding: policy, ..TypeOptions::default() };
        let options = ExportOptions::default().with_types(run);
        let export = read(source.table("e").options(options.clone())).unwrap();
        let pairs = export.batches[0].column(1).as_list::<i32>().value(0);
        let (a, b) = (pairs.as_struct().column(0), pairs.as_struct().column(1).as_list::<i32>().value(0));
        match policy {
            EncodingPolicy::Binary => {
                assert_eq!(
                    (a.as_binary::<i32>().value(0), b.as_binary::<i32>().value(0)),
                    (&b"\xe9"[..], &b"\xe9\xe9"[..])
                );
            }
            _ => {
                assert_eq!(
                    (a.as_string::<i32>().value(0), b.as_string::<i32>().value(0)),
                    ("\u{fffd}", "\u{fffd}\u{fffd}")
                );
            }
        }
        let report = source.table("e").options(options).open().unwrap().for_each(|_| Ok(())).unwrap();
        let replaced = |index: usize| report.columns[index].effects.get("text_replaced").copied();
        let expected = if policy == EncodingPolicy::Replace { [Some(1), Some(2)] } else { [None; 2] };
        assert_eq!([replaced(0), replaced(1)], expected);
    }
}

/// Formerly, the SQL had a character that not every encoding has, and the error was about that.
#[test]
fn pages_are_not_installed_where_they_are_not_read() {
    require!(Capability::Server, Capability::Superuser, Capability::VersionAtLeast(140_000));
    let sql = install_pages_sql::<&str>(&[]).unwrap();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let error = Encoded::new(encoding, "SELECT 1").source().execute(&sql).unwrap_err();
        assert_error(
            &error,
            ErrorKind::Server,
            Some("0A000"),
            &["encoding UTF8, and this one has", encoding],
        );
    }
}
