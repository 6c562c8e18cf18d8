-- choices: geometry=ewkb
CREATE EXTENSION IF NOT EXISTS postgis;

SELECT v
FROM (VALUES
    ('POINT(1 2)'::geometry),
    ('SRID=4326;POINT(1 2)'::geometry),
    (NULL::geometry)
) AS x(v)
