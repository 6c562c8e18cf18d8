-- What reading a large table does to the rest of the server's cache, counted in blocks.
--
--   A private server with shared_buffers = 64MB and autovacuum = off, its superuser, a database that nobody else uses:
--   psql -X -q -f benches/cache.sql
--
-- A table "hot" of 40 % of shared_buffers is in the cache, and the rest of the cache is full of something else. Then a
-- table "t" is read in one of three ways:
--
--   scan   COPY t TO …                          a sequential scan: through a ring of 256 KiB if t is larger than a quarter of
--                                               shared_buffers (initscan in heapam.c)
--   tids   COPY (SELECT … WHERE ctid >= … AND   a TID range scan, in slices of an eighth of shared_buffers: it has no ring
--          ctid < …) TO …                       (table_beginscan_tidrange does not set SO_ALLOW_STRAT)
--   pages  COPY (SELECT get_raw_page(…) …)      an ordinary read of a buffer: it has no ring either
--
-- "often", "twice": how much of hot is still there at the end, in percent, if hot was used often before (usage count 5, the
-- highest) or twice (2), and not meanwhile. "lost": how much of it has to be read again each time, if all of hot is used
-- once whenever twice shared_buffers of t have been read. Means of three runs.

SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pageinspect;
CREATE EXTENSION IF NOT EXISTS pg_buffercache;
CREATE EXTENSION IF NOT EXISTS pg_prewarm;
DROP SCHEMA IF EXISTS cache CASCADE;
CREATE SCHEMA cache;
SET search_path = cache, public;
CREATE TABLE result (times numeric, way text, use text, percent numeric);

CREATE FUNCTION buffers() RETURNS int LANGUAGE sql AS $$ SELECT setting::int FROM pg_settings WHERE name = 'shared_buffers' $$;

-- A table of about so many blocks, eight rows in each.
CREATE PROCEDURE make(name text, blocks numeric) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I AS SELECT i, repeat(''x'', 950) AS filler FROM generate_series(1, %s) AS i', name, round(blocks) * 8);
END $$;

CREATE FUNCTION cached(name text) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM pg_buffercache AS b
    WHERE b.relfilenode = pg_relation_filenode(name::regclass) AND b.relforknumber = 0
        AND b.reldatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
$$;

-- The hot table there, of this usage count, and the rest of the cache full.
CREATE PROCEDURE warm(usage_count int) LANGUAGE plpgsql AS $$
BEGIN
    -- What was there before goes, whatever it is.
    FOR i IN 1..6 LOOP PERFORM pg_prewarm('rest'); END LOOP;
    FOR i IN 1..usage_count LOOP PERFORM pg_prewarm('hot'); END LOOP;
END $$;

-- Every block of hot is used once. Returns how many were not there.
CREATE FUNCTION use_hot() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE lost bigint := (pg_relation_size('hot') / 8192) - cached('hot');
BEGIN
    PERFORM pg_prewarm('hot');
    RETURN lost;
END $$;

CREATE PROCEDURE measure(times numeric, way text, use text) LANGUAGE plpgsql AS $$
DECLARE
    blocks bigint := pg_relation_size('t') / 8192;
    step bigint := buffers() / 8;
    at bigint := 0;
    lost bigint := 0;
    n_used bigint := 0;
    rows refcursor;
    hot numeric := pg_relation_size('hot') / 8192;
