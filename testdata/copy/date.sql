SELECT v
FROM (VALUES
    ('4714-11-24 BC'::date),
    ('0001-12-31 BC'::date),
    ('0001-01-01'::date),
    ('1969-12-31'::date),
    ('1970-01-01'::date),
    ('2000-02-29'::date),
    ('5874897-12-31'::date),
    (NULL::date)
) AS x(v)
