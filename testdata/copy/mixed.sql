SELECT g AS id, CASE WHEN g % 2 = 0 THEN g::text END AS t, (g / 4.0)::numeric(10,2) AS n, g % 3 = 0 AS b
FROM generate_series(1, 10) AS g
