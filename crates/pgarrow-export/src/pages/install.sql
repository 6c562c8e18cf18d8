BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- The schema, and pageinspect. Everything here runs as a superuser or calls what does, so nobody else may own any of it.
DO $install$
DECLARE
    inspected regprocedure;
    taken regprocedure;
    granted record;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this server is a standby: install pgarrow.heap_page on its primary'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF NOT (SELECT a.rolsuper FROM pg_roles AS a WHERE a.rolname = current_user) THEN
        RAISE EXCEPTION 'only a superuser can install pgarrow.heap_page, and % is none', current_user
            USING ERRCODE = 'invalid_role_specification';
    END IF;
    IF current_setting('server_version_num')::int4 < 140000 THEN
        RAISE EXCEPTION 'pages are read from PostgreSQL 14 on' USING ERRCODE = 'feature_not_supported';
    END IF;
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'pages are read in databases with the encoding UTF8, and this one has %',
            current_setting('server_encoding') USING ERRCODE = 'feature_not_supported';
    END IF;

    CREATE SCHEMA IF NOT EXISTS pgarrow;
    -- Whoever owns a schema can drop what is in it and put something else there.
    IF NOT (SELECT a.rolsuper FROM pg_namespace AS n JOIN pg_authid AS a ON a.oid = n.nspowner
            WHERE n.nspname = 'pgarrow') THEN
        RAISE EXCEPTION 'there is a schema pgarrow whose owner is no superuser'
            USING ERRCODE = 'duplicate_schema',
                  HINT = 'Look what is in it; then drop it, or give it to a superuser: ALTER SCHEMA pgarrow OWNER TO postgres';
    END IF;
    REVOKE ALL ON SCHEMA pgarrow FROM PUBLIC;
    FOR granted IN
        SELECT g.rolname FROM pg_namespace AS n CROSS JOIN LATERAL aclexplode(n.nspacl) AS acl
        JOIN pg_authid AS g ON g.oid = acl.grantee
        WHERE n.nspname = 'pgarrow' AND acl.privilege_type = 'CREATE' AND NOT g.rolsuper
    LOOP
        EXECUTE format('REVOKE CREATE ON SCHEMA pgarrow FROM %I CASCADE', granted.rolname);
    END LOOP;
    -- CREATE OR REPLACE would leave a function to its owner.
    FOR taken IN
        SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        JOIN pg_authid AS a ON a.oid = p.proowner
        WHERE n.nspname = 'pgarrow' AND p.proname IN ('heap_page', 'raw_page') AND NOT a.rolsuper
    LOOP
        EXECUTE format('DROP ROUTINE %s', taken);
    END LOOP;

    CREATE EXTENSION IF NOT EXISTS pageinspect SCHEMA pgarrow;
    SELECT p.oid::regprocedure INTO inspected
    FROM pg_extension AS e
    JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
    JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
    WHERE e.extname = 'pageinspect' AND p.proname = 'get_raw_page'
        AND p.proargtypes = '25 25 20'::oidvector; -- text, text, int8
    IF inspected IS NULL THEN
        RAISE EXCEPTION 'the extension pageinspect is older than 1.9'
            USING ERRCODE = 'feature_not_supported', HINT = 'ALTER EXTENSION pageinspect UPDATE';
    END IF;
    -- BEGIN ATOMIC keeps the function itself and not its name: the owner of the extension's schema, who need not be a
    -- superuser, can rename that schema and make another function of the same name. Planning puts the call in line.
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION pgarrow.raw_page(relation text, block int8) RETURNS bytea '
        'LANGUAGE sql VOLATILE PARALLEL UNSAFE '
        'BEGIN ATOMIC SELECT %s(relation, ''main''::text, block); END',
        inspected::oid::regproc);
END
$install$;

