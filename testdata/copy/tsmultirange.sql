SELECT v
FROM (VALUES
    ('{}'::tsmultirange),
    ('{["2000-01-01 00:00:00","2000-01-01 00:00:01")}'::tsmultirange),
    (NULL::tsmultirange)
) AS x(v)
