SELECT v
FROM (VALUES
    ('{NaN,Infinity,-Infinity,NULL,0.00}'::numeric[]),
    ('{1e-30,-12345.678901234567890}'::numeric[]),
    ('{}'::numeric[]),
    (NULL::numeric[])
) AS x(v)
