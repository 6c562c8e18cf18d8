SELECT v
FROM (VALUES
    ('{}'::nummultirange),
    ('{(,)}'::nummultirange),
    ('{[1.50,2],(3,NaN]}'::nummultirange),
    (NULL::nummultirange)
) AS x(v)
