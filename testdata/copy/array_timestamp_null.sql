-- choices: infinity=null,out-of-range=null

SELECT v
FROM (VALUES
    ('{infinity,"2000-01-01",-infinity}'::timestamp[]),
    ('{"294247-01-10 04:00:54.775808","294247-01-10 04:00:54.775807"}'::timestamp[]),
    ('{}'::timestamp[]),
    (NULL::timestamp[])
) AS x(v)
