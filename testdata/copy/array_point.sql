SELECT v
FROM (VALUES
    ('{"(1,2)",NULL,"(-0,NaN)"}'::point[]),
    ('{}'::point[]),
    (NULL::point[])
) AS x(v)
