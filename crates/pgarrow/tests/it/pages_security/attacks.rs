//! Roles that try to read more than they may.

use std::thread;

use super::*;

/// The refusal of calls that are not in the client's own statement.
const BY_STEALTH: &str = "called by the client's own statement";

impl Place {
    /// A place with a schema that the stranger owns.
    fn evil(hint: &str, sql: &str) -> Self {
        Self::new(
            hint,
            &format!(
                "CREATE SCHEMA evil AUTHORIZATION \"STRANGER\"; GRANT USAGE ON SCHEMA evil TO PUBLIC; \
                 CREATE TABLE secret AS SELECT 'secret' AS v; GRANT SELECT ON secret TO \"READER\"; {sql}"
            ),
        )
    }

    /// Runs statements as the stranger. `PAGE` stands for the call for the table `secret`.
    fn prepare(&self, sql: &str) {
        let sql = sql.replace("PAGE", &self.call("secret", 0)).replace("READER", &self.reader);
        self.stranger().batch_execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}

#[test]
fn superusers_do_not_call_it_by_accident() {
    require_function!();
    let place = Place::evil("pages_superuser", "");
    place.prepare(
        "CREATE VIEW evil.v AS SELECT PAGE AS page; \
         CREATE TABLE evil.loot (page bytea); GRANT ALL ON evil.loot TO PUBLIC; \
         CREATE FUNCTION evil.f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.page := PAGE; RETURN NEW; END$$; \
         CREATE TRIGGER f BEFORE INSERT ON evil.loot FOR EACH ROW EXECUTE FUNCTION evil.f(); \
         GRANT SELECT ON evil.v TO PUBLIC",
    );
    let mut superuser = place.database.client();
    let call = place.call("secret", 0);
    let not_for_superusers = "not for superusers";
    assert_refused(page(&mut superuser, &format!("SELECT {call}")), NO_RIGHT, not_for_superusers);
    for sql in ["SELECT page FROM evil.v", "INSERT INTO evil.loot VALUES (NULL) RETURNING page"] {
        assert_refused(page(&mut superuser, sql), NO_RIGHT, BY_STEALTH);
        assert_refused(page(&mut superuser, &format!("{sql} /* {call} */")), NO_RIGHT, not_for_superusers);
    }
    // A superuser's SET ROLE does not make it a user that may read.
    superuser.batch_execute(&format!("SET ROLE \"{}\"", place.reader)).unwrap();
    assert_refused(page(&mut superuser, &format!("SELECT {call}")), NO_RIGHT, not_for_superusers);
    superuser.batch_execute("RESET ROLE").unwrap();
    // Nor may a user read after SET ROLE to a superuser.
    place.execute("GRANT postgres TO \"READER\"");
    let mut reader = place.reader();
    page(&mut reader, &format!("SELECT {call}")).unwrap();
    reader.batch_execute("SET ROLE postgres").unwrap();
    assert_refused(page(&mut reader, &format!("SELECT {call}")), NO_RIGHT, not_for_superusers);
}

/// The reader may read the page; the stranger's function, which runs with the stranger's rights, must not get
/// it.
#[test]
fn nobody_reads_for_somebody_else() {
    require_function!();
    let place = Place::evil("pages_deputy", "");
    place.prepare(
        "CREATE FUNCTION evil.f() RETURNS bytea LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN RETURN PAGE; END$$; \
         CREATE FUNCTION evil.g() RETURNS bytea LANGUAGE sql SECURITY DEFINER AS $$SELECT PAGE$$; \
         CREATE FUNCTION evil.h() RETURNS bytea LANGUAGE plpgsql SECURITY DEFINER AS \
           $$DECLARE page bytea; BEGIN EXECUTE 'SELECT PAGE' INTO page; RETURN page; END$$; \
         CREATE VIEW evil.v AS SELECT PAGE AS page; GRANT SELECT ON evil.v TO PUBLIC; \
         CREATE MATERIALIZED VIEW evil.m AS SELECT PAGE AS page WITH NO DATA",
    );
    let mut reader = place.reader();
    for sql in ["SELECT evil.f()", "SELECT evil.g()", "SELECT evil.h()", "SELECT page FROM evil.v"] {
        assert_refused(page(&mut reader, sql), NO_RIGHT, BY_STEALTH);
    }
    // A member of the owner's role runs REFRESH with the owner's rights.
    place.execute("GRANT \"STRANGER\" TO \"READER\"");
    let error = place.reader().batch_execute("REFRESH MATERIALIZED VIEW evil.m").unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains(BY_STEALTH), "{error:?}");
    // A call for another table in the client's statement does not help.
    let own = place.call("t", 0);
    assert_refused(page(&mut reader, &format!("SELECT evil.f() /* {own} */")), NO_RIGHT, BY_STEALTH);
}

