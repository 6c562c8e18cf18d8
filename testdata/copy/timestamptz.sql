SELECT v
FROM (VALUES
    ('4714-11-24 00:00:00+00 BC'::timestamptz),
    ('1969-12-31 23:59:59.999999+00'::timestamptz),
    ('2000-01-01 00:00:00+05:45'::timestamptz),
    ('294247-01-10 04:00:54.775807+00'::timestamptz),
    (NULL::timestamptz)
) AS x(v)
