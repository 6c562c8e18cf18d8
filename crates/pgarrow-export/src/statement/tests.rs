//! Which texts are accepted, and that the server splits them at the same places.

use proptest::prelude::*;

use super::*;

#[test]
fn a_semicolon_behind_the_statement_is_dropped_and_comments_stay() {
    let text = |sql| Statement::parse(sql).unwrap().text().to_owned();
    assert_eq!(text("select 1"), "select 1");
    assert_eq!(text("select 1;"), "select 1");
    assert_eq!(text("select 1 ; ; -- done\n /* all */ "), "select 1 ");
    assert_eq!(text("select ';' -- a;b"), "select ';' -- a;b");
    assert_eq!(text("; select 1"), "; select 1");
}

#[test]
fn semicolons_inside_of_things_end_nothing() {
    for sql in [
        "select ';select'';'",
        "select E'\\';' , e'\\\\'",
        "select \"a;b\"\";\"",
        "select $$;$$, $a$;$$;$a$, $ä1$;$ä1$",
        "select /* ; /* ; */ ; */ 1",
        "select U&'\\0041;', B'0', n';'",
        "select a$b$;$ from t".trim_end_matches(";$ from t"),
    ] {
        Statement::parse(sql).unwrap();
    }
}

#[test]
fn one_statement_and_no_less() {
    for sql in ["", " ", ";", "-- only this", "/* */;"] {
        assert!(Statement::parse(sql).unwrap_err().to_string().contains("empty"), "{sql}");
    }
    for sql in ["select 1; select 2", "select 1;;drop table t;", "select '';x"] {
        assert!(Statement::parse(sql).unwrap_err().to_string().contains("more than one"), "{sql}");
    }
    for sql in ["select '", "select \"a", "select /* /* */", "select $$ $", "select E'\\'", "select $a$ $b$"]
    {
        assert!(Statement::parse(sql).unwrap_err().to_string().contains("not closed"), "{sql}");
    }
    Statement::parse("select 1\0").unwrap_err();
}

#[test]
fn placeholders_are_found_only_where_they_are_some() {
    let statement = Statement::parse("select $1, '$2', \"$3\", a$4, $$ $5 $$, $2::int -- $6").unwrap();
    assert_eq!(statement.n_parameters(), 2);
    let bound = statement.with_parameters(&["(x)".to_owned(), "(y)".to_owned()]);
    assert_eq!(bound.text(), "select (x), '$2', \"$3\", a$4, $$ $5 $$, (y)::int -- $6");
    Statement::parse("select $0").unwrap_err();
    Statement::parse("select $99999999999999999999").unwrap_err();
}

