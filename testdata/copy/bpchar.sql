SELECT v
FROM (VALUES
    (''::char(4)),
    ('a'::char(4)),
    ('é'::char(4)),
    (NULL::char(4))
) AS x(v)
