//! A server whose catalog answers anything: types nested in types, names of any characters, invalid numbers,
//! unexpected rows. The crate reads or refuses all of it, after a limited number of questions.
//!
//! ```text
//! input  = question (1 byte) answers
//! answer = rows; 0x1e separates answers; the last one answers all further questions
//! row    = values, separated by \t; rows are separated by \n; \N is NULL; ${n} is the question's number
//! ```

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use pgarrow_catalog::{
    Relation, RelationKind, RelationName, estimated_rows, heap_tables, leaves, page_access, query_columns,
    quote_identifier, relation_sizes, relations_of_schema, resolve, server_traits, table_columns,
    target_columns, type_by_name, types_by_names, unique_keys, write_access,
};
use pgarrow_protocol::{ColumnDescription, Config, Session};
use pgarrow_types::schema;

/// The most questions of one input. Deep types take two queries per level.
const QUESTIONS_MAX: usize = 1_000;

/// The server's next answers, and how many questions it got.
struct Catalog {
    answers: Vec<Vec<u8>>,
    n_asked: usize,
}

static CATALOG: Mutex<Catalog> = Mutex::new(Catalog { answers: Vec::new(), n_asked: 0 });

/// Only one check runs at a time, because the catalog above is shared.
static SESSION: Mutex<Option<Session>> = Mutex::new(None);

pub(crate) fn check(data: &[u8]) {
    let Some((question, answers)) = data.split_first() else { return };
    let Ok(mut held) = SESSION.lock() else { return };
    if let Ok(mut catalog) = CATALOG.lock() {
        catalog.answers = answers.split(|byte| *byte == 0x1e).map(<[u8]>::to_vec).collect();
        catalog.n_asked = 0;
    }
    // A session that received nonsense cannot be used again.
    let mut session = match held.take() {
        Some(session) => session,
        None => Session::connect(&config()).expect("a server that accepts everybody"),
    };
    ask(&mut session, *question);
    let n_asked = n_asked();
    assert!(n_asked <= QUESTIONS_MAX, "{n_asked} questions were asked");
    if session.execute("SELECT 1").is_ok() {
        *held = Some(session);
    }
}

/// Questions since the input began.
pub(crate) fn n_asked() -> usize {
    CATALOG.lock().map_or(0, |catalog| catalog.n_asked)
}

fn ask(session: &mut Session, question: u8) {
    let kind =
        [RelationKind::Table, RelationKind::PartitionedTable, RelationKind::View, RelationKind::ForeignTable]
            [usize::from(question >> 6)];
    let relation = Relation { oid: 16_384, schema: "s".to_owned(), name: "t".to_owned(), kind };
    match question % 8 {
        0 | 1 => {
            let columns = match question % 8 {
                0 => table_columns(session, &relation, question & 8 != 0),
                _ => query_columns(session, &described()),
            };
            let columns: Vec<_> = columns.into_iter().flatten().map(|resolved| resolved.column).collect();
            let schema = schema(&columns, HashMap::new());
            assert_eq!(schema.fields().len(), columns.len());
        }
        2 => {
            let found = RelationName::parse("t").map(|name| resolve(session, &name));
            if let Ok(Ok(relation)) = found {
                let quoted = quote_identifier(&relation.name);
                let inside = quoted.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
                let inside = inside.unwrap_or("").replace("\"\"", "");
                assert!(!inside.contains('"'), "{quoted:?} leaves its quotes");
            }
        }
        3 => {
            drop((relations_of_schema(session, "s"), type_by_name(session, "t", -1)));
            drop(types_by_names(session, &["t", "u"].map(|name| (name.to_owned(), -1))));
        }
        4 => {
            drop(leaves(session, &relation, &["a".to_owned()]));
            let columns = target_columns(session, &relation).unwrap_or_default();
            for column in columns.iter().filter(|column| column.has_default) {
                assert!(column.identity.is_none() && !column.is_generated);
            }
        }
        5 => {
            drop((relation_sizes(session, &[1, 2, 3]), write_access(session, &relation)));
            for key in unique_keys(session, &relation).unwrap_or_default() {
                assert!(!key.columns.is_empty());
            }
        }
        6 => drop((estimated_rows(session, 16_384), server_traits(session))),
        _ => {
            if let Ok(Ok(access)) = server_traits(session).and_then(|traits| page_access(session, &traits)) {
                drop(heap_tables(session, Some(&access), &[16_384], &[]));
            }
        }
    }
}

