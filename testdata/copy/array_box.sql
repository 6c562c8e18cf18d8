SELECT v
FROM (VALUES
    ('{(1,1),(0,0);(2,2),(0,0);NULL}'::box[]),
    ('{}'::box[]),
    (NULL::box[])
) AS x(v)
