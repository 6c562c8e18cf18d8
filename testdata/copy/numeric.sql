SELECT v
FROM (VALUES
    ('NaN'::numeric),
    ('Infinity'::numeric),
    ('-Infinity'::numeric),
    ('0'::numeric),
    ('0.00'::numeric),
    ('-1'::numeric),
    ('0.000067'::numeric),
    ('1.10'::numeric),
    ('9999'::numeric),
    ('10000'::numeric),
    ('99990000'::numeric),
    ('12345.678901234567890'::numeric),
    ('1e-30'::numeric),
    ('1e40'::numeric),
    (NULL::numeric)
) AS x(v)