/// Columns of unknown types.
fn described() -> Vec<ColumnDescription> {
    let column = |type_oid| ColumnDescription {
        name: "a\u{1b}\0".to_owned(),
        table_oid: 0,
        attribute_number: 0,
        type_oid,
        type_length: -1,
        type_modifier: i32::MAX,
    };
    (16_384..16_388).map(column).collect()
}

/// The configuration for the only server of this process.
fn config() -> Config {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("pgarrow-catalog-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for a socket");
        let path = folder.join(".s.PGSQL.5432");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(stream));
            }
        });
        folder
    });
    let conninfo = format!("host={} port=5432 user=u dbname=d", folder.display());
    Config::parse_with(Some(&conninfo), &|_| None).expect("a connection string")
}

/// Ends when the client disconnects.
fn serve(stream: UnixStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    body(&mut reader)?;
    let status = |name: &str, value: &str| message(b'S', format!("{name}\0{value}\0").as_bytes());
    let welcome = [
        message(b'R', &[0; 4]),
        status("client_encoding", "UTF8"),
        status("server_encoding", "UTF8"),
        status("server_version", "17.4"),
        message(b'Z', b"I"),
    ];
    stream.write_all(&welcome.concat()).ok()?;
    loop {
        let mut tag = [0];
        reader.read_exact(&mut tag).ok()?;
        body(&mut reader)?;
        match &tag {
            b"Q" => stream.write_all(&[message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat()).ok()?,
            b"S" => stream.write_all(&answer()).ok()?,
            _ => {}
        }
    }
}

fn body(reader: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    reader.read_exact(&mut length).ok()?;
    let n_bytes = usize::try_from(u32::from_be_bytes(length)).ok()?.checked_sub(4)?;
    let mut body = vec![0; n_bytes];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

/// The messages from ParseComplete to ReadyForQuery, with as many columns as the first row has.
fn answer() -> Vec<u8> {
    let Ok(mut catalog) = CATALOG.lock() else { return Vec::new() };
    let number = catalog.n_asked;
    catalog.n_asked += 1;
    let text = catalog.answers.get(number).or(catalog.answers.last()).cloned().unwrap_or_default();
    drop(catalog);
    let text = replace(&text, b"${n}", (20_000 + number).to_string().as_bytes());
    let text = replace(&text, b"${n+1}", (20_001 + number).to_string().as_bytes());
    let rows: Vec<Vec<&[u8]>> = match text.is_empty() {
        true => Vec::new(),
        false => {
            text.split(|byte| *byte == b'\n').map(|row| row.split(|byte| *byte == b'\t').collect()).collect()
        }
    };
    let n_columns = rows.first().map_or(1, Vec::len).min(1_000);
    let mut bytes = [message(b'1', b""), message(b'2', b"")].concat();
    let mut description = (n_columns as u16).to_be_bytes().to_vec();
    for _ in 0..n_columns {
        description.extend_from_slice(b"a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
    }
    bytes.extend(message(b'T', &description));
    for row in &rows {
        let mut values = (row.len() as u16).to_be_bytes().to_vec();
        for value in row {
            match *value {
                b"\\N" => values.extend_from_slice(&(-1_i32).to_be_bytes()),
                value => {
                    values.extend_from_slice(&(value.len() as u32).to_be_bytes());
                    values.extend_from_slice(value);
                }
            }
        }
        bytes.extend(message(b'D', &values));
    }
    bytes.extend(message(b'C', format!("SELECT {}\0", rows.len()).as_bytes()));
    bytes.extend(message(b'Z', b"I"));
    bytes
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}
