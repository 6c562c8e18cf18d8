//! Texts of `--help`: examples behind the options, and texts of options that differ from other commands.

pub(super) const EXPORT_EXAMPLES: &str = "\
Examples:
  A table to Parquet, and to an Arrow file:
    pgarrow export postgres://me@localhost/shop orders -o orders.parquet
    pgarrow export 'host=/var/run/postgresql dbname=shop' sales.orders \\
        -o orders.arrow

  Some of it, with a connection from PGHOST, PGDATABASE and PGUSER:
    pgarrow export --table orders --columns 'id,\"orderDate\",total' \\
        --where 'total > 100' -o some.parquet

  A large table to a folder of files, by four connections within 256 MiB:
    pgarrow export shop orders -o orders/ --file-size 512M \\
        --readers 4 --memory 256M

  Values that Arrow does not have become NULL, and are counted; one column
  as text, one as another decimal:
    pgarrow export shop orders --infinity null --nan null --column note:text \\
        --column 'total:decimal(20,4)' -o orders.parquet

  Rows with such values go into a file of their own:
    pgarrow export shop orders -o good.parquet --reject bad.arrow \\
        --reject-limit 1000

  All tables of a schema, of one moment:
    pgarrow export shop --schema public -o shop/

  A query with a parameter, to another program:
    pgarrow export mydb --query 'select * from orders where placed >= $1' \\
        --param 2026-01-01 --to ipc-stream -o - |
        python3 -c 'import sys, pyarrow.ipc as ipc; \\
            print(ipc.open_stream(sys.stdin.buffer).read_all())'

  A view by several connections:
    pgarrow export mydb open_orders --split-on id -o open.parquet

  From one server to another, into a table that is made like the one read:
    pgarrow export postgres://me@old/shop orders --to postgres \\
        --target postgres://me@new/shop --into public.orders --mode create

  All tables of a schema, with their types and primary keys, all or nothing:
    pgarrow export postgres://me@old/shop --schema sales --to postgres \\
        --target postgres://me@new/shop --mode create --create-types --key

  How fast is it without an output:
    pgarrow export mydb orders --to none";

pub(super) const LOAD_EXAMPLES: &str = "\
Examples:
  A file into a table that is made for it, and more files into the same table:
    pgarrow load orders.parquet --target postgres://me@localhost/shop \\
        --into public.orders --mode create
    pgarrow load more.parquet others/ \\
        --target postgres://me@localhost/shop --into public.orders

  What would be made of what, without loading anything:
    pgarrow load orders.parquet --target shop --into orders --dry-run

  From another program, with a connection from PGHOST, PGDATABASE and PGUSER:
    pgarrow export postgres://me@old/shop --to ipc-stream -o - \\
        --query 'select * from orders where total > 100' |
        pgarrow load - --into large_orders --mode create

  All tables of an export's or a job's folder, all or nothing:
    pgarrow load shop/ --target shop --into-schema public --mode truncate

  New rows instead of the old ones, at once for everybody who reads:
    pgarrow load orders.parquet --target shop --into orders --mode truncate

  New rows, and other values for rows that are there, by the primary key:
    pgarrow load changes.parquet --target shop --into orders --mode upsert

  A large load in parts of a million rows, from the last of which the same
  command goes on:
    pgarrow load big/ --target shop --into orders --commit-every 1000000

  Rows that cannot be loaded are set aside, with the reasons:
    pgarrow load orders.parquet --target shop --into orders \\
        --reject bad.arrow --reject-limit 1000

  A float64 column into numeric(10,2):
    pgarrow load prices.arrow --target shop --into prices --convert round";

/// For a load: an export's locks are weaker.
pub(super) const LOCK_HELP: &str =
    "How long to wait for locks of others on the table, as in 30s. Default: for ever";

/// For a load: no query sorts in it, but indexes and triggers take time.
pub(super) const READ_HELP: &str = "How long the server may say nothing at all, or take no byte, while it is waited for, as in 10m. \
    Default: for ever\n\nChecks, triggers and --mode truncate may take their time, so choose more than that. After that \
    the load fails with exit code 3, and what is not committed is taken back. Waiting for the locks of tables does not count, nor \
    does COMMIT, nor bringing rows on from a table in between (--mode upsert, --writers, types that the server reads); what COPY \
    itself waits for does, such as somebody else's transaction with the same key. A network that is gone is noticed \
    without this option, by TCP's keepalives.";

pub(super) const PLAN_EXAMPLES: &str = "\
Examples:
  How a table would be cut into slices, and what its columns become:
    pgarrow plan postgres://me@localhost/shop orders

  The tables of a schema with their sizes:
    pgarrow plan shop --schema public --all";

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  A job file with the tables of a schema, its check, and its first run:
    pgarrow init postgres://me@localhost/shop -t 'public.*' -o shop.toml
    pgarrow check shop.toml
    pgarrow run shop.toml

  Every night, with fewer readers than the file says, and a report:
    PGARROW_READERS=2 pgarrow run shop.toml --report shop.json";

pub(super) const REPORT_EXAMPLES: &str = "\
Examples:
  A page of an export:
    pgarrow export postgres://me@localhost/shop orders -o orders.parquet --report r.json
    pgarrow report r.json -o r.html

  A page of what a job has committed last:
    pgarrow report lake -o lake.html";

pub(super) const INSPECT_EXAMPLES: &str = "\
Examples:
  What a table's columns become, and what to look out for:
    pgarrow inspect postgres://me@localhost/shop orders

  The same with other choices, for a program:
    pgarrow inspect shop --query 'select * from orders' --arrays shaped \\
        --column 'total:decimal(20,4)' --json

  All tables of a schema:
    pgarrow inspect shop --schema public";

pub(super) const HOLD_EXAMPLES: &str = "\
Examples:
  Slices of a table, read by two processes:
    pgarrow hold shop orders --tokens orders.jsonl &
    (until test -e orders.jsonl; do sleep 0.1; done)
    sed -n 1p orders.jsonl | pgarrow export shop --slice - -o orders-1.parquet
    sed -n 2p orders.jsonl | pgarrow export shop --slice - -o orders-2.parquet
    kill %1";
