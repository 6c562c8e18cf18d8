SELECT v
FROM (VALUES
    ('(1,1),(0,0)'::box),
    ('(0,0),(0,0)'::box),
    ('(Infinity,1),(-Infinity,-0)'::box),
    (NULL::box)
) AS x(v)
