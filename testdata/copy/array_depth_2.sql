-- choices: int4[][]

SELECT v
FROM (VALUES
    ('{}'::int4[]),
    ('{{1,2},{NULL,4}}'::int4[]),
    ('{{5}}'::int4[]),
    (NULL::int4[])
) AS x(v)
