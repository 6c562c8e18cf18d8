CREATE EXTENSION IF NOT EXISTS postgis;

SELECT v
FROM (VALUES
    ('POINT(1 2)'::geography(Geometry,4326)),
    ('LINESTRING(0 0,1 1)'::geography(Geometry,4326)),
    (NULL::geography(Geometry,4326))
) AS x(v)
