SELECT a::text, b::text[], c::text, d::text, e::text
FROM (VALUES
    (row(1, 'a b', NULL::text, 1.10), ARRAY[makeaclitem(0::oid, 0::oid, 'SELECT', false), NULL], 'a:1A,2B fat'::tsvector,
        'a & !b | c:*'::tsquery, 'strict $[*]'::jsonpath),
    (NULL, '{}', '', '', NULL),
    (NULL, NULL, NULL, NULL, NULL)
) AS x(a, b, c, d, e)
