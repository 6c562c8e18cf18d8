SELECT v
FROM (VALUES
    ('now'::regproc),
    ('-'::regproc),
    (NULL::regproc)
) AS x(v)
