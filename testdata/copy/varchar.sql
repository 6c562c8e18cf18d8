SELECT v
FROM (VALUES
    (''::varchar(8)),
    ('a'::varchar(8)),
    ('NULL'::varchar(8)),
    ('é 😀'::varchar(8)),
    (NULL::varchar(8))
) AS x(v)
