//! The same connection strings, environments and files given to psql and to us, against the same servers.
//!
//! ```text
//! cells/*.rs ──▶ Cell ──▶ psql, in an environment and a home of the cell's own ──▶ Outcome ─┐
//!                  └────▶ this program again, as a process, in the same         ──▶ Outcome ─┴▶ Table
//! ```
//!
//! We make every connection that psql makes: as the same user, in the same database, over the same kind of
//! connection. We refuse every one that it refuses. Deliberate differences are in `deliberate.rs` with their
//! reasons, and have to differ.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests, which panic, and a table to be read"
)]

mod cell;
mod cells;
mod certificates;
mod deliberate;
mod outcome;
mod table;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pgarrow_protocol::{Config, Session};
use pgarrow_testkit::{Capability, require};

use self::cell::{Cell, FACTS};
use self::table::{Entry, Table};
use self::world::World;

#[test]
fn psql_and_pgarrow_connect_alike() {
    require!(
        Capability::Tls,
        Capability::PrivateServer,
        Capability::Psql,
        Capability::Newest,
        Capability::Program("openssl")
    );
    let mut world = World::start();
    let mut cells = cells::all(&world);
    let only = std::env::var("PGARROW_TEST_CELLS").unwrap_or_default();
    if !only.is_empty() {
        cells.retain(|cell| format!("{}: {}", cell.group, cell.name).contains(&only));
    }
    // Cells of one state of the server run together; changing it costs a reload.
    let mut states: Vec<&'static str> = Vec::new();
    for cell in &cells {
        if !states.contains(&cell.state) {
            states.push(cell.state);
        }
    }
    let mut entries = Vec::new();
    for state in states {
        world.set_state(state);
        let of_state: Vec<&Cell> = cells.iter().filter(|cell| cell.state == state).collect();
        entries.extend(run(&world, &of_state));
    }
    let table = Table::new(entries);
    table.print();
    table.check(only.is_empty());
}

/// Runs cells, several at a time; each of them is two processes that mostly wait.
fn run(world: &World, cells: &[&Cell]) -> Vec<Entry> {
    let next = AtomicUsize::new(0);
    let entries = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let home = world.home(&cell.home);
                    let theirs = outcome::of_psql(world, cell, &home);
                    let ours = outcome::of_ours(cell, &home);
                    let entry = Entry::new(cell, theirs, ours);
                    entries.lock().unwrap().push(entry);
                }
            });
        }
    });
    let mut entries = entries.into_inner().unwrap();
    entries.sort_by_key(|entry| entry.order);
    entries
}

/// Our side of one cell: the table starts this program again, and reads its output.
#[test]
#[ignore = "a process for each cell of the table, which starts it"]
fn connects_as_a_cell_says() {
    let conninfo = std::env::var("CELL_CONNINFO").expect("the cell's connection string");
    match Config::parse(Some(&conninfo)).and_then(|config| Session::connect(&config)) {
        Err(error) => println!("\n{}{:?}: {error}\n{}", outcome::REFUSED, error.kind(), outcome::END),
        Ok(mut session) => {
            let rows = session.query(FACTS, &[]).unwrap();
            println!("\n{}{}\n{}", outcome::CONNECTED, rows[0].text(0).unwrap(), outcome::END);
            for warning in session.warnings() {
                println!("warning: {warning}");
            }
            session.close();
        }
    }
}
