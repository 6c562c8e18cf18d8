SELECT v
FROM (VALUES
    (0::"char"),
    (65::"char"),
    (127::"char"),
    ((-128)::"char"),
    ((-23)::"char"),
    ((-1)::"char"),
    (NULL::"char")
) AS x(v)
