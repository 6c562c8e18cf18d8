SELECT v
FROM (VALUES
    ('000000000'::bit(9)),
    ('101010101'::bit(9)),
    (NULL::bit(9))
) AS x(v)
