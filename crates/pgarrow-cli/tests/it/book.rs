//! The book and the README: every command in them runs, as a reader would run it.
//!
//! A page runs in an empty folder, with a server of its own that has the page's database `shop`. `sh -e` runs
//! blocks of `sh`, a superuser runs blocks of `sql`. A block that cannot run says so in a comment above it:
//! `<!-- not run: why -->`.

mod made;

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use pgarrow_server::Server;
use pgarrow_testkit::postgres::{Client, NoTls};
use pgarrow_testkit::{Capability, Emulator, Python, require, server_options};
use tempfile::TempDir;

use crate::load_parts::rejected;
use crate::support::{parquet_rows, program};

/// Most blocks that are not run, in all pages together.
const NOT_RUN_MAX: usize = 7;

/// How long a block may take. Some wait for a file that never appears if its writer fails.
const BLOCK_SECONDS: u64 = 120;

/// What a block may be. The first two are run, and the third becomes the file that the comment above it
/// names: `<!-- file: NAME -->`.
const LANGUAGES: [&str; 6] = ["sh", "sql", "python", "text", "rust", "rust,ignore"];

/// Pages with programs in Python, which the tests of the wheel run.
const OF_PYTHON: [&str; 4] =
    ["docs/src/adbc.md", "docs/src/python.md", "docs/src/ray-dask.md", "docs/src/spark.md"];

/// A test for each page that has commands.
macro_rules! pages {
    ($($test:ident: $path:literal, $prepare:expr, $check:expr;)+) => {
        /// The pages that are run.
        const RUN: &[&str] = &[$($path),+];

        $(
            #[test]
            fn $test() {
                require!(Capability::PrivateServer, Capability::Python, Capability::Extension("pageinspect"));
                let shop = Shop::new();
                let prepare: fn(&Shop) = $prepare;
                let check: fn(&Shop) = $check;
                prepare(&shop);
                if !shop.is_left_out.get() {
                    shop.run($path);
                    check(&shop);
                }
            }
        )+
    };
}

pages! {
    the_readme: "README.md", Shop::with_orders, |_| {};
    the_quick_start: "docs/src/quick-start.md", Shop::with_orders, |_| {};
    parallel_exports: "docs/src/parallel.md", Shop::with_orders, |_| {};
    reading_by_pages: "docs/src/pages.md", Shop::with_orders, |_| {};
    types_and_policies: "docs/src/policies.md", Shop::with_orders, |_| {};
    slices: "docs/src/slices.md", Shop::with_orders, Shop::has_all_slices;
    connecting: "docs/src/connecting.md", Shop::with_orders, |_| {};
    loading: "docs/src/loading.md", Shop::with_files_to_load, Shop::is_loaded;
    loading_parts: "docs/src/loading-parts.md", Shop::with_parts_to_load, Shop::has_parts;
    loading_writers: "docs/src/loading-writers.md", Shop::with_folders_to_load, Shop::has_what_writers_loaded;
    tuning: "docs/src/tuning.md", Shop::with_orders, |_| {};
    nightly: "docs/src/nightly.md", Shop::with_orders, Shop::is_in_new_shop;
    table_formats: "docs/src/table-formats.md", Shop::with_orders, Shop::has_table_formats;
    object_stores: "docs/src/stores.md", Shop::with_a_bucket, Shop::has_a_copy;
    schedulers: "docs/src/schedulers.md", Shop::with_orders, |_| {};
    coming_from: "docs/src/coming-from.md", Shop::with_orders, |_| {};
    verifying: "docs/src/verify.md", Shop::with_orders, |_| {};
    incremental: "docs/src/incremental.md", Shop::with_orders, |_| {};
    report_fields: "docs/src/report.md", Shop::with_orders, |_| {};
}

/// No page has commands that no test runs.
#[test]
fn every_page_with_commands_is_run() {
    let folder = root().join("docs/src");
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // Beside the pages lie their pictures, which are no text: one of them used to end this test.
    let pages = names.filter(|name| name.ends_with(".md"));
    let mut paths: Vec<String> = pages.map(|name| format!("docs/src/{name}")).collect();
    paths.push("README.md".to_owned());
    let mut n_not_run = 0;
    for path in paths.iter().filter(|path| !OF_PYTHON.contains(&path.as_str())) {
        let page = Page::read(path);
        n_not_run += page.n_not_run;
        assert_eq!(!page.blocks.is_empty(), RUN.contains(&path.as_str()), "{path}");
    }
    assert!(n_not_run <= NOT_RUN_MAX, "{n_not_run} blocks are not run");
}

