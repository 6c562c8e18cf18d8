SELECT v
FROM (VALUES
    ('{"4714-11-24 BC","5874897-12-31",NULL}'::date[]),
    ('{1970-01-01}'::date[]),
    ('{}'::date[]),
    (NULL::date[])
) AS x(v)
