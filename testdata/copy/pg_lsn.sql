SELECT v
FROM (VALUES
    ('0/0'::pg_lsn),
    ('1/80000000'::pg_lsn),
    ('FFFFFFFF/FFFFFFFF'::pg_lsn),
    (NULL::pg_lsn)
) AS x(v)
