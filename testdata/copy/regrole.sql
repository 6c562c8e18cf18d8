SELECT v
FROM (VALUES
    (10::oid::regrole),
    (NULL::regrole)
) AS x(v)
