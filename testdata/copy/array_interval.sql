SELECT v
FROM (VALUES
    ('{"1 mon",NULL,"-1 day"}'::interval[]),
    ('{}'::interval[]),
    (NULL::interval[])
) AS x(v)
