SELECT v
FROM (VALUES
    ('empty'::daterange),
    ('(,)'::daterange),
    ('[2000-01-01,2000-01-02)'::daterange),
    ('["4714-11-24 BC",5874897-12-31)'::daterange),
    (NULL::daterange)
) AS x(v)
