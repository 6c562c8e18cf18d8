CREATE EXTENSION ltree;

SELECT v
FROM (VALUES
    (''::ltree),
    ('Top.Science.x_1'::ltree),
    (NULL::ltree)
) AS x(v)
