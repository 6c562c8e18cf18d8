SELECT v
FROM (VALUES
    ('{"2000-01-01 00:00:00+00",NULL}'::timestamptz[]),
    ('{"4714-11-24 00:00:00+00 BC","294247-01-10 04:00:54.775807+00"}'::timestamptz[]),
    ('{}'::timestamptz[]),
    (NULL::timestamptz[])
) AS x(v)
