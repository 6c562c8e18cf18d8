SELECT v
FROM (VALUES
    (''::text),
    ('a'::text),
    ('NULL'::text),
    ('é 😀'::text),
    ('  blank  '::text),
    (NULL::text)
) AS x(v)
