SELECT v
FROM (VALUES
    ('[(0,0),(1,1)]'::path),
    ('((0,0))'::path),
    ('((1,2),(3,4),(5,6))'::path),
    (NULL::path)
) AS x(v)
