SELECT v
FROM (VALUES
    ('null'::jsonb),
    ('{"a" : 1,"a":2}'::jsonb),
    ('1e3'::jsonb),
    ('[]'::jsonb),
    (NULL::jsonb)
) AS x(v)
