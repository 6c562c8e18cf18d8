//! Files of exports, and those of others.

use std::fs;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use pgarrow_sink_ipc::is_ours;

use crate::{FORMATS, write};

#[test]
fn a_schema_says_where_its_rows_are_from() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for format in FORMATS {
        let file = |name: &str, keys: &[&str]| {
            let path = at(&format!("{name} {format:?}"));
            let metadata = keys.iter().map(|key| ((*key).to_owned(), "x".to_owned())).collect();
            let field = Field::new("a", DataType::Int32, true);
            // A field's metadata prove nothing: they go with the column into whatever is made of it.
            let field = field.with_metadata([("pg.type".to_owned(), "integer".to_owned())].into());
            let schema = Arc::new(Schema::new_with_metadata(vec![field], metadata));
            write(&path, schema, &[], format).unwrap();
            path
        };
        let ours = file("ours", &["a", "pg.server_version"]);
        assert!(is_ours(&ours), "{format:?}");
        assert!(!is_ours(file("none", &[])), "{format:?}");
        assert!(!is_ours(file("others", &["pgadmin", "pandas", "PG.table"])), "{format:?}");

        let whole = fs::read(&ours).unwrap();
        for n_bytes in [0, 1, 8, 9, 40, 100] {
            fs::write(at("cut"), &whole[..n_bytes]).unwrap();
            assert!(!is_ours(at("cut")), "{format:?}: {n_bytes}");
        }
        // An impossible length.
        fs::write(at("claim"), [&[0xff; 8][..], &whole[8..]].concat()).unwrap();
        fs::write(at("footer"), [&whole[..whole.len() - 10], b"\xff\xff\xff\x7fARROW1"].concat()).unwrap();
        let is_stream = whole.starts_with(&[0xff; 4]);
        // A file is read from its end, a stream from its beginning.
        assert_eq!((is_ours(at("claim")), is_ours(at("footer"))), (!is_stream, is_stream), "{format:?}");
    }
    fs::write(at("text"), "pg.server_version").unwrap();
    for name in ["text", "", "missing"] {
        assert!(!is_ours(at(name)), "{name}");
    }
}
