CREATE TYPE golden_inner AS (a int4, b text);
CREATE DOMAIN golden_label AS varchar(9);
CREATE TYPE golden_outer AS (x golden_inner, y golden_inner[], "Z z" int4range, w golden_label, v int4[]);

SELECT v
FROM (VALUES
    (row(row(1, 'x'), ARRAY[row(NULL, NULL)::golden_inner, NULL, row(2, '')::golden_inner], '[1,5)', 'é', '{1,NULL}')::golden_outer),
    (row(NULL, '{}', 'empty', '', '{}')::golden_outer),
    (row(row(NULL, NULL), NULL, '(,)', NULL, NULL)::golden_outer),
    (NULL::golden_outer)
) AS x(v)
