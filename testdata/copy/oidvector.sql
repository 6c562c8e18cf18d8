SELECT v
FROM (VALUES
    (''::oidvector),
    ('0'::oidvector),
    ('1 2147483648 4294967295'::oidvector),
    (NULL::oidvector)
) AS x(v)
