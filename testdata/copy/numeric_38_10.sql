SELECT v
FROM (VALUES
    ('0'::numeric(38,10)),
    ('-0.0000000001'::numeric(38,10)),
    ('9999999999999999999999999999.9999999999'::numeric(38,10)),
    (NULL::numeric(38,10))
) AS x(v)
