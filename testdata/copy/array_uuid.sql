SELECT v
FROM (VALUES
    ('{00000000-0000-0000-0000-000000000000,NULL}'::uuid[]),
    ('{ffffffff-ffff-ffff-ffff-ffffffffffff}'::uuid[]),
    ('{}'::uuid[]),
    (NULL::uuid[])
) AS x(v)
