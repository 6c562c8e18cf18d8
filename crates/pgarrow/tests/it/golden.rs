//! Golden COPY streams: `testdata/copy/<name>.{sql,bin,expect}`; `testdata/README.md` describes them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use pgarrow::{ArrayForm, ColumnOptions, ExportOptions};
use pgarrow_column::make_column;
use pgarrow_decode::{BatchLimits, CopyDecoder, StopReason};
use pgarrow_testkit::{Capability, TestServer, capability, copy, require};
use pgarrow_types::{PgColumn, PgType, TypeOptions, schema};

use crate::render::{self, Renderer};
use crate::support::source;

/// `FirstNormalObjectId` in PostgreSQL's `src/include/access/transam.h`: user-defined types have this OID or
/// a higher one.
const FIRST_NORMAL_OID: u32 = 16384;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/copy")
}

/// The paths of all streams, without their endings.
pub(crate) fn names() -> Vec<PathBuf> {
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
    let mut names: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|ending| ending == "sql"))
        .map(|path| path.with_extension(""))
        .collect();
    names.sort();
    assert!(names.len() > 90, "{}", names.len());
    names
}

/// The contents of a `.sql` file.
pub(crate) struct Sql {
    /// The statements to execute first.
    pub(crate) setup: String,
    /// The text after the last empty line.
    pub(crate) query: String,
    /// The choices after `-- choices:`, in the form of `--column v:`.
    pub(crate) choices: ColumnOptions,
    /// The choices applied to the defaults.
    types: TypeOptions,
}

pub(crate) fn sql(name: &Path) -> Sql {
    let text = fs::read_to_string(name.with_extension("sql")).unwrap();
    let (setup, query) = text.trim().rsplit_once("\n\n").unwrap_or(("", text.trim()));
    let choices = setup.lines().find_map(|line| line.strip_prefix("-- choices: "));
    let choices = choices.map_or_else(ColumnOptions::default, |choices| choices.parse().unwrap());
    let types = choices.apply(TypeOptions::default());
    Sql { setup: setup.to_owned(), query: query.to_owned(), choices, types }
}

/// Whether the server can make a stream's values.
pub(crate) fn can_make(sql: &Sql, test: &str) -> bool {
    let known = ["hstore", "ltree", "citext", "postgis", "vector"];
    let created = sql.setup.lines().filter(|line| line.starts_with("CREATE EXTENSION")).map(|line| {
        let name = line.trim_end_matches(';').rsplit(' ').next().unwrap();
        *known.iter().find(|known| **known == name).unwrap_or_else(|| panic!("{name} is not in the list"))
    });
    let extensions = created.map(Capability::Extension);
    let xml = sql.query.contains("::xml").then_some(Capability::Xml);
    // Negative scales, and scales greater than the precision, exist since 15.
    let scale = sql.query.contains("numeric(3,").then_some(Capability::VersionAtLeast(150_000));
    let needs: Vec<_> = extensions.chain(xml).chain(scale).collect();
    needs.into_iter().all(|need| capability::require(need, test))
}

