SELECT v
FROM (VALUES
    (3748::oid::regconfig),
    (NULL::regconfig)
) AS x(v)
