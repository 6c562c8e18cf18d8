SELECT v
FROM (VALUES
    (''::varbit),
    ('0'::varbit),
    ('000000001'::varbit),
    ('11111111'::varbit),
    (NULL::varbit)
) AS x(v)
