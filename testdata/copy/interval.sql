SELECT v
FROM (VALUES
    ('0'::interval),
    ('1 mon -1 day 00:00:00.000001'::interval),
    ('-178000000 years'::interval),
    ('2147483647 days'::interval),
    ('2562047:47:16.854775'::interval),
    ('-1 year -1 mon'::interval),
    (NULL::interval)
) AS x(v)
