CREATE EXTENSION citext;

SELECT v
FROM (VALUES
    (''::citext),
    ('Aé'::citext),
    ('NULL'::citext),
    (NULL::citext)
) AS x(v)
