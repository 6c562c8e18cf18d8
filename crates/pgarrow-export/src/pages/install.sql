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
        RAISE EXCEPTION 'this server is a standby: install pgarrow.heap_pages on its primary'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF NOT (SELECT a.rolsuper FROM pg_roles AS a WHERE a.rolname = current_user) THEN
        RAISE EXCEPTION 'only a superuser can install pgarrow.heap_pages, and % is none', current_user
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
        WHERE n.nspname = 'pgarrow' AND p.proname IN ('heap_pages', 'heap_page', 'raw_page') AND NOT a.rolsuper
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

CREATE OR REPLACE FUNCTION pgarrow.heap_pages(relation oid, first int8, last int8) RETURNS SETOF bytea
LANGUAGE plpgsql
-- STABLE: queries of the function have the snapshot of the statement that calls it, which is what step 4 is built on.
STABLE STRICT SECURITY DEFINER PARALLEL UNSAFE ROWS 16
SET search_path = pg_catalog, pg_temp
-- Otherwise, the query of step 6 would be planned anew in each call.
SET plan_cache_mode = force_generic_plan
AS $heap_pages$
DECLARE
    set_role name := current_setting('role'); -- 'none', or what SET ROLE has set
    address text;
    is_read bool := false;
    schema oid;
    relname text;
    found_relation record;
BEGIN
    -- 1. The statement that the client has sent has to name this function and the relation. Nobody reads with it by
    -- accident then: not through a view, a trigger, a materialized view that is refreshed, or a function of somebody
    -- else, which would read what the caller may read and its owner may not.
    IF coalesce(strpos(current_query(), 'pgarrow.heap_pages(' || relation::text || '::'), 0) = 0 THEN
        RAISE EXCEPTION 'pgarrow.heap_pages has to be called by the client''s own statement'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('as in: SELECT pgarrow.heap_pages(%s::pg_catalog.oid, 0, 9)', relation);
    END IF;

    -- 2. No superuser, neither by login nor by SET ROLE. 10 is the first superuser, and superusers are members of all.
    IF pg_has_role(session_user, 10, 'MEMBER') OR set_role <> 'none' AND pg_has_role(set_role, 10, 'MEMBER') THEN
        IF EXISTS (SELECT FROM pg_authid AS a WHERE a.rolname IN (session_user, set_role) AND a.rolsuper) THEN
            RAISE EXCEPTION 'pgarrow.heap_pages is not for superusers: they have get_raw_page of pageinspect'
                USING ERRCODE = 'insufficient_privilege';
        END IF;
    END IF;
    -- All pages of a call are kept until the last check.
    IF last - first >= 64 THEN
        RAISE EXCEPTION 'a call has at most 64 pages' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    -- Steps 3 to 5 come before the pages are read, and again after it: nobody has more of them than he may have then.
    LOOP
        -- 3. The right to read the table, as it is now. Who has none gets no further: nothing of it is locked or read.
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
        IF NOT is_read THEN
            address := relation::regclass::text;
        END IF;

        -- 4. Pages are read by name, so the name must be this relation's all the time. It is, if the rows of the catalog
        -- that the statement's snapshot sees have that name, and nobody has changed them since: xmax would say so, also
        -- of a change that the snapshot does not see. The same holds for row security and all else they say.
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
                -- A GRANT is enough.
                IF is_read THEN
                    RAISE EXCEPTION 'relation % was changed while its pages were read', relation
                        USING ERRCODE = 'object_not_in_prerequisite_state';
                END IF;
                -- No error, which would end the caller's transaction: headers of pages that are not all-visible, with nothing
                -- of these. (Zeros alone would be a page that was never used.)
                RETURN QUERY SELECT decode('000000000000000000000000180000200020042000000000', 'hex')
                    FROM generate_series(first, last);
                RETURN;
            END IF;
            schema := found_relation.relnamespace;
        END IF;

        -- 5. The right to use the schema.
        IF has_schema_privilege(session_user, schema, 'USAGE') IS NOT TRUE
            OR set_role <> 'none' AND has_schema_privilege(set_role, schema, 'USAGE') IS NOT TRUE
        THEN
            RAISE EXCEPTION 'permission denied for pages of relation %', relation
                USING ERRCODE = 'insufficient_privilege',
                      DETAIL = 'The user of the session, and the role that SET ROLE has set, need USAGE on its schema.';
        END IF;
        -- The caller has the pages only once the function has returned.
        EXIT WHEN is_read;

        -- 6. Only a page whose rows are all visible to all (PD_ALL_VISIBLE, 4 in pd_flags) is free of deleted ones; and only
        -- one that looks as pages of 8 KiB and layout 4 do, little-endian. Between line pointers and rows may be what is
        -- left of rows that were there: zeros take its place, unless it is zeros. OFFSET 0 keeps each expression to be
        -- computed once.
        RETURN QUERY
            SELECT CASE
                WHEN get_byte(p.page, 10) & 4 = 0 OR length(p.page) <> 8192
                    OR substring(p.page FROM 17 FOR 4) <> decode('00200420', 'hex')
                    OR p.lower < 24 OR p.upper < p.lower OR p.upper > 8192
                    THEN substring(p.page FROM 1 FOR 24)
                WHEN substring(p.page FROM p.lower + 1 FOR p.upper - p.lower)
                    = substring(decode(repeat('00', 8192), 'hex') FROM 1 FOR p.upper - p.lower)
                    THEN p.page
                ELSE overlay(p.page
                    PLACING substring(decode(repeat('00', 8192), 'hex') FROM 1 FOR p.upper - p.lower) FROM p.lower + 1)
            END
            FROM (
                SELECT r.page, get_byte(r.page, 12) + get_byte(r.page, 13) * 256 AS lower,
                    get_byte(r.page, 14) + get_byte(r.page, 15) * 256 AS upper
                FROM (
                    SELECT pgarrow.raw_page(address, b.block) AS page
                    FROM generate_series(first, last) AS b (block) OFFSET 0
                ) AS r OFFSET 0
            ) AS p;
        is_read := true;
    END LOOP;
