SELECT v
FROM (VALUES
    ('"C"'::regcollation),
    ('-'::regcollation),
    (NULL::regcollation)
) AS x(v)
