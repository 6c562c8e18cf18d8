# What people and CI run. `just` alone lists it.

_default:
    @{{ just_executable() }} --justfile {{ justfile() }} --list --unsorted

# Format all sources
fmt:
    cargo fmt --all

# Formatting and clippy, warnings as errors
lint:
    cargo fmt --all --check && cargo clippy --workspace --all-targets --locked -- -D warnings

# The documentation, broken links as errors
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# The tests: just test, just test -p pgarrow-column
test *args:
    cargo test {{ args }}

# Everything that CI runs
ci:
    bash .ci/run

# PostgreSQL to Parquet and Arrow, on data made here: just demo --scale 1
demo *args:
    cargo run --release --locked -p pgarrow-cli -- demo {{ args }}

# The benchmarks, see benches/README.md: just bench wire
bench *args:
    cargo run --release --locked -p pgarrow-bench -- {{ args }}

# libFuzzer on one target, with nightly and cargo-fuzz: just fuzz copy_stream, just fuzz value, just fuzz config protocol
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
