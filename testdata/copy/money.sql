SELECT v
FROM (VALUES
    ('-92233720368547758.08'::money),
    ('-0.01'::money),
    ('92233720368547758.07'::money),
    (NULL::money)
) AS x(v)
