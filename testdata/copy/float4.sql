SELECT v
FROM (VALUES
    ('NaN'::float4),
    ('Infinity'::float4),
    ('-Infinity'::float4),
    ('-0'::float4),
    ('0.1'::float4),
    ('1e-45'::float4),
    ('3.4028235e38'::float4),
    ('16777217'::float4),
    (NULL::float4)
) AS x(v)
