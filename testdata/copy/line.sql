SELECT v
FROM (VALUES
    ('{1,2,3}'::line),
    ('{1,-1,0}'::line),
    ('{0,-1,1e300}'::line),
    (NULL::line)
) AS x(v)
