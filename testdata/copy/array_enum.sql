CREATE TYPE golden_letter AS ENUM ('a', 'B', 'é', '', 'with,comma', 'q"uote');

SELECT v
FROM (VALUES
    ('{a,"","with,comma","q\"uote",NULL,é}'::golden_letter[]),
    ('{}'::golden_letter[]),
    ('{NULL}'::golden_letter[]),
    (NULL::golden_letter[])
) AS x(v)
