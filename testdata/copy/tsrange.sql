SELECT v
FROM (VALUES
    ('empty'::tsrange),
    ('(,)'::tsrange),
    ('["2000-01-01 00:00:00","2000-01-01 00:00:00.000001")'::tsrange),
    ('(,1970-01-01]'::tsrange),
    (NULL::tsrange)
) AS x(v)
