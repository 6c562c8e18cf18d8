SELECT v
FROM (VALUES
    ('{}'::tstzmultirange),
    ('{["2000-01-01 00:00:00+00",)}'::tstzmultirange),
    (NULL::tstzmultirange)
) AS x(v)