END
$heap_pages$;

-- What there was before, for one page at a time. Who was granted it has this one, and an older pgarrow reads by COPY.
DO $before$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT DISTINCT g.rolname FROM pg_proc AS p CROSS JOIN LATERAL aclexplode(p.proacl) AS acl
        JOIN pg_authid AS g ON g.oid = acl.grantee
        WHERE p.oid = to_regprocedure('pgarrow.heap_page(oid, int8)') AND acl.privilege_type = 'EXECUTE' AND NOT g.rolsuper
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION pgarrow.heap_pages(oid, int8, int8) TO %I', granted.rolname);
    END LOOP;
    IF to_regprocedure('pgarrow.heap_page(oid, int8)') IS NOT NULL THEN
        DROP FUNCTION pgarrow.heap_page(oid, int8);
    END IF;
END
$before$;

ALTER SCHEMA pgarrow OWNER TO CURRENT_USER;
ALTER FUNCTION pgarrow.raw_page(text, int8) OWNER TO CURRENT_USER;
ALTER FUNCTION pgarrow.heap_pages(oid, int8, int8) OWNER TO CURRENT_USER;
REVOKE ALL ON FUNCTION pgarrow.raw_page(text, int8) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgarrow.heap_pages(oid, int8, int8) FROM PUBLIC;
COMMENT ON SCHEMA pgarrow IS 'Pages of tables for pgarrow; made by pgarrow pages install, removed by pgarrow pages install --remove';
COMMENT ON FUNCTION pgarrow.raw_page(text, int8) IS 'What pgarrow.heap_pages reads pages with';
COMMENT ON FUNCTION pgarrow.heap_pages(oid, int8, int8) IS
    'Pages of a table, to who may SELECT all of it, each if its rows are visible to all; otherwise its header only';
