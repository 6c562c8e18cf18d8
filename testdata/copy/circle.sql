SELECT v
FROM (VALUES
    ('<(0,0),0>'::circle),
    ('<(1,2),Infinity>'::circle),
    (NULL::circle)
) AS x(v)