#[test]
fn a_condition_stays_within_its_parentheses() {
    for sql in ["a = (1)", "(a) OR (b)", "a = ')' AND \")(\" /* ) */ -- (", "a IN (SELECT f($$)$$))"] {
        Statement::parse_condition(sql).unwrap();
    }
    for sql in ["true) OR (true", "a = 1)", "(a = 1", "true) UNION ALL (SELECT 1", ")("] {
        let error = Statement::parse_condition(sql).unwrap_err();
        assert!(error.to_string().contains("parenthesis"), "{sql}");
    }
    for sql in ["true; DROP TABLE e", "", "'open"] {
        assert!(Statement::parse_condition(sql).unwrap_err().to_string().contains("the filter"), "{sql}");
    }
    let condition = Statement::parse_condition("a = $1 OR (b = '$2')").unwrap();
    assert_eq!(condition.n_parameters(), 1);
    assert_eq!(
        condition.with_parameters(&["(')'::text)".to_owned()]).text(),
        "a = (')'::text) OR (b = '$2')"
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(sql in "[-a-z$0-9';\"/*\\\\ \n\u{e4}\u{1f980}]{0,40}") {
        if let Ok(statement) = Statement::parse(&sql) {
            prop_assert!(sql.starts_with(statement.text()));
        }
    }
}

/// The kinds and texts of all tokens that are not blank.
fn pieces(sql: &str) -> Vec<(TokenKind, &str)> {
    let mut scanner = Scanner::new(sql);
    let tokens = std::iter::from_fn(|| scanner.next_token().unwrap());
    tokens
        .filter(|token| token.kind != TokenKind::Blank)
        .map(|token| (token.kind, &sql[token.range]))
        .collect()
}

#[test]
fn pieces_are_those_of_the_servers_scanner() {
    use TokenKind::{EscapedName, Number, Operator, Other, QuotedName, Text, Word};
    for (sql, expected) in [
        ("a--b\rc --d\ne --f", &[(Word, "a"), (Word, "c"), (Word, "e")][..]),
        ("'a' --c\r\n \x0B'b''' 'c'", &[(Text, "'a' --c\r\n \x0B'b'''"), (Text, "'c'")]),
        ("E'a\\''\n'\\'b' '\\'", &[(Text, "E'a\\''\n'\\'b'"), (Text, "'\\'")]),
        ("'a' /* \n */ '\\'", &[(Text, "'a'"), (Text, "'\\'")]),
        (
            "n'a'\n'b'x'0f'B'1'e'\\''",
            &[(Text, "n'a'\n'b'"), (Text, "x'0f'"), (Text, "B'1'"), (Text, "e'\\''")],
        ),
        (
            "U&'a\\'u&\"b\"\"\"u&c",
            &[(Text, "U&'a\\'"), (EscapedName, "u&\"b\"\"\""), (Word, "u"), (Operator, "&"), (Word, "c")],
        ),
        (
            "$a$'$b$$$a$$$\n$$a$$ xe'\\'",
            &[(Text, "$a$'$b$$$a$"), (Text, "$$\n$$"), (Word, "a$$"), (Word, "xe"), (Text, "'\\'")],
        ),
        (
            "a+-1 b@- c<>--\nd*/**/e//* */f",
            &[
                (Word, "a"),
                (Operator, "+"),
                (Operator, "-"),
                (Number, "1"),
                (Word, "b"),
                (Operator, "@-"),
                (Word, "c"),
                (Operator, "<>"),
                (Word, "d"),
                (Operator, "*"),
                (Word, "e"),
                (Operator, "/"),
                (Word, "f"),
            ],
        ),
        (
            "a::\"b\"[1]",
            &[
                (Word, "a"),
                (Other, ":"),
                (Other, ":"),
                (QuotedName, "\"b\""),
                (Other, "["),
                (Number, "1"),
                (Other, "]"),
            ],
        ),
        ("1_0and 0x1F 1$a$;$a$", &[(Number, "1_0and"), (Number, "0x1F"), (Number, "1"), (Text, "$a$;$a$")]),
    ] {
        assert_eq!(pieces(sql), expected, "{sql}");
    }
    Statement::parse("select 1e'\\'").unwrap_err();
}

/// Formerly, each of these passed as one condition but was two for the server: every slice returned rows that
/// the condition excludes.
#[test]
fn what_leaves_its_parentheses_in_the_servers_eyes_is_refused() {
    for sql in [
        "id < 10 --\r) OR (id = 7",
        "x = E'a'\n'\\'') OR (true --'",
        "x = e'a' -- b\r\n '\\'') OR (true --'",
        "x = 'a'\x0B\n'b' --\r) OR (true",
    ] {
        let error = Statement::parse_condition(sql).unwrap_err();
        assert!(error.to_string().contains("parenthesis"), "{sql}: {error}");
    }
}

/// The server judges a condition: it is in a place where it can only be one argument of a function.
struct Judge {
    session: pgarrow_protocol::Session,
    _database: pgarrow_testkit::Database,
}

impl Judge {
    fn new() -> Self {
        let database = pgarrow_testkit::TestServer::shared().fresh_database("scanner");
        database.execute(
            "CREATE TYPE verdict AS (x int4); \
             CREATE FUNCTION judged(bool) RETURNS verdict IMMUTABLE LANGUAGE sql RETURN ROW(1)::verdict; \
             CREATE TABLE t AS SELECT 1 AS id, text 'x' AS x, 'x' AS e, 'x' AS u, 'x' AS \"n\"",
        );
        let config = pgarrow_protocol::Config::parse(Some(database.url())).unwrap();
        let mut session = pgarrow_protocol::Session::connect(&config).unwrap();
        session.execute("SET standard_conforming_strings = on").unwrap();
        Self { session, _database: database }
    }

    /// Whether the text is one condition. Texts have no brackets or commas, so no legal text can leave the
    /// argument.
    fn is_condition(&mut self, sql: &str) -> bool {
        self.session.describe(&format!("SELECT ARRAY[judged(\n{sql}\n)]::verdict[] FROM t")).is_ok()
    }

    /// Whether the text works as the filter of a slice.
    fn is_taken(&mut self, sql: &str) -> bool {
        self.session.describe(&format!("SELECT id FROM t WHERE ctid >= '(0,0)' AND (\n{sql}\n)")).is_ok()
    }
}

/// Text that is likely to hit differences between scanners.
fn nasty(chance: &mut pgarrow_testkit::Chance, n_pieces: u64) -> String {
    const PIECES: [&str; 44] = [
        "'", "''", "\\", "\\'", "\n", "\r", " ", "\t", "\x0C", "\x0B", "--", "-", "/*", "*/", "/", "*", "$$",
        "$a$", "$", "a", "e'", "E'", "U&'", "u&\"", "n'", "x'", "B'", "\"", "(", ")", ") OR (", "true",
        "false", " OR ", " AND ", "id", " = ", "1", "0", "x", "e", "+", "\u{e9}", "||",
    ];
    (0..chance.within(0, n_pieces)).map(|_| chance.one_of(&PIECES)).collect()
}

/// A condition of strings, names and comments with any content that does not end them: most are legal.
fn likely(chance: &mut pgarrow_testkit::Chance) -> String {
    let inside = nasty(chance, 6);
    let gap = |chance: &mut pgarrow_testkit::Chance| {
        chance
            .one_of(&[" ", "\n", "\r", "--x'\n", "--(\r", "/*)'*/", "/*/*(*/\"*/", " \n --'\r\n "])
            .to_owned()
    };
    let string = match chance.within(0, 6) {
        0 => format!("'{}'", inside.replace('\'', "''")),
        1 => format!("e'{}'", inside.replace('\\', "\\\\").replace('\'', "\\'")),
        2 => format!(
            "E'x'{}'{}'",
            chance.one_of(&["\n", " --'\r", "\r\n"]),
            inside.replace(['\\', '\''], "\\\\")
        ),
        3 => format!("$a${}$a$", inside.replace("$a", "")),
        4 => format!("$${}$$", inside.replace('$', "")),
        5 => format!("U&'{}'", inside.replace(['\\', '\''], "''")),
        _ => format!("N'{}'{}'y'", inside.replace('\'', ""), chance.one_of(&["\n", "--\r\t"])),
    };
    let (one, two, three, end) = (gap(chance), gap(chance), gap(chance), nasty(chance, 2));
    let operator = chance.one_of(&["=", "<>", "=--\n", "=/*", "=-", "||"]);
    format!(
        "{one}x{two}{operator}{three}{string}{end}{}",
        chance.one_of(&["", " OR id=1", ") OR (true", "--", "\r"])
    )
}

/// Every accepted text is one condition for the server, and every condition of the server is accepted.
#[test]
fn the_server_cuts_texts_at_the_same_places() {
    pgarrow_testkit::require!(pgarrow_testkit::Capability::Server);
    let mut judge = Judge::new();
    let mut chance = pgarrow_testkit::Chance::new(15);
    let (mut n_conditions, mut n_refused) = (0, 0);
    for number in 0..6000 {
        let sql = if number % 3 == 0 { nasty(&mut chance, 12) } else { likely(&mut chance) };
        let taken = Statement::parse_condition(&sql);
        match judge.is_condition(&sql) {
            true => {
                n_conditions += 1;
                // Only a semicolon at the end is dropped.
                assert!(taken.is_ok(), "legal, and refused: {sql:?}: {}", taken.unwrap_err());
            }
            false => {
                n_refused += u32::from(taken.is_err());
                if let Ok(taken) = taken {
                    assert!(!judge.is_taken(taken.text()), "taken, and not one condition: {sql:?}");
                }
            }
        }
    }
    assert!(n_conditions > 500 && n_refused > 500, "{n_conditions} conditions, {n_refused} refused");
}

/// The text with a value for each time, and what differs in it.
fn fixed(sql: &str) -> (String, Vec<String>) {
    let uses = uses::Uses::of(sql).unwrap();
    let values: Vec<&str> = uses.moments.iter().map(|moment| moment.clock.example()).collect();
    (uses.with_values(sql, &values), uses.differing)
}

#[test]
fn times_are_found_where_they_are_some() {
    for (sql, expected) in [
        ("a > now()-b", "a > ('2000-01-01 00:00:00+00'::pg_catalog.timestamptz)-b"),
        ("PG_CATALOG . \"now\"( )", "('2000-01-01 00:00:00+00'::pg_catalog.timestamptz)"),
        ("CURRENT_time(9)=x", "('00:00:00+00'::pg_catalog.timetz(6))=x"),
        (
            "t.now, t.current_date, 'now()', \"current_date\", now, -- now()",
            "t.now, t.current_date, 'now()', \"current_date\", now, -- now()",
        ),
        ("select now()", "select (SELECT '2000-01-01 00:00:00+00'::pg_catalog.timestamptz AS \"now\")"),
        (
            "select now() AS a, now() - b, f(now())",
            "select ('2000-01-01 00:00:00+00'::pg_catalog.timestamptz) AS a, \
          ('2000-01-01 00:00:00+00'::pg_catalog.timestamptz) - b, f(('2000-01-01 00:00:00+00'::pg_catalog.timestamptz))",
        ),
        ("select 1 AS current_date", "select 1 AS current_date"),
    ] {
        assert_eq!(fixed(sql).0, expected);
    }
    for sql in [
        "select * from now()",
        "select * from a join current_date on true",
        "select a current_date",
        "current_time(x)",
    ] {
        let (text, differing) = fixed(sql);
        assert_eq!(text, sql);
        assert!(!differing.is_empty(), "{sql}");
    }
    assert_eq!(uses::Uses::of("mine.now()").unwrap().names.calls, [("mine".to_owned(), "now".to_owned(), 0)]);
    assert_eq!(
        uses::Uses::of("f(a[1, 2], (b, c), g(x))").unwrap().names.calls,
        [(String::new(), "f".to_owned(), 3), (String::new(), "g".to_owned(), 1),]
    );
}

#[test]
fn strings_that_are_read_as_the_time_are_found() {
    for sql in [
        "'now'",
        "' NOW '",
        "N'today'",
        "$a$Tomorrow$a$",
        "E'\\156\\x6fw'",
        "'yester'\n'day 12:00'",
        "E't'\n'o\\u0064ay'",
    ] {
        assert_eq!(fixed(sql).1.len(), 1, "{sql}");
    }
    assert_eq!(
        fixed("U&'\\006eow'").1,
        ["a string whose characters may be written by their numbers (U&'…')"]
    );
    for sql in ["'know'", "'now or never, said he to her'", "'2020-01-01'", "E'\\n'", "x'0f'", "\"now\""] {
        assert_eq!(fixed(sql).1, [] as [&str; 0], "{sql}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_search_for_times_panic(sql in "[-a-z$0-9';\"/*\\\\ \n(),.\u{e4}]{0,40}|(now|\\(|\\)|,|select| |from|current_time|'|E'|\\\\x|\\.|as){0,12}") {
        if let Ok(uses) = uses::Uses::of(&sql) {
            let values: Vec<&str> = uses.moments.iter().map(|moment| moment.clock.example()).collect();
            uses.with_values(&sql, &values);
        }
    }
}
