-- choices: infinity=saturate

SELECT v
FROM (VALUES
    ('{infinity,-infinity,NULL}'::date[]),
    ('{2000-01-01}'::date[]),
    ('{}'::date[]),
    (NULL::date[])
) AS x(v)