/// The project's folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// The blocks of a page that run.
struct Page {
    blocks: Vec<Block>,
    n_not_run: usize,
}

enum Block {
    Shell(String),
    Sql(String),
    File { name: String, text: String },
}

impl Page {
    fn read(path: &str) -> Self {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let mut page = Self { blocks: Vec::new(), n_not_run: 0 };
        let (mut lines, mut above) = (text.lines(), "");
        while let Some(line) = lines.next() {
            let Some(language) = line.trim_start().strip_prefix("```") else {
                above = line;
                continue;
            };
            assert!(LANGUAGES.contains(&language), "{path}: a block of {language:?}");
            let is_left_out = above.starts_with("<!-- not run: ");
            let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim_start() != "```").collect();
            match language {
                "sh" | "sql" if is_left_out => page.n_not_run += 1,
                "sh" => page.blocks.push(Block::Shell(block.join("\n"))),
                "sql" => page.blocks.push(Block::Sql(block.join("\n"))),
                "python" => {
                    let name = above.strip_prefix("<!-- file: ").and_then(|name| name.strip_suffix(" -->"));
                    let name =
                        name.unwrap_or_else(|| panic!("{path}: which file is this?\n{}", block.join("\n")));
                    page.blocks.push(Block::File { name: name.to_owned(), text: block.join("\n") });
                }
                _ => {}
            }
        }
        page
    }
}

/// A server with the databases of the book, and an empty folder.
struct Shop {
    server: Server,
    folder: TempDir,
    /// `pgarrow`, `python3` and `duckdb`, and the output of the blocks.
    tools: TempDir,
    /// The store that has the page's bucket, if it needs one.
    store: Cell<Option<&'static Emulator>>,
    /// What the page needs is missing.
    is_left_out: Cell<bool>,
}

/// What the pages export.
const ORDERS: &str = "\
    CREATE SCHEMA sales; \
    CREATE TABLE orders (id int8 PRIMARY KEY, placed date NOT NULL, total numeric(15,2), due date, tags text[], \
        weight numeric, note text, updated timestamptz NOT NULL, \"dueAt\" timestamp); \
    INSERT INTO orders SELECT g, date '2025-06-01' + g % 365, g % 500 + 0.5, date '2026-06-01', ARRAY['a', g::text], \
        g * 0.25, repeat('note ', 10), now() - g * interval '1 minute', timestamp '2026-06-01 12:00' \
        FROM generate_series(1, 20000) g; \
    CREATE TABLE sales.orders AS SELECT id, total FROM orders; \
    CREATE VIEW open_orders AS SELECT id, total FROM orders WHERE total > 100; \
    ANALYZE";

impl Shop {
    fn new() -> Self {
        let shop = Self {
            server: Server::start(server_options()).unwrap(),
            folder: TempDir::new().unwrap(),
            tools: TempDir::new().unwrap(),
            store: Cell::new(None),
            is_left_out: Cell::new(false),
        };
        for sql in
            ["CREATE ROLE me LOGIN", "CREATE DATABASE shop OWNER me", "CREATE DATABASE new_shop OWNER me"]
        {
            shop.execute("postgres", "postgres", sql);
        }
        symlink(env!("CARGO_BIN_EXE_pgarrow"), shop.tools.path().join("pgarrow")).unwrap();
        let python = Python::shared().program().display();
        shop.tool("python3", &format!("exec '{python}' \"$@\""));
        // Prints about what duckdb's own program prints.
        let duckdb = "import sys, duckdb; print(duckdb.sql(sys.argv[2]))";
        shop.tool("duckdb", &format!("exec '{python}' -c '{duckdb}' \"$@\""));
        shop
    }

    fn tool(&self, name: &str, line: &str) {
        let path = self.tools.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{line}\n")).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn client(&self, user: &str, database: &str) -> Client {
        let url = format!("postgres://{user}@127.0.0.1:{}/{database}", self.server.port());
        Client::connect(&url, NoTls).unwrap()
    }

