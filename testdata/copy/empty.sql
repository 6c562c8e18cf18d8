SELECT 1 AS a, 'x'::text AS b WHERE false
