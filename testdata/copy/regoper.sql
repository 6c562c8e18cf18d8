SELECT v
FROM (VALUES
    ('|/'::regoper),
    ('0'::regoper),
    (NULL::regoper)
) AS x(v)
