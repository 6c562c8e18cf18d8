SELECT v
FROM (VALUES
    ('empty'::tstzrange),
    ('(,)'::tstzrange),
    ('["2000-01-01 00:00:00+00",)'::tstzrange),
    ('("4714-11-24 00:00:00+00 BC","294247-01-10 04:00:54.775807+00"]'::tstzrange),
    (NULL::tstzrange)
) AS x(v)
