SELECT v
FROM (VALUES
    ('((0,0))'::polygon),
    ('((0,0),(1,1),(1,0))'::polygon),
    (NULL::polygon)
) AS x(v)
