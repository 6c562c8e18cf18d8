CREATE DOMAIN golden_numbers AS int4[];

SELECT v
FROM (VALUES
    ('{1,2,NULL}'::golden_numbers),
    ('{}'::golden_numbers),
    (NULL::golden_numbers)
) AS x(v)