BEGIN
    CALL warm(CASE use WHEN 'twice' THEN 2 ELSE 5 END);
    IF way = 'scan' AND use <> 'lost' THEN
        COPY t TO '/dev/null' (FORMAT binary);
        at := blocks;
    ELSIF way = 'scan' THEN
        OPEN rows NO SCROLL FOR EXECUTE 'SELECT * FROM t';
    END IF;
    WHILE at < blocks LOOP
        CASE way
        WHEN 'scan' THEN
            MOVE FORWARD (step * 8) FROM rows;
        WHEN 'tids' THEN
            EXECUTE format('COPY (SELECT * FROM t WHERE ctid >= ''(%s,0)'' AND ctid < ''(%s,0)'') TO ''/dev/null'' (FORMAT binary)',
                at, at + step);
        WHEN 'pages' THEN
            EXECUTE format('COPY (SELECT get_raw_page(''t'', ''main'', b) FROM generate_series(%s, %s) AS b) TO ''/dev/null'' (FORMAT binary)',
                at, least(at + step, blocks) - 1);
        END CASE;
        at := at + step;
        IF use = 'lost' AND at % (2 * buffers()) = 0 THEN
            lost := lost + use_hot();
            n_used := n_used + 1;
        END IF;
    END LOOP;
    INSERT INTO result VALUES (times, way, use,
        CASE use WHEN 'lost' THEN 100 * lost / hot / nullif(n_used, 0) ELSE 100 * cached('hot') / hot END);
END $$;

CALL make('hot', 0.4 * buffers());
CALL make('rest', 1.2 * buffers());
VACUUM (FREEZE, ANALYZE) hot, rest;

CREATE PROCEDURE measure_all(times numeric) LANGUAGE plpgsql AS $$
DECLARE way text; use text;
BEGIN
    FOR i IN 1..3 LOOP
        FOREACH use IN ARRAY ARRAY['often', 'twice', 'lost'] LOOP
            FOREACH way IN ARRAY ARRAY['scan', 'tids', 'pages'] LOOP
                CALL measure(times, way, use);
            END LOOP;
        END LOOP;
    END LOOP;
END $$;

\set times 0.2
CALL make('t', :times * buffers());
VACUUM (FREEZE, ANALYZE) t;
CALL measure_all(:times);
DROP TABLE t;
\set times 0.5
CALL make('t', :times * buffers());
VACUUM (FREEZE, ANALYZE) t;
CALL measure_all(:times);
DROP TABLE t;
\set times 1
CALL make('t', :times * buffers());
VACUUM (FREEZE, ANALYZE) t;
CALL measure_all(:times);
DROP TABLE t;
\set times 2
CALL make('t', :times * buffers());
VACUUM (FREEZE, ANALYZE) t;
CALL measure_all(:times);
DROP TABLE t;
\set times 3
CALL make('t', :times * buffers());
VACUUM (FREEZE, ANALYZE) t;
CALL measure_all(:times);
DROP TABLE t;
\set times 5
CALL make('t', :times * buffers());
VACUUM (FREEZE, ANALYZE) t;
CALL measure_all(:times);
DROP TABLE t;
\set times 10
CALL make('t', :times * buffers());
VACUUM (FREEZE, ANALYZE) t;
CALL measure_all(:times);
DROP TABLE t;

SELECT times AS "t ÷ shared_buffers",
    round(avg(percent) FILTER (WHERE way = 'scan' AND use = 'often')) AS "often: scan",
    round(avg(percent) FILTER (WHERE way = 'tids' AND use = 'often')) AS "often: tids",
    round(avg(percent) FILTER (WHERE way = 'pages' AND use = 'often')) AS "often: pages",
    round(avg(percent) FILTER (WHERE way = 'scan' AND use = 'twice')) AS "twice: scan",
    round(avg(percent) FILTER (WHERE way = 'tids' AND use = 'twice')) AS "twice: tids",
    round(avg(percent) FILTER (WHERE way = 'pages' AND use = 'twice')) AS "twice: pages",
    round(avg(percent) FILTER (WHERE way = 'scan' AND use = 'lost')) AS "lost: scan",
    round(avg(percent) FILTER (WHERE way = 'tids' AND use = 'lost')) AS "lost: tids",
    round(avg(percent) FILTER (WHERE way = 'pages' AND use = 'lost')) AS "lost: pages"
FROM result GROUP BY times ORDER BY times;
DROP SCHEMA cache CASCADE;
