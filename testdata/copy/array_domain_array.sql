CREATE DOMAIN golden_list AS int4[];

SELECT v
FROM (VALUES
    ('{"{1,2}","{}",NULL}'::golden_list[]),
    ('{}'::golden_list[]),
    (NULL::golden_list[])
) AS x(v)
