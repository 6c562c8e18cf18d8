SELECT v
FROM (VALUES
    ('NaN'::float8),
    ('Infinity'::float8),
    ('-Infinity'::float8),
    ('-0'::float8),
    ('0.1'::float8),
    ('4.9e-324'::float8),
    ('1.7976931348623157e308'::float8),
    (NULL::float8)
) AS x(v)
