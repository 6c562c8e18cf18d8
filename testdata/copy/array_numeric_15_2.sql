SELECT v
FROM (VALUES
    ('{9999999999999.99,-9999999999999.99,NULL}'::numeric(15,2)[]),
    ('{0,-0.01,10000}'::numeric(15,2)[]),
    ('{}'::numeric(15,2)[]),
    (NULL::numeric(15,2)[])
) AS x(v)
