SELECT v
FROM (VALUES
    ('empty'::numrange),
    ('(,)'::numrange),
    ('[1.5,)'::numrange),
    ('(,5.00]'::numrange),
    ('[1,NaN]'::numrange),
    ('(-Infinity,Infinity)'::numrange),
    (NULL::numrange)
) AS x(v)
