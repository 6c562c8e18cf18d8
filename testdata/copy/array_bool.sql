SELECT v
FROM (VALUES
    ('{t,f,NULL}'::bool[]),
    ('{}'::bool[]),
    ('{t,t,t,t,t,t,t,t,f}'::bool[]),
    (NULL::bool[])
) AS x(v)
