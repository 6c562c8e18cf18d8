SELECT v
FROM (VALUES
    (''::name),
    ('a'::name),
    ('é'::name),
    (NULL::name)
) AS x(v)
