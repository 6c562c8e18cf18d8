SELECT v
FROM (VALUES
    ('{"null",NULL}'::jsonb[]),
    ('{"{\"a\": [1, null]}","\"\""}'::jsonb[]),
    ('{}'::jsonb[]),
    (NULL::jsonb[])
) AS x(v)
