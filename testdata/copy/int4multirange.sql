SELECT v
FROM (VALUES
    ('{}'::int4multirange),
    ('{(,)}'::int4multirange),
    ('{[1,2),[5,)}'::int4multirange),
    ('{(,1),[3,4)}'::int4multirange),
    (NULL::int4multirange)
) AS x(v)
