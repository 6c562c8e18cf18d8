CREATE EXTENSION IF NOT EXISTS vector;

SELECT v
FROM (VALUES
    ('[1]'::vector),
    ('[1,2]'::vector),
    (NULL::vector)
) AS x(v)