    fn execute(&self, user: &str, database: &str, sql: &str) {
        self.client(user, database).batch_execute(sql).unwrap_or_else(|cause| panic!("{sql}: {cause:?}"));
    }

    /// Count and sum of the ids of a table.
    fn ids(&self, database: &str, table: &str) -> (i64, i64) {
        let sql = format!("SELECT count(*), sum(id)::int8 FROM {table}");
        let row = self.client("me", database).query_one(&sql, &[]).unwrap();
        (row.get(0), row.get(1))
    }

    /// Runs the blocks of a page, one after the other.
    fn run(&self, path: &str) {
        for block in Page::read(path).blocks {
            match block {
                Block::Shell(text) => self.shell(path, &text),
                Block::Sql(sql) => self.execute("postgres", "shop", &sql),
                Block::File { name, text } => fs::write(self.folder.path().join(name), text).unwrap(),
            }
        }
    }

    fn shell(&self, page: &str, text: &str) {
        let said = self.tools.path().join("said");
        let file = File::create(&said).unwrap();
        // This server stands for both.
        let text = text.replace("@old/shop", "@localhost/shop").replace("@new/shop", "@localhost/new_shop");
        let mut shell = program("sh", self.folder.path());
        let others = std::env::var_os("PATH").unwrap_or_default();
        let path = [self.tools.path().to_owned()].into_iter().chain(std::env::split_paths(&others));
        shell
            .args(["-e", "-c", &text])
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("PGHOST", "localhost")
            .env("PGPORT", self.server.port().to_string())
            .env("PGUSER", "me")
            .env("PGDATABASE", "shop")
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        if let Some(store) = self.store.get() {
            shell.envs(store.environment());
        }
        let mut child = shell.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(BLOCK_SECONDS);
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        let said = String::from_utf8_lossy(&fs::read(said).unwrap()).into_owned();
        assert!(status.is_some_and(|status| status.success()), "{page}: {status:?}\n{text}\n{said}");
    }
}

/// What the pages need at their beginning, and what must be there at their end.
impl Shop {
    fn with_orders(&self) {
        self.execute("me", "shop", ORDERS);
    }

    fn with_a_bucket(&self) {
        let Some(store) = Emulator::s3() else { return self.is_left_out.set(true) };
        self.with_orders();
        self.execute("me", "shop", "CREATE SCHEMA copied");
        store.make_bucket("bucket");
        self.store.set(Some(store));
    }

    fn has_a_copy(&self) {
        assert_eq!(self.ids("shop", "copied.orders"), self.ids("shop", "orders"));
    }

    fn is_in_new_shop(&self) {
        assert_eq!(self.ids("new_shop", "orders"), self.ids("shop", "orders"));
    }

    fn has_all_slices(&self) {
        let files = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let slices = files.filter(|path| path.extension().is_some_and(|extension| extension == "parquet"));
        let rows: Vec<usize> = slices.map(|path| parquet_rows(&path)).collect();
        assert!(rows.len() > 1 && rows.iter().sum::<usize>() == 20_000, "{rows:?}");
    }

    /// A file, or a folder, with orders of these ids.
    fn file(&self, name: &str, from: i64, to: i64) {
        let query =
            format!("select g::int8 as id, 'order ' || g as note from generate_series({from}, {to}) g");
        self.shell(name, &format!("pgarrow export shop --query \"{query}\" -o {name} --quiet"));
    }

    fn with_files_to_load(&self) {
        self.file("orders.parquet", 1, 100);
        self.file("more.parquet", 101, 200);
        self.file("others/", 201, 300);
        self.file("rest.arrow", 301, 400);
        self.file("changes.parquet", 45, 60);
        self.file("big/", 1001, 1500);
        let make_rows = "import sys, pyarrow as pa\n\
            rows = pa.table({'id': pa.array(range(50, 56), pa.int64()), 'note': [None] * 6})\n\
            rows = rows.cast(pa.schema([('id', pa.int64()), ('note', pa.string())]))\n\
            with pa.ipc.new_stream(sys.stdout.buffer, rows.schema) as stream:\n    stream.write_table(rows)\n";
        fs::write(self.folder.path().join("make_rows.py"), make_rows).unwrap();
        self.execute("me", "new_shop", "CREATE SCHEMA copied");
    }

