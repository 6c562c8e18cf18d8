SELECT v
FROM (VALUES
    ('[(0,0),(1,1)]'::lseg),
    ('[(-Infinity,1),(2,NaN)]'::lseg),
    (NULL::lseg)
) AS x(v)
