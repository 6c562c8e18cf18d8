CREATE EXTENSION IF NOT EXISTS vector;

SELECT v
FROM (VALUES
    ('[1,-0]'::halfvec(2)),
    ('[65504,6e-8]'::halfvec(2)),
    (NULL::halfvec(2))
) AS x(v)
