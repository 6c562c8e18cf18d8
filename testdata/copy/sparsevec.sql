CREATE EXTENSION IF NOT EXISTS vector;

SELECT v
FROM (VALUES
    ('{1:1.5,5:-2}/5'::sparsevec),
    ('{}/3'::sparsevec),
    (NULL::sparsevec)
) AS x(v)
