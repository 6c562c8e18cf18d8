SELECT v
FROM (VALUES
    ('(0,0)'::tid),
    ('(4294967295,65535)'::tid),
    ('(1,2)'::tid),
    (NULL::tid)
) AS x(v)