#[test]
fn names_on_the_search_path_change_nothing() {
    require_function!();
    let place = Place::evil("pages_path", "");
    let mut stranger = place.stranger();
    stranger
        .batch_execute(
            "CREATE FUNCTION evil.has_table_privilege(name, oid, text) RETURNS bool LANGUAGE sql AS 'SELECT true'; \
             CREATE FUNCTION evil.has_schema_privilege(name, oid, text) RETURNS bool LANGUAGE sql AS 'SELECT true'; \
             CREATE FUNCTION evil.pg_has_role(name, oid, text) RETURNS bool LANGUAGE sql AS 'SELECT false'; \
             CREATE FUNCTION evil.get_byte(bytea, int) RETURNS int LANGUAGE sql AS 'SELECT 4'; \
             CREATE FUNCTION evil.is(text, text) RETURNS bool LANGUAGE sql AS 'SELECT true'; \
             CREATE FUNCTION evil.is(bool, bool) RETURNS bool LANGUAGE sql AS 'SELECT true'; \
             CREATE OPERATOR evil.= (FUNCTION = evil.is, LEFTARG = text, RIGHTARG = text); \
             CREATE OPERATOR evil.= (FUNCTION = evil.is, LEFTARG = bool, RIGHTARG = bool); \
             CREATE DOMAIN evil.text AS pg_catalog.text; \
             CREATE TEMP TABLE pg_class AS SELECT * FROM pg_catalog.pg_class; \
             CREATE TEMP TABLE pg_namespace AS SELECT * FROM pg_catalog.pg_namespace; \
             CREATE TEMP TABLE pg_authid (rolname name, rolsuper bool); CREATE TEMP TABLE text (a int); \
             UPDATE pg_temp.pg_class SET relrowsecurity = false; SET search_path = pg_temp, evil, pg_catalog; \
             SET quote_all_identifiers = on; SET standard_conforming_strings = off; \
             SET transform_null_equals = on; SET plpgsql.variable_conflict = use_variable",
        )
        .unwrap();
    for table in ["t", "secret"] {
        assert_refused(place.page(&mut stranger, table, 0), NO_RIGHT, "permission denied for pages");
    }
    place.execute("ALTER TABLE secret ENABLE ROW LEVEL SECURITY; GRANT SELECT ON t, secret TO \"STRANGER\"");
    assert_refused(place.page(&mut stranger, "secret", 0), NO_RIGHT, "row security");
    // A table that may be read is still read.
    assert_eq!(
        place.page(&mut stranger, "public.t", 0).unwrap(),
        place.page(&mut place.reader(), "t", 0).unwrap()
    );
}

/// The function waits for the lock of a table that the stranger may read. Meanwhile the stranger, which owns
/// the schemas of both tables, gives its name to another table: pageinspect looks names up, and again after
/// it has waited.
#[test]
fn a_name_that_becomes_that_of_another_table_shows_nothing_of_it() {
    require_function!();
    for isolation in ["READ COMMITTED", "REPEATABLE READ"] {
        let place = Place::evil(
            "pages_rename",
            "CREATE SCHEMA other AUTHORIZATION \"STRANGER\"; CREATE TABLE evil.t AS SELECT 'mine' AS v; \
             CREATE TABLE other.t AS SELECT 'secret' AS v; ALTER TABLE evil.t OWNER TO \"STRANGER\"; \
             GRANT CREATE ON DATABASE DATABASE TO \"STRANGER\"",
        );
        place.vacuum("evil.t");
        place.vacuum("other.t");
        let mut stranger = place.stranger();
        assert!(has(&place.page(&mut stranger, "evil.t", 0).unwrap(), b"mine"));
        assert_refused(place.page(&mut stranger, "other.t", 0), NO_RIGHT, "permission denied for pages");

        let mut accomplice = place.stranger();
        let mut renaming = accomplice.transaction().unwrap();
        let renames = "ALTER SCHEMA evil RENAME TO gone; ALTER SCHEMA other RENAME TO evil";
        let call = format!("SELECT {}", place.call("evil.t", 0));
        renaming.batch_execute("LOCK TABLE evil.t IN ACCESS EXCLUSIVE MODE").unwrap();
        let called = call.clone();
        let waiting = thread::spawn(move || {
            stranger.batch_execute(&format!("BEGIN ISOLATION LEVEL {isolation}")).unwrap();
            page(&mut stranger, &called)
        });
        wait_until("it waits for the lock", || {
            let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation IS NOT NULL \
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            place.database.client().query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1
        });
        renaming.batch_execute(renames).unwrap();
        // From here on, nothing is read under that name: not even the lock is waited for.
        assert_eq!(page(&mut place.stranger(), &call), Ok(KEPT_BACK.to_vec()), "{isolation}");
        renaming.commit().unwrap();
        assert_refused(waiting.join().unwrap(), "55000", "was changed while its pages were read");
        // The next statement uses its new name.
        let call = format!("SELECT {}", place.call("gone.t", 0));
        assert!(has(&page(&mut place.stranger(), &call).unwrap(), b"mine"));
    }
}

