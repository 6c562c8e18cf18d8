CREATE EXTENSION IF NOT EXISTS postgis;

SELECT v
FROM (VALUES
    ('POINT(1 2)'::geometry),
    ('POINT EMPTY'::geometry),
    ('LINESTRING ZM (1 2 3 4,5 6 7 8)'::geometry),
    ('POLYGON((0 0,1 0,1 1,0 0))'::geometry),
    ('MULTIPOINT M ((1 2 3))'::geometry),
    ('GEOMETRYCOLLECTION Z (POINT Z (1 2 3))'::geometry),
    (NULL::geometry)
) AS x(v)
