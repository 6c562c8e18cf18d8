SELECT v
FROM (VALUES
    (3765::oid::regdictionary),
    (NULL::regdictionary)
) AS x(v)