/// Otherwise, the owner of pageinspect's schema could make the function call something else as a superuser.
#[test]
fn the_schema_of_pageinspect_is_not_trusted() {
    require_function!();
    let place = Place::evil("pages_inspect", "CREATE EXTENSION pageinspect SCHEMA evil");
    place.execute("GRANT CREATE ON DATABASE DATABASE TO \"STRANGER\"");
    place
        .stranger()
        .batch_execute(
            "ALTER SCHEMA evil RENAME TO gone; CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC; \
             CREATE FUNCTION evil.get_raw_page(text, text, int8) RETURNS bytea LANGUAGE plpgsql AS \
               $$BEGIN RAISE EXCEPTION 'as %', current_user; END$$",
        )
        .unwrap();
    assert_eq!(place.page(&mut place.reader(), "t", 0).unwrap().len(), 8192);
    // The wrapper is dropped with the extension.
    place.database.execute("DROP EXTENSION pageinspect CASCADE");
    let refused = place.page(&mut place.reader(), "t", 0);
    assert_refused(refused, "42883", "pgarrow.raw_page(text, bigint) does not exist");
}

#[test]
fn only_superusers_install_it_and_nobody_has_it_by_default() {
    require_function!();
    let place = Place::evil("pages_install", "");
    let none: [&str; 0] = [];
    let sqlstate = |result: Result<(), pgarrow_testkit::postgres::Error>| {
        let error = result.unwrap_err();
        let error = error.as_db_error().unwrap();
        (error.code().code().to_owned(), error.message().to_owned())
    };
    let rights = "SELECT ARRAY[has_function_privilege(0::oid, 'pgarrow.heap_pages(oid, int8, int8)', 'EXECUTE'), \
                    has_function_privilege(0::oid, 'pgarrow.raw_page(text, int8)', 'EXECUTE'), \
                    has_function_privilege($1::text, 'pgarrow.raw_page(text, int8)', 'EXECUTE'), \
                    has_schema_privilege(0::oid, 'pgarrow', 'USAGE')]";
    let mut superuser = place.database.client();
    let rights = |superuser: &mut Client| -> Vec<bool> {
        superuser.query_one(rights, &[&place.reader]).unwrap().get(0)
    };
    assert_eq!(rights(&mut superuser), [false; 4]);
    assert_refused(
        page(&mut place.reader(), "SELECT pgarrow.raw_page('t', 0)"),
        NO_RIGHT,
        "permission denied for function raw_page",
    );

    let (code, message) = sqlstate(place.stranger().batch_execute(&install_pages_sql(&none).unwrap()));
    assert!(code == "0P000" && message.contains("only a superuser"), "{message}");

    // A new installation repairs rights for PUBLIC and wrong owners; other grants stay.
    place.execute(
        "GRANT ALL ON ALL FUNCTIONS IN SCHEMA pgarrow TO PUBLIC; GRANT ALL ON SCHEMA pgarrow TO PUBLIC; \
         GRANT CREATE ON SCHEMA pgarrow TO \"STRANGER\"; ALTER FUNCTION pgarrow.raw_page OWNER TO \"STRANGER\"",
    );
    place.database.execute(&install_pages_sql(&none).unwrap());
    assert_eq!(rights(&mut superuser), [false; 4]);
    let sql = "SELECT count(*) FROM pg_proc JOIN pg_roles r ON r.oid = proowner \
               WHERE pronamespace = 'pgarrow'::regnamespace AND rolsuper AND proname IN ('heap_pages', 'raw_page')";
    assert_eq!(superuser.query_one(sql, &[]).unwrap().get::<_, i64>(0), 2);
    let error =
        place.stranger().batch_execute("CREATE FUNCTION pgarrow.f() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    assert_eq!(sqlstate(error).0, NO_RIGHT);
    assert_eq!(place.page(&mut place.reader(), "t", 0).unwrap().len(), 8192);

    // A schema of that name that an attacker made in advance.
    place.database.execute(remove_pages_sql());
    place.execute("CREATE SCHEMA pgarrow AUTHORIZATION \"STRANGER\"");
    let (code, message) = sqlstate(superuser.batch_execute(&install_pages_sql(&none).unwrap()));
    assert!(code == "42P06" && message.contains("whose owner is no superuser"), "{message}");
}
