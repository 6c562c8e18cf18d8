//! Values of the types of extensions: contrib, PostGIS, pgvector.

use super::generators::{Generator, TEXTS};

/// Extensions with types, in the order of their dependencies. Extensions that a server does not have are left
/// out.
pub(crate) const EXTENSIONS: &[&str] = &[
    "hstore",
    "ltree",
    "citext",
    "cube",
    "earthdistance",
    "isn",
    "seg",
    "intarray",
    "lo",
    "pg_trgm",
    "btree_gist",
    "tablefunc",
    "dblink",
    "postgis",
    "vector",
];

const fn in_extension(
    extension: &'static str,
    pg_type: &'static str,
    random: &'static str,
    extremes: &'static [&'static str],
) -> Generator {
    Generator { pg_type, extension, random, extremes }
}

/// One of every kind of geometry, with and without SRID, Z and M.
const GEOMETRY: &str = "CASE g % 5 WHEN 0 THEN 'SRID=4326;POINT(' || n % 180 || ' ' || g % 90 || ')' \
    WHEN 1 THEN 'LINESTRING ZM (1 2 3 4,5 6 7 ' || g || ')' WHEN 2 THEN 'MULTIPOINT M ((1 2 3),(4 5 ' || g || '))' \
    WHEN 3 THEN 'POLYGON((0 0,1 0,1 ' || g || ',0 0))' ELSE 'GEOMETRYCOLLECTION Z (POINT Z (1 2 3),LINESTRING Z (1 2 3,4 5 ' \
    || g || '))' END::geometry";

/// Every type of these extensions whose values can be made.
pub(crate) const GENERATORS: &[Generator] = &[
    in_extension(
        "hstore",
        "hstore",
        "hstore(ARRAY[h, t, 'n', NULL, left(t, 2) || 'x', h])",
        &["", "a=>1, b=>NULL", "\"\"=>\"\"", "\"=>\"=>\"\\\\\\\"\""],
    ),
    in_extension("ltree", "ltree", "left(h, 5) || '.' || g || '.x_Y'", &["", "Top.Science"]),
    in_extension("ltree", "lquery", "left(h, 5) || '.*{1,' || g || '}.a|b'", &["*", "Top.*.a@*"]),
    in_extension("ltree", "ltxtquery", "left(h, 5) || ' & ' || g || 'x@'", &["a & !b | c*"]),
    in_extension("citext", "citext", "t", TEXTS),
    in_extension(
        "cube",
        "cube",
        "'(' || g || ',' || n % 1000 || '),(1,2)'",
        &["(0)", "(1,2,3)", "(1e300,NaN)"],
    ),
    in_extension("seg", "seg", "g || ' .. ' || g + 1", &["1", "<1.50 .. ~2.0"]),
    in_extension("isn", "ean13", "'2' || left(d, 11) || '?'", &[]),
    in_extension("isn", "isbn13", "'978' || left(d, 9) || '?'", &[]),
    in_extension("isn", "isbn", "'978' || left(d, 9) || '?'", &[]),
    in_extension("isn", "ismn13", "'9790' || left(d, 8) || '?'", &[]),
    in_extension("isn", "ismn", "'9790' || left(d, 8) || '?'", &[]),
    in_extension("isn", "issn13", "'977' || left(d, 9) || '?'", &[]),
    in_extension("isn", "issn", "'977' || left(d, 7) || '00?'", &[]),
    in_extension("isn", "upc", "'0' || left(d, 11) || '?'", &[]),
    in_extension("intarray", "query_int", "g || ' & (2 | !' || n % 1000 || ')'", &["1"]),
    in_extension("lo", "lo", "n & 4294967295", &["0", "4294967295"]),
    in_extension("earthdistance", "earth", "ll_to_earth(n % 90, n % 180)", &[]),
    in_extension("tablefunc", "tablefunc_crosstab_2", "row(t, h, NULL)::tablefunc_crosstab_2", &["(,,)"]),
    in_extension("tablefunc", "tablefunc_crosstab_3", "row(t, h, NULL, h)::tablefunc_crosstab_3", &["(,,,)"]),
    in_extension(
        "tablefunc",
        "tablefunc_crosstab_4",
        "row(t, h, NULL, h, t)::tablefunc_crosstab_4",
        &["(,,,,)"],
    ),
    in_extension("dblink", "dblink_pkey_results", "row(g, t)::dblink_pkey_results", &["(,)"]),
    in_extension(
        "postgis",
        "geometry",
        GEOMETRY,
        &[
            "POINT EMPTY",
            "POLYGON((0 0,1 0,1 1,0 0),(0.1 0.1,0.2 0.1,0.2 0.2,0.1 0.1))",
            "SRID=4326;GEOMETRYCOLLECTION ZM (POINT ZM (1 2 3 4))",
            "CIRCULARSTRING(0 0,1 1,2 0)",
            "TIN(((0 0,0 1,1 1,0 0)))",
        ],
    ),
    in_extension(
        "postgis",
        "geography",
        "ST_MakePoint(n % 180, n % 90)::geography",
        &["POINT(0 0)", "LINESTRING(0 0,1 1)"],
    ),
    in_extension(
        "postgis",
        "geometry_dump",
        "row(ARRAY[g, 1], ST_MakePoint(n % 1000, g))::geometry_dump",
        &["(,)"],
    ),
    in_extension(
        "postgis",
        "valid_detail",
        "row(n % 2 = 0, t, ST_MakePoint(n % 1000, g))::valid_detail",
        &["(,,)"],
    ),
    in_extension("postgis", "box2d", "'BOX(1 2,' || g + 1 || ' ' || g + 2 || ')'", &[]),
    in_extension("postgis", "box3d", "'BOX3D(1 2 3,' || g + 1 || ' 5 6)'", &[]),
    in_extension("postgis", "spheroid", "'SPHEROID[\"a\",6378137,' || 298 + g || ']'", &[]),
    in_extension(
        "vector",
        "vector",
        "'[' || (n % 100003) * 0.5 || ',' || g / 7.0 || ']'",
        &["[0,-0,3.4e38]", "[1]"],
    ),
    in_extension(
        "vector",
        "vector(3)",
        "'[' || (n % 100003) * 0.5 || ',0,' || g / 7.0 || ']'",
        &["[0,-0,3.4e38]"],
    ),
    in_extension(
        "vector",
        "halfvec",
        "'[' || (n % 1003) * 0.5 || ',' || g / 7.0 || ']'",
        &["[0,-0,65504]", "[6e-8]"],
    ),
    in_extension("vector", "halfvec(2)", "'[' || (n % 1003) * 0.5 || ',' || g / 7.0 || ']'", &["[0,-0]"]),
    in_extension(
        "vector",
        "sparsevec",
        "'{1:' || g / 7.0 || ',' || g + 1 || ':2}/' || g + 5",
        &["{}/5", "{1:-1e-38}/1000000000"],
    ),
];
