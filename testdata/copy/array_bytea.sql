SELECT v
FROM (VALUES
    ('{"\\x",NULL,"\\x00ff"}'::bytea[]),
    ('{}'::bytea[]),
    (NULL::bytea[])
) AS x(v)
