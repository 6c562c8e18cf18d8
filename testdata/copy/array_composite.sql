CREATE TYPE golden_item AS (n int4, t text, u uuid[]);

SELECT v
FROM (VALUES
    (ARRAY[row(1, 'a', '{ffffffff-ffff-ffff-ffff-ffffffffffff,NULL}')::golden_item, NULL, row(NULL, NULL, NULL)::golden_item]),
    ('{}'::golden_item[]),
    (NULL::golden_item[])
) AS x(v)
