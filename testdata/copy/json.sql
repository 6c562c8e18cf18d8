SELECT v
FROM (VALUES
    ('null'::json),
    ('{"a" : 1,"a":2}'::json),
    ('"\u0000"'::json),
    ('[]'::json),
    (NULL::json)
) AS x(v)
