use super::*;

#[test]
fn only_an_exact_copy_tag_counts() {
    for (tag, rows) in [
        (&b"COPY 0"[..], Some(0)),
        (b"COPY 7", Some(7)),
        (b"COPY 18446744073709551615", Some(u64::MAX)),
        (b"COPY 18446744073709551616", None),
        (b"COPY", None),
        (b"COPY ", None),
        (b"COPY x", None),
        (b"COPY 01", None),
        (b"COPY +5", None),
        (b"COPY -5", None),
        (b"COPY 5 ", None),
        (b"COPY  5", None),
        (b"copy 5", None),
        (b"SELECT 5", None),
        (b"", None),
    ] {
        assert_eq!(copy_rows(tag), rows, "{:?}", String::from_utf8_lossy(tag));
    }
}

#[test]
fn row_descriptions_that_lie() {
    let one = b"\0\x01a\0\0\0\0\x05\0\x02\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
    let columns = row_description(one).unwrap();
    assert_eq!(columns.len(), 1);
    assert_eq!((columns[0].name.as_str(), columns[0].table_oid, columns[0].type_oid), ("a", 5, 23));
    assert_eq!(columns[0].type_modifier, -1);
    for n_bytes in 0..one.len() {
        assert!(row_description(&one[..n_bytes]).is_err(), "{n_bytes}");
    }
    assert!(row_description(b"\xff\xff").is_err());
    assert!(row_description(b"\x7f\xff").is_err());
    let mut trailing = one.to_vec();
    trailing.push(0);
    assert_eq!(row_description(&trailing), Err(BodyError::Trailing(1)));
}

#[test]
fn data_rows_that_lie() {
    assert_eq!(data_row(b"\0\x02\xff\xff\xff\xff\0\0\0\x01x"), Ok(vec![None, Some(&b"x"[..])]));
    for body in [
        &b""[..],
        b"\0",
        b"\0\x01",
        b"\xff\xff",
        b"\0\x01\xff\xff\xff\xfe",
        b"\0\x01\x7f\xff\xff\xff",
        b"\0\x01\0\0\0\x02x",
        b"\0\x01\0\0\0\x01xy",
    ] {
        assert!(data_row(body).is_err(), "{body:?}");
    }
}

#[test]
fn copy_responses_that_lie() {
    assert_eq!(copy_response(b"\x01\0\x02\0\x01\0\x01"), Ok(CopyFormats { n_columns: 2, is_binary: true }));
    assert_eq!(copy_response(b"\x01\0\0"), Ok(CopyFormats { n_columns: 0, is_binary: true }));
    assert!(!copy_response(b"\0\0\x01\0\0").unwrap().is_binary);
    assert!(!copy_response(b"\x01\0\x02\0\x01\0\0").unwrap().is_binary);
    for body in
        [&b""[..], b"\x01", b"\x01\xff\xff", b"\x01\0\x01", b"\x01\0\x01\0\x02", b"\x02\0\0", b"\x01\0\0\0"]
    {
        assert!(copy_response(body).is_err(), "{body:?}");
    }
}

#[test]
fn protocol_negotiation_is_bounded() {
    assert_eq!(negotiation(b"\0\0\0\0\0\0\0\x01_pq_.x\0"), Ok(Negotiation { minor: 0, n_options: 1 }));
    assert_eq!(negotiation(b"\0\x03\0\x02\0\0\0\0"), Ok(Negotiation { minor: 2, n_options: 0 }));
    for body in [
        &b"\0\0\0\0\x7f\xff\xff\xff"[..],
        b"\0\0\0\0\xff\xff\xff\xff",
        b"\0\0\0\0\0\0\0\x01open",
        b"\0\x02\0\0\0\0\0\0",
        b"\0\x04\0\0\0\0\0\0",
        b"\xff\xff\0\0\0\0\0\0",
        b"\0\x03\0\0\0\0\0\0\0",
        b"\0\0\0",
    ] {
        assert!(negotiation(body).is_err(), "{body:?}");
    }
}

///
#[test]
fn keys_have_the_length_of_their_protocol() {
    let key = |n_bytes| [b"\0\0\0\x01".to_vec(), vec![2; n_bytes]].concat();
    for (n_bytes, in_3_0, in_3_2) in [
        (0, false, false),
        (3, false, false),
        (4, true, true),
        (5, false, true),
        (32, false, true),
        (256, false, true),
        (257, false, false),
    ] {
        assert_eq!(backend_key(&key(n_bytes), ProtocolVersion::V3_0).is_ok(), in_3_0, "{n_bytes}");
        assert_eq!(backend_key(&key(n_bytes), ProtocolVersion::V3_2).is_ok(), in_3_2, "{n_bytes}");
    }
}

#[test]
fn authentication_requests() {
    assert_eq!(authentication(b"\0\0\0\0"), Ok(Authentication::Ok));
    assert_eq!(authentication(b"\0\0\0\x05abcd"), Ok(Authentication::Md5 { salt: *b"abcd" }));
    assert_eq!(authentication(b"\0\0\0\x07"), Ok(Authentication::Other(7)));
    assert_eq!(
        authentication(b"\0\0\0\x0aSCRAM-SHA-256\0\0"),
        Ok(Authentication::Sasl { mechanisms: vec!["SCRAM-SHA-256".to_owned()] })
    );
    for body in [
        &b""[..],
        b"\0\0\0",
        b"\0\0\0\0x",
        b"\0\0\0\x05abc",
        b"\0\0\0\x0aSCRAM",
        b"\0\0\0\x0aSCRAM\0",
        b"\0\0\0\x0a\0x",
    ] {
        assert!(authentication(body).is_err(), "{body:?}");
    }
}

#[test]
fn small_bodies() {
    assert_eq!(parameter_status(b"a\0b\0"), Ok(("a".to_owned(), "b".to_owned())));
    assert!(parameter_status(b"a\0b").is_err());
    assert_eq!(ready_for_query(b"I"), Ok(TransactionStatus::Idle));
    assert!(ready_for_query(b"").is_err());
    assert!(ready_for_query(b"X").is_err());
    assert!(ready_for_query(b"II").is_err());
    assert_eq!(parameter_description(b"\0\x01\0\0\0\x17"), Ok(vec![23]));
    assert!(parameter_description(b"\xff\xff\0\0\0\x17").is_err());
    assert_eq!(command_complete(b"COPY 1\0"), Ok(&b"COPY 1"[..]));
    assert!(command_complete(b"COPY 1").is_err());
    assert!(command_complete(b"").is_err());
    assert!(command_complete(b"COPY 1\0\0").is_err());
}

#[test]
fn tags_that_count_rows() {
    for (tag, rows) in [
        ("INSERT 0 5", Some(5)),
        ("INSERT 0 18446744073709551615", Some(u64::MAX)),
        ("INSERT 0 18446744073709551616", None),
        ("INSERT 5", None),
        ("INSERT 0 ", None),
        ("UPDATE 0", Some(0)),
        ("UPDATE 007", None),
        ("UPDATE", None),
        ("DELETE 12", Some(12)),
        ("DELETE -1", None),
        ("MERGE 3", Some(3)),
        ("COPY 4", Some(4)),
        ("SELECT 1", Some(1)),
        ("SELECTED 1", Some(0)),
        ("CREATE TABLE", Some(0)),
        ("", Some(0)),
    ] {
        assert_eq!(counted_rows(tag.as_bytes()), rows, "{tag}");
    }
}
