CREATE TYPE golden_floats AS RANGE (subtype = float8);

SELECT v
FROM (VALUES
    ('empty'::golden_floats),
    ('[NaN,NaN]'::golden_floats),
    ('(-0,Infinity]'::golden_floats),
    ('(,)'::golden_floats),
    (NULL::golden_floats)
) AS x(v)
