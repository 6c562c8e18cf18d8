SELECT v
FROM (VALUES
    ('00000000-0000-0000-0000-000000000000'::uuid),
    ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid),
    ('ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid),
    (NULL::uuid)
) AS x(v)
