SELECT v
FROM (VALUES
    ('{NaN,-0,NULL}'::float4[]),
    ('{Infinity,1e-45,3.4028235e38,0.1}'::float4[]),
    ('{}'::float4[]),
    (NULL::float4[])
) AS x(v)
