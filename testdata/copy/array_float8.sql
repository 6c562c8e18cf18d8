SELECT v
FROM (VALUES
    ('{NaN,-0,NULL}'::float8[]),
    ('{Infinity,-Infinity,4.9e-324,1.7976931348623157e308}'::float8[]),
    ('{}'::float8[]),
    (NULL::float8[])
) AS x(v)
