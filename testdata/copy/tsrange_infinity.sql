-- choices: infinity=saturate

SELECT v
FROM (VALUES
    ('(,)'::tsrange),
    ('[-infinity,infinity]'::tsrange),
    ('[2000-01-01,infinity)'::tsrange),
    (NULL::tsrange)
) AS x(v)
