SELECT v
FROM (VALUES
    ('{10.1.2.3,NULL,::1/64}'::inet[]),
    ('{}'::inet[]),
    (NULL::inet[])
) AS x(v)
