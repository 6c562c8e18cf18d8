SELECT v
FROM (VALUES
    ('4714-11-24 00:00:00 BC'::timestamp),
    ('0001-01-01'::timestamp),
    ('1969-12-31 23:59:59.999999'::timestamp),
    ('2000-01-01'::timestamp),
    ('294247-01-10 04:00:54.775807'::timestamp),
    (NULL::timestamp)
) AS x(v)