/// The line of `.expect` that says how a column is read: name, OID, type modifier, type name, Arrow, and the
/// type as JSON.
fn header(column: &PgColumn) -> String {
    // The OID of a type that is not built in differs from database to database.
    let oid = if column.type_oid < FIRST_NORMAL_OID { column.type_oid } else { 0 };
    let arrow = column.pg_type.data_type(&column.options);
    // Fields that depend on the server's version have the value of the newest one.
    let json = serde_json::to_string(&column.pg_type).unwrap();
    let json = json.replace(r#""has_infinities":false"#, r#""has_infinities":true"#);
    let (name, modifier, pg_type) = (&column.name, column.type_modifier, &column.type_name);
    format!("column\t{name}\t{oid}\t{modifier}\t{pg_type}\t{arrow}\t{json}")
}

fn column(header: &str, options: TypeOptions) -> PgColumn {
    let [_, name, oid, modifier, type_name, _, json] = header.splitn(7, '\t').collect::<Vec<_>>()[..] else {
        panic!("no header of a column: {header}");
    };
    PgColumn {
        name: name.to_owned(),
        pg_type: serde_json::from_str(json).unwrap(),
        type_oid: oid.parse().unwrap(),
        type_modifier: modifier.parse().unwrap(),
        type_name: type_name.to_owned(),
        nullable: true,
        comment: None,
        number: 1,
        options,
    }
}

/// The columns in `.expect`.
fn columns(expected: &str, options: TypeOptions) -> Vec<PgColumn> {
    expected.lines().filter(|line| line.starts_with("column\t")).map(|line| column(line, options)).collect()
}

/// The OIDs inside the values of a type that differ from database to database, in order.
fn own_oids(pg_type: &PgType, oids: &mut Vec<u32>) {
    let mut add = |oid: u32| {
        if oid >= FIRST_NORMAL_OID {
            oids.push(oid);
        }
    };
    match pg_type {
        PgType::Array(array) => {
            add(array.element_oid);
            own_oids(&array.element, oids);
        }
        PgType::Composite(composite) => {
            for attribute in &composite.attributes {
                add(attribute.type_oid);
            }
            for attribute in &composite.attributes {
                own_oids(&attribute.pg_type, oids);
            }
        }
        PgType::Range(range) | PgType::Multirange(range) => own_oids(&range.subtype, oids),
        _ => {}
    }
}

/// The golden stream as another server sends it: with the OIDs of that server's types.
fn with_oids_of(golden: &[u8], ours: &[PgColumn], stream: &[u8], theirs: &[PgColumn]) -> Vec<u8> {
    let oids = |columns: &[PgColumn]| {
        let mut oids = Vec::new();
        columns.iter().for_each(|column| own_oids(&column.pg_type, &mut oids));
        oids
    };
    let (ours, theirs) = (oids(ours), oids(theirs));
    assert_eq!(ours.len(), theirs.len(), "the same types");
    let mut golden = golden.to_vec();
    for at in 0..golden.len().min(stream.len()).saturating_sub(3) {
        let here = at..at + 4;
        for (our, their) in ours.iter().zip(&theirs) {
            if golden[here.clone()] == our.to_be_bytes() && stream[here.clone()] == their.to_be_bytes() {
                golden[here.clone()].copy_from_slice(&their.to_be_bytes());
                break;
            }
        }
    }
    golden
}

/// Columns and rows as text.
fn expectation(columns: &[PgColumn], batches: &[RecordBatch]) -> String {
    let mut text = String::new();
    for column in columns {
        writeln!(text, "{}", header(column)).unwrap();
    }
    let types = columns.first().map_or_else(TypeOptions::default, |column| column.options);
    for row in render::rows_by(&renderer(&types), batches) {
        let values: Vec<String> = row
            .into_iter()
            .map(|value| value.map_or_else(|| "NULL".to_owned(), |value| format!("{value:?}")))
            .collect();
        writeln!(text, "row\t{}", values.join("\t")).unwrap();
    }
    text
}

/// Decodes a stream that arrives in pieces of `piece_bytes` bytes into batches of `batch_rows` rows.
fn decode(columns: &[PgColumn], stream: &[u8], piece_bytes: usize, batch_rows: usize) -> Vec<RecordBatch> {
    let schema = Arc::new(schema(columns, Default::default()));
    let decoders = columns.iter().map(|column| make_column(&column.pg_type, &column.options, 0)).collect();
    let limits = BatchLimits { rows: batch_rows, ..BatchLimits::default() };
    let mut decoder = CopyDecoder::new(schema, decoders, limits);
    let messages: Vec<u8> = stream.chunks(piece_bytes).flat_map(copy::frame).collect();
    let (mut at, mut batches) = (0, Vec::new());
    loop {
        let progress = decoder.decode(&messages[at..]).unwrap();
        at += progress.used_bytes;
        if progress.stop != StopReason::BatchFull {
            break;
        }
        batches.extend(decoder.flush().unwrap());
    }
    batches.extend(decoder.flush().unwrap());
    assert!(at == messages.len() && decoder.is_complete());
    batches
}

/// Prints values as the server does, except that OIDs of objects and money are numbers.
fn renderer(types: &TypeOptions) -> Renderer {
    let mut renderer = Renderer::default();
    renderer.lists_are_dimensions = types.arrays == ArrayForm::Nested;
    renderer
}

#[test]
fn every_golden_stream_decodes_to_what_was_expected() {
    for name in names() {
        let expected = fs::read_to_string(name.with_extension("expect")).unwrap();
        let stream = fs::read(name.with_extension("bin")).unwrap();
        let types = sql(&name).types;
        let columns = columns(&expected, types);
        for piece_bytes in [1, 2, 7, 64, usize::MAX] {
            for batch_rows in [1, 2, 3, 1024] {
                let batches = decode(&columns, &stream, piece_bytes, batch_rows);
                let found = expectation(&columns, &batches);
                assert_eq!(found, expected, "{}, {piece_bytes} bytes, {batch_rows} rows", name.display());
            }
        }
    }
}

#[test]
fn every_golden_stream_is_what_the_server_sends() {
    require!(Capability::Server);
    let bless = std::env::var_os("PGARROW_BLESS").is_some_and(|value| value == "1");
    let test = capability::test_name("golden");
    let database = TestServer::shared().fresh_database("golden");
    for name in names() {
        let sql = sql(&name);
        if !can_make(&sql, &test) {
            continue;
        }
        database.execute(&sql.setup);
        let stream = database.copy_binary(&sql.query);
        let mut options = ExportOptions::default();
        if sql.choices != ColumnOptions::default() {
            options = options.with_column("v", sql.choices.clone());
        }
        let run = source(&database).query(&sql.query).options(options).open().unwrap();
        let theirs = run.plan().columns().to_vec();
        if bless {
            let mut batches = Vec::new();
            run.for_each(|batch| {
                batches.push(batch);
                Ok(())
            })
            .unwrap();
            fs::write(name.with_extension("expect"), expectation(&theirs, &batches)).unwrap();
            fs::write(name.with_extension("bin"), &stream).unwrap();
        }
        let golden = fs::read(name.with_extension("bin")).unwrap();
        let ours = columns(&fs::read_to_string(name.with_extension("expect")).unwrap(), sql.types);
        assert_eq!(with_oids_of(&golden, &ours, &stream, &theirs), stream, "{}", name.display());
    }
}
