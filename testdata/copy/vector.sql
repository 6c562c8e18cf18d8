CREATE EXTENSION IF NOT EXISTS vector;

SELECT v
FROM (VALUES
    ('[1,2.5,-0]'::vector(3)),
    ('[3.4e38,1e-45,0]'::vector(3)),
    (NULL::vector(3))
) AS x(v)
