SELECT v
FROM (VALUES
    (ARRAY['<a/>'::xml, NULL, 'é, text', '']),
    ('{}'::xml[]),
    (NULL::xml[])
) AS x(v)
