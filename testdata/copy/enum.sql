CREATE TYPE golden_mood AS ENUM ('sad', 'ok', 'élated', '');

SELECT v
FROM (VALUES
    ('ok'::golden_mood),
    ('élated'::golden_mood),
    (''::golden_mood),
    ('sad'::golden_mood),
    ('ok'::golden_mood),
    (NULL::golden_mood)
) AS x(v)
