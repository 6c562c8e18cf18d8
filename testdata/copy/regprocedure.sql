SELECT v
FROM (VALUES
    ('abs(integer)'::regprocedure),
    ('-'::regprocedure),
    (NULL::regprocedure)
) AS x(v)