    fn is_loaded(&self) {
        // 50 to 55 from Python, then others of 45 to 60, 500 more, and those of 1 to 100 that were missing.
        let sum = (1..=100).chain(1001..=1500).sum::<i64>();
        assert_eq!(self.ids("new_shop", "orders"), (600, sum));
        assert_eq!(self.ids("new_shop", "piped"), (600, sum));
        assert_eq!(self.ids("new_shop", "copied.orders"), (600, sum));
        assert_eq!(rejected(&self.folder.path().join("bad.arrow")), (45..=60).collect::<Vec<_>>());
        // Replaced at the end, by the same rows, and more appended.
        assert_eq!(self.ids("shop", "orders"), (200, (1..=200).sum::<i64>()));
    }

    /// Both table formats have what the server has, also after another run that reads new rows only.
    fn has_table_formats(&self) {
        assert_eq!(self.ids("shop", "orders"), (20_000, (1..=20_001).sum::<i64>() - 20_000));
        self.are_in_table_formats();
        self.execute("me", "shop", "UPDATE orders SET note = 'new' WHERE id BETWEEN 100 AND 200");
        let rows = "INSERT INTO orders SELECT id + 30000, placed, total, due, tags, weight, note, now() FROM orders \
             WHERE id <= 150";
        self.execute("me", "shop", rows);
        let again = "pgarrow run shop.toml\npython3 iceberg.py\npython3 delta.py";
        self.shell("docs/src/table-formats.md", again);
        self.are_in_table_formats();
    }

    #[track_caller]
    fn are_in_table_formats(&self) {
        let count = "import os, sys\n\
             from deltalake import DeltaTable\n\
             from pyiceberg.catalog.sql import SqlCatalog\n\
             os.chdir(sys.argv[1])\n\
             iceberg = SqlCatalog('lake', uri='sqlite:///catalog.db').load_table(('public', 'orders'))\n\
             for rows in iceberg.scan().to_arrow(), DeltaTable('lake/public/orders').to_pyarrow_table():\n    \
             print(len(rows), sum(rows['id'].to_pylist()), rows['note'].to_pylist().count('new'))";
        let counted = Python::shared().run(count, &[self.folder.path().to_str().unwrap()]);
        let sql = "SELECT count(*), sum(id)::int8, count(*) FILTER (WHERE note = 'new') FROM orders";
        let row = self.client("me", "shop").query_one(sql, &[]).unwrap();
        let (rows, sum, new) = (row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2));
        let expected = format!("{rows} {sum} {new}");
        assert_eq!(counted.lines().collect::<Vec<_>>(), [&expected, &expected]);
    }

    fn with_parts_to_load(&self) {
        let table = "CREATE TABLE orders (id int8 PRIMARY KEY CHECK (id <> 5), note text)";
        self.execute("me", "shop", table);
        self.file("big/", 1001, 6000);
        self.file("rows.arrows", 101, 200);
        self.file("mixed.parquet", 1, 10);
    }

    fn has_parts(&self) {
        let sum = (1..=10).chain(101..=200).chain(1001..=6000).sum::<i64>();
        assert_eq!(self.ids("shop", "orders"), (5110, sum));
        assert_eq!(rejected(&self.folder.path().join("bad.arrow")), [5]);
    }

    fn with_folders_to_load(&self) {
        let tables = "CREATE TABLE orders_by_year (id int8, note text) PARTITION BY RANGE (id); \
             CREATE TABLE orders_2026 PARTITION OF orders_by_year FOR VALUES FROM (2026000) TO (2027000)";
        self.execute("me", "shop", tables);
        self.file("orders/", 1, 1000);
        self.file("more/", 1001, 1500);
        self.file("orders-2026.parquet", 2_026_001, 2_026_100);
    }

    fn has_what_writers_loaded(&self) {
        assert_eq!(self.ids("shop", "orders"), (1500, (1..=1500).sum()));
        assert_eq!(self.ids("shop", "orders_by_year").0, 100);
    }
}
