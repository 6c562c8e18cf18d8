BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;
DO $primary$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this server is a standby: remove pgarrow.heap_pages on its primary'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$primary$;
DROP FUNCTION IF EXISTS pgarrow.heap_pages(oid, int8, int8);
DROP FUNCTION IF EXISTS pgarrow.heap_page(oid, int8);
DROP FUNCTION IF EXISTS pgarrow.raw_page(text, int8);
DO $remove$
BEGIN
    -- Only if it was made along with the schema.
    IF EXISTS (SELECT FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
               WHERE e.extname = 'pageinspect' AND n.nspname = 'pgarrow')
    THEN
        DROP EXTENSION pageinspect;
    END IF;
END
$remove$;
DROP SCHEMA IF EXISTS pgarrow;
COMMIT;
