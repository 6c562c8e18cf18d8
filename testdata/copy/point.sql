SELECT v
FROM (VALUES
    ('(0,0)'::point),
    ('(-0,1.5)'::point),
    ('(Infinity,NaN)'::point),
    ('(1e-300,-1.7976931348623157e308)'::point),
    (NULL::point)
) AS x(v)
