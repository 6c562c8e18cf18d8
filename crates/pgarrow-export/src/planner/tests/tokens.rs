//! Slices as tokens: written, read, and refused.

use pgarrow_session::ErrorKind;
use pgarrow_types::{PgColumn, PgType, TypeOptions};
use serde_json::{Value, json};

use crate::slice::check::is_snapshot_id;
use crate::slice::{Slice, schema_fingerprint};

fn token() -> Value {
    json!({
        "version": 2,
        "source": {"endpoint": "h:5432", "database": "d", "server_started": "2026-11-21 14:00:00+00"},
        "snapshot": {"exported": "00000004-0000001A-1", "current": "10:20:11,12"},
        "subject": {"relations": {
            "table": {"oid": 1, "schema": "s", "name": "t", "kind": "partitioned_table"},
            "reads": [{"relation": {"oid": 2, "schema": "s", "name": "t1", "kind": "table"}, "only": true}],
        }},
        "columns": ["a", "b"],
        "filter": "a > 1",
        "range": {"pages": {"from": 3, "to": 5}},
        "read_mode": "copy",
        "schema_fingerprint": "00",
        "estimated_bytes": 100,
        "estimated_rows": null,
        "index": 0,
        "of": 2,
    })
}

fn refusal(token: &Value) -> String {
    let error = Slice::from_json(&token.to_string()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Options);
    error.to_string()
}

#[test]
fn a_token_comes_back_as_it_was() {
    let slice = Slice::from_json(&token().to_string()).unwrap();
    let json = slice.to_json().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), token());
    assert_eq!(Slice::from_json(&json).unwrap(), slice);
}

#[test]
fn a_token_of_another_version_is_refused_for_its_version() {
    let mut token = token();
    token["version"] = json!(1);
    token["something"] = json!("new");
    assert!(refusal(&token).contains("version is 1"), "{}", refusal(&token));
}

#[test]
fn tokens_that_contradict_themselves() {
    let key = |from: Value, to: Value, nulls: bool, pg_type: &str| json!({"key": {"column": "a", "pg_type": pg_type, "from": from, "to": to, "nulls": nulls}});
    let cases = [
        ("/unknown", json!(1), "unknown field"),
        ("/source/password", json!("x"), "unknown field"),
        ("/index", json!(2), "index"),
        ("/opens", json!([1, 0]), "opens"),
        ("/columns", json!(["a\0"]), "columns"),
        ("/filter", json!("a\0"), "filter"),
        ("/snapshot/exported", json!("00000004-0000001A-1'; DROP"), "snapshot"),
        ("/snapshot/exported", json!("../../etc/passwd"), "snapshot"),
        ("/snapshot/current", json!("1:2:'"), "snapshot"),
        ("/range/pages/from", json!(5), "pages"),
        ("/range/pages/to", json!(5_000_000_000_u64), "pages"),
        ("/subject/relations/reads", json!([]), "relation"),
        ("/subject/relations/table/oid", json!(0), "relation"),
        ("/subject/relations/reads/0/only", json!(false), "pages"),
        ("/subject", json!({"query": "SELECT 1"}), "filter"),
        ("/range", key(json!("1"), json!(null), false, "int4); DROP"), "unknown variant"),
        ("/range", key(json!(null), json!(null), false, "int4"), "neither"),
        ("/range", key(json!("1\0"), json!(null), false, "int4"), "bound"),
    ];
    for (path, value, word) in cases {
        let mut token = token();
        match token.pointer_mut(path) {
            Some(place) => *place = value,
            None => {
                let (parent, name) = path.rsplit_once('/').unwrap();
                token.pointer_mut(parent).unwrap()[name] = value;
            }
        }
        assert!(refusal(&token).contains(word), "{path}: {}", refusal(&token));
    }
}

#[test]
fn a_query_is_cut_by_exactly_one_of_its_columns() {
    let mut token = token();
    token["subject"] = json!({"query": "SELECT 1 AS a, 2 AS a"});
    token["filter"] = Value::Null;
    let range = json!({"key": {"column": "a", "pg_type": "int4", "from": "1", "to": null, "nulls": false}});
    token["range"] = range;
    Slice::from_json(&token.to_string()).unwrap();
    token["columns"] = json!(["a", "a"]);
    assert!(refusal(&token).contains("exactly one"));
}

#[test]
fn snapshot_ids() {
    for id in ["00000004-00000002-1", "DEADBEEF-deadbeef-123"] {
        assert!(is_snapshot_id(id), "{id}");
    }
    for id in [
        "",
        "00000004-00000002",
        "00000004-00000002-1-1",
        "0000004-00000002-1",
        "0000000g-00000002-1",
        "00000004-00000002-",
        "00000004-00000002-1\n",
        "00000004-00000002-1 ",
    ] {
        assert!(!is_snapshot_id(id), "{id:?}");
    }
}

#[test]
fn fingerprints_differ_where_columns_do() {
    let column = |name: &str, nullable| PgColumn {
        name: name.to_owned(),
        pg_type: PgType::Int4,
        type_oid: 23,
        type_modifier: -1,
        type_name: "integer".to_owned(),
        nullable,
        comment: None,
        number: 1,
        options: TypeOptions::default(),
    };
    let of = |columns: &[PgColumn]| schema_fingerprint(columns.iter());
    let one = of(&[column("a", true), column("b", true)]);
    assert_eq!(one.len(), 64);
    let commented = PgColumn { comment: Some("x".into()), type_name: "int4".into(), ..column("a", true) };
    assert_eq!(one, of(&[commented, column("b", true)]));
    let others = [
        of(&[column("b", true), column("a", true)]),
        of(&[column("a", false), column("b", true)]),
        of(&[column("a", true)]),
        of(&[column("ab", true), column("", true)]),
        of(&[PgColumn { type_oid: 20, ..column("a", true) }, column("b", true)]),
    ];
    assert!(others.iter().all(|other| *other != one));
    // Written down: tokens of other processes have it.
    assert_eq!(of(&[]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
