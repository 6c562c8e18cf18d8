SELECT v
FROM (VALUES
    ('+(integer,integer)'::regoperator),
    ('0'::regoperator),
    (NULL::regoperator)
) AS x(v)
