SELECT v
FROM (VALUES
    ('0.0000999'::numeric(3,7)),
    ('-0.0000001'::numeric(3,7)),
    (NULL::numeric(3,7))
) AS x(v)
