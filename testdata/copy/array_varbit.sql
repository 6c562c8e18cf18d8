SELECT v
FROM (VALUES
    ('{"",NULL,1,000000001}'::varbit[]),
    ('{}'::varbit[]),
    (NULL::varbit[])
) AS x(v)