CREATE OR REPLACE FUNCTION pgarrow.heap_page(relation oid, block int8) RETURNS bytea
LANGUAGE plpgsql
-- STABLE: queries of the function have the snapshot of the statement that calls it, which is what step 4 is built on.
STABLE STRICT SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $heap_page$
DECLARE
    set_role name := current_setting('role'); -- 'none', or what SET ROLE has set
    address text;
    page bytea;
    schema oid;
    relname text;
    found_relation record;
    lower int4;
    upper int4;
BEGIN
    -- 1. The statement that the client has sent has to name this function and the relation. Nobody reads with it by
    -- accident then: not through a view, a trigger, a materialized view that is refreshed, or a function of somebody
    -- else, which would read what the caller may read and its owner may not.
    IF coalesce(strpos(current_query(), 'pgarrow.heap_page(' || relation::text || '::'), 0) = 0 THEN
        RAISE EXCEPTION 'pgarrow.heap_page has to be called by the client''s own statement'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('as in: SELECT pgarrow.heap_page(%s::pg_catalog.oid, 0)', relation);
    END IF;

    -- 2. No superuser, neither by login nor by SET ROLE. 10 is the first superuser, and superusers are members of all.
    IF pg_has_role(session_user, 10, 'MEMBER') OR set_role <> 'none' AND pg_has_role(set_role, 10, 'MEMBER') THEN
        IF EXISTS (SELECT FROM pg_authid AS a WHERE a.rolname IN (session_user, set_role) AND a.rolsuper) THEN
            RAISE EXCEPTION 'pgarrow.heap_page is not for superusers: they have get_raw_page of pageinspect'
                USING ERRCODE = 'insufficient_privilege';
        END IF;
    END IF;

    -- 3. Who may not read the table gets no further: nothing of it is locked or read.
    IF has_table_privilege(session_user, relation, 'SELECT') IS NOT TRUE
        OR set_role <> 'none' AND has_table_privilege(set_role, relation, 'SELECT') IS NOT TRUE
    THEN
        IF has_table_privilege(session_user, relation, 'SELECT') IS NULL THEN
            RAISE EXCEPTION 'there is no relation %', relation USING ERRCODE = 'undefined_table';
        END IF;
        RAISE EXCEPTION 'permission denied for pages of relation %', relation
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'The user of the session, and the role that SET ROLE has set, need SELECT on the whole table.';
    END IF;
    IF relation < 16384 THEN
        RAISE EXCEPTION 'relation % is a catalog', relation USING ERRCODE = 'insufficient_privilege';
    END IF;
    address := relation::regclass::text;
    page := pgarrow.raw_page(address, block);

    -- 4. The page was read by name, so the name must have been this relation's all the time. It was, if the rows of the
    -- catalog that the statement's snapshot sees have that name, and nobody has changed them since: xmax would say
    -- so, also of a change that the snapshot does not see. The same holds for row security and all else they say.
    SELECT c.relnamespace, quote_ident(c.relname) INTO schema, relname
    FROM pg_class AS c
    WHERE c.oid = relation AND c.relkind IN ('r', 'm') AND c.relam = 2 AND c.relpersistence IN ('p', 'u')
        AND NOT c.relisshared AND NOT c.relrowsecurity AND NOT c.relforcerowsecurity AND c.xmax = '0';
    IF FOUND THEN
        PERFORM FROM pg_namespace AS n
        WHERE n.oid = schema AND n.xmax = '0' AND quote_ident(n.nspname) || '.' || relname = address
            AND n.nspname NOT IN ('information_schema', 'pg_catalog', 'pg_toast');
    END IF;
    IF NOT FOUND THEN
        SELECT c.*, n.nspname, quote_ident(n.nspname) || '.' || quote_ident(c.relname) = address AS is_same,
            -- What the snapshot sees was never deleted by a transaction that is older than it: that one was rolled back.
            (SELECT bool_and(changed.xmax = '0'
                    OR (s.xmin::text::int8 - changed.xmax::text::int8) & 4294967295 BETWEEN 1 AND 2147483647)
                FROM (VALUES (c.xmax), (n.xmax)) AS changed (xmax), pg_snapshot_xmin(pg_current_snapshot()) AS s (xmin)
            ) AS is_unchanged
        INTO found_relation
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.oid = relation;
        IF NOT FOUND OR found_relation.relkind NOT IN ('r', 'm') OR found_relation.relam <> 2 THEN
            RAISE EXCEPTION 'relation % is no table or materialized view with pages of a heap', relation
                USING ERRCODE = 'wrong_object_type';
        ELSIF found_relation.relpersistence NOT IN ('p', 'u') THEN
            RAISE EXCEPTION 'relation % is temporary', relation USING ERRCODE = 'wrong_object_type';
        ELSIF found_relation.relisshared
            OR found_relation.nspname IN ('information_schema', 'pg_catalog', 'pg_toast')
        THEN
            RAISE EXCEPTION 'relation % is a catalog', relation USING ERRCODE = 'insufficient_privilege';
        ELSIF found_relation.relrowsecurity OR found_relation.relforcerowsecurity THEN
            RAISE EXCEPTION 'relation % has row security', relation USING ERRCODE = 'insufficient_privilege';
        ELSIF NOT found_relation.is_same OR NOT found_relation.is_unchanged THEN
            -- A GRANT is enough. No error, which would end the caller's transaction: the header of a page that is not
            -- all-visible, with nothing of this one. (Zeros alone would be a page that was never used.)
            RETURN decode('000000000000000000000000180000200020042000000000', 'hex');
        END IF;
        schema := found_relation.relnamespace;
    END IF;

    -- 5. The rights, as they are now.
    IF has_table_privilege(session_user, relation, 'SELECT') IS NOT TRUE
        OR has_schema_privilege(session_user, schema, 'USAGE') IS NOT TRUE
        OR set_role <> 'none' AND (has_table_privilege(set_role, relation, 'SELECT') IS NOT TRUE
            OR has_schema_privilege(set_role, schema, 'USAGE') IS NOT TRUE)
    THEN
        RAISE EXCEPTION 'permission denied for pages of relation %', relation
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'The user of the session, and the role that SET ROLE has set, need SELECT on the whole table and USAGE on its schema.';
    END IF;

    -- 6. Only a page whose rows are all visible to all (PD_ALL_VISIBLE, 4 in pd_flags) is free of deleted ones; and only
    -- one that looks as pages of 8 KiB and layout 4 do, little-endian.
    lower := get_byte(page, 12) + get_byte(page, 13) * 256;
    upper := get_byte(page, 14) + get_byte(page, 15) * 256;
    IF get_byte(page, 10) & 4 = 0 OR length(page) <> 8192 OR substring(page FROM 17 FOR 4) <> decode('00200420', 'hex')
        OR lower < 24 OR upper < lower OR upper > 8192
    THEN
        RETURN substring(page FROM 1 FOR 24);
    ELSIF lower = upper THEN
        RETURN page;
    END IF;
    -- Between line pointers and rows may be what is left of rows that were there.
    RETURN overlay(page PLACING substring(decode(repeat('00', 8192), 'hex') FROM 1 FOR upper - lower) FROM lower + 1);
END
$heap_page$;

ALTER SCHEMA pgarrow OWNER TO CURRENT_USER;
ALTER FUNCTION pgarrow.raw_page(text, int8) OWNER TO CURRENT_USER;
ALTER FUNCTION pgarrow.heap_page(oid, int8) OWNER TO CURRENT_USER;
REVOKE ALL ON FUNCTION pgarrow.raw_page(text, int8) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgarrow.heap_page(oid, int8) FROM PUBLIC;
COMMENT ON SCHEMA pgarrow IS 'Pages of tables for pgarrow; made by pgarrow pages install, removed by pgarrow pages install --remove';
COMMENT ON FUNCTION pgarrow.raw_page(text, int8) IS 'What pgarrow.heap_page reads pages with';
COMMENT ON FUNCTION pgarrow.heap_page(oid, int8) IS
    'A page of a table, to who may SELECT all of it, if its rows are visible to all; otherwise its header only';
