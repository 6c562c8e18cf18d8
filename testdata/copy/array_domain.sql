CREATE DOMAIN golden_positive AS int4 CHECK (value > 0);

SELECT v
FROM (VALUES
    ('{1,2,NULL}'::golden_positive[]),
    ('{}'::golden_positive[]),
    (NULL::golden_positive[])
) AS x(v)
