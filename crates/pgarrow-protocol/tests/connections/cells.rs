//! All cells.

mod certificate;
mod hosts;
mod login;
mod session;
mod strings;
mod tls;

use crate::cell::{Cell, Cells};
use crate::world::World;

/// Every cell.
pub(crate) fn all(world: &World) -> Vec<Cell> {
    let mut cells = Cells::default();
    tls::add(&mut cells, world);
    certificate::add(&mut cells, world);
    login::add(&mut cells, world);
    hosts::add(&mut cells, world);
    strings::add(&mut cells, world);
    session::add(&mut cells, world);
    // Names that are the same in every run.
    for (port, word) in [
        (world.tls.port(), "15"),
        (world.direct.port(), "17"),
        (world.plain.port(), "18"),
        (world.closed_port, "CLOSED"),
    ] {
        let port = port.to_string();
        cells.all.iter_mut().for_each(|cell| cell.name = cell.name.replace(&port, word));
    }
    cells.all
}

const SSLMODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// A role at the server with TLS.
fn at_tls(world: &World, user: &str) -> String {
    format!("host=localhost port={} user={user} dbname=postgres", world.tls.port())
}

/// A role at the server of version 17.
fn at_direct(world: &World, user: &str) -> String {
    format!("host=localhost port={} user={user} dbname=postgres", world.direct.port())
}

/// A role at the server without TLS.
fn at_plain(world: &World, user: &str) -> String {
    format!("host=localhost port={} user={user} dbname=postgres", world.plain.port())
}
