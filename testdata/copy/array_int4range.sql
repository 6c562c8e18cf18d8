SELECT v
FROM (VALUES
    ('{"[1,5)",NULL,empty,"(,)"}'::int4range[]),
    ('{}'::int4range[]),
    (NULL::int4range[])
) AS x(v)
