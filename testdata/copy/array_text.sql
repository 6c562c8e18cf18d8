SELECT v
FROM (VALUES
    ('{NULL,"NULL",null,"","{}","\"","\\"}'::text[]),
    ('{}'::text[]),
    ('{é,😀,"a b","a,b"}'::text[]),
    (NULL::text[])
) AS x(v)
