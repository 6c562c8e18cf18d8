SELECT v
FROM (VALUES
    ('{}'::datemultirange),
    ('{[2000-01-01,2000-01-02),[2000-01-05,)}'::datemultirange),
    (NULL::datemultirange)
) AS x(v)
