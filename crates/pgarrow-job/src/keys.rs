//! The keys of job files.

/// The sections and keys of a job file, with what each is. Options are beside these: they are the caller's.
pub const KEYS: &[(&str, &str, &str)] = &[
    (
        "source",
        "connection",
        "the server: a URI, key=value pairs or a database; by default the PG* environment",
    ),
    ("source", "tables", "names and patterns as psql takes them: `sales.*`, `order_?`, `public.\"Odd\"`"),
    ("source", "exclude_tables", "patterns of tables to leave out, in any schema if they name none"),
    ("source", "only", "`true`: each table without those that inherit from it, which are read by themselves"),
    (
        "destination",
        "path",
        "a folder, from the job file's own on; or `s3://…`, `gs://…`, `az://…`, `abfss://…`",
    ),
    (
        "destination",
        "connection",
        "instead of `path`: the PostgreSQL that the tables are loaded into, as `connection` of the source",
    ),
    (
        "destination",
        "into_schema",
        "with `connection`: the schema of all tables there; by default that of each table",
    ),
    (
        "destination",
        "file_name",
        "the files' names below it: a template, by default `{schema}/{table}/part-{index:05}`",
    ),
    ("destination", "format", "`parquet`, `ipc` or `ipc-stream`; by default `parquet`"),
    (
        "destination",
        "verify",
        "whether a run compares its files with the server before it commits them; by default no",
    ),
    ("destination", "success_file", "whether to write `_SUCCESS` at the end; by default no"),
    (
        "table",
        "name",
        "a name or pattern: what follows is about the tables that match it; later sections win",
    ),
    ("table", "columns", "only these columns, in this order"),
    ("table", "filter", "only the rows for which this SQL condition holds"),
    ("table", "mode", "with a `connection` as the destination: as the option of that name, for these tables"),
    (
        "table",
        "incremental",
        "`xmin` or `column`: after the first run, only new and changed rows; by default `no`",
    ),
    ("table", "column", "the column that grows: integers, moments, UUIDs of version 7"),
    (
        "table",
        "overlap",
        "how far below the run before the next one begins: `1000` for integers, `\"10m\"` for moments",
    ),
    ("table", "nulls", "the rows without a value in that column: `always` (default) or `never`"),
    ("table", "full_every", "how old the last full read may be: `\"7d\"`; by default any age"),
    (
        "table",
        "on_schema_change",
        "columns that were added: `fail` (default), `add`, `ignore`, `new_version`",
    ),
    (
        "table",
        "partition_by",
        "as the option of that name: `[\"region\", \"year(created_at)\"]`; `[]` for no partitions",
    ),
    ("table", "keep_partition_columns", "as the option of that name: `true` or `false`"),
    (
        "query",
        "name",
        "what it is called: letters, digits, hyphens and underscores. In templates of file names, `{table}` is its name, and \
         `{schema}` is `query`",
    ),
    ("query", "sql", "one SELECT, VALUES, TABLE or WITH, without parameters"),
    (
        "query",
        "file",
        "instead of `sql`: the file that has it, from the job file's own folder on; without variables",
    ),
    ("query", "split_on", "a column of its result: several connections read ranges of it"),
];

/// The keys for jobs that write files, and no others.
pub(crate) const OF_FILES: &[(&str, &str)] = &[
    ("destination", "file_name"),
    ("destination", "format"),
    ("destination", "verify"),
    ("destination", "success_file"),
    ("table", "incremental"),
    ("table", "column"),
    ("table", "overlap"),
    ("table", "nulls"),
    ("table", "full_every"),
    ("table", "on_schema_change"),
    ("table", "partition_by"),
    ("table", "keep_partition_columns"),
];

/// The keys for jobs that load a server, and no others.
pub(crate) const OF_SERVERS: &[(&str, &str)] = &[("destination", "into_schema"), ("table", "mode")];
