SELECT v
FROM (VALUES
    ('0'::numeric(15,2)),
    ('-0.01'::numeric(15,2)),
    ('9999999999999.99'::numeric(15,2)),
    ('-9999999999999.99'::numeric(15,2)),
    ('12345.6'::numeric(15,2)),
    (NULL::numeric(15,2))
) AS x(v)
