CREATE TYPE golden_pair AS (a int4, b text, gone int4, c numeric, d date);
ALTER TYPE golden_pair DROP ATTRIBUTE gone;

SELECT v
FROM (VALUES
    ('(,,,)'::golden_pair),
    ('(1,"x y",1.5,2000-01-01)'::golden_pair),
    ('(-2147483648,"",NaN,)'::golden_pair),
    ('(,"a,b(""\\",0.00,"4714-11-24 BC")'::golden_pair),
    (NULL::golden_pair)
) AS x(v)
