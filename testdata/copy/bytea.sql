SELECT v
FROM (VALUES
    ('\x'::bytea),
    ('\x00'::bytea),
    ('\xff'::bytea),
    ('\x5047434f50590aff0d0a00'::bytea),
    (NULL::bytea)
) AS x(v)
