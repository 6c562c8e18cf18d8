//! Several hosts: names, addresses and ports in three lists of the same length.
//!
//! ```text
//! host=a,b,/run/pg  hostaddr=10.0.0.1,,  port=5432,5433,5434     one port may stand for all
//! ```
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS>;
//! `pqConnectOptions2` in PostgreSQL's `src/interfaces/libpq/fe-connect.c`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::refuse;
use crate::error::Error;

pub(super) const PORT: u16 = 5432;
/// Debian's directory for sockets, then PostgreSQL's own default.
pub(super) const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// One place where a server may be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Host {
    /// A name, an address, or the place of Unix sockets: a directory, or with `@` an abstract name. The
    /// address as text if only `hostaddr` was given.
    pub(crate) name: String,
    /// False if only `hostaddr` was given.
    pub(crate) has_name: bool,
    /// `hostaddr`: with it, no name is looked up.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
    /// The address that answered, for cancel requests and further sessions.
    pub(crate) pinned: Option<SocketAddr>,
}

impl Host {
    pub(crate) fn new(name: String, port: u16) -> Self {
        Self { name, has_name: true, address: None, port, pinned: None }
    }

    /// A socket of this machine: `/directory` or `@abstract`.
    pub(crate) fn is_unix_socket(&self) -> bool {
        self.address.is_none() && self.name.starts_with(['/', '@'])
    }

    /// `host:port`, or the path of the socket.
    pub(crate) fn endpoint(&self) -> String {
        if self.is_unix_socket() {
            return self.socket_path().display().to_string();
        }
        let Self { name, port, .. } = self;
        if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") }
    }

    pub(crate) fn socket_path(&self) -> PathBuf {
        Path::new(&self.name).join(socket_name(self.port))
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.name.contains('\0') {
            return Err(refuse("host holds a zero byte, which would end it early"));
        }
        if self.name.is_empty() {
            return Err(refuse("host is empty"));
        }
        let is_name = !self.name.starts_with(['/', '@']);
        if is_name && self.name.contains(|c: char| c == '@' || c == '/' || c == ',' || c.is_control()) {
            return Err(refuse(
                "host holds a character that no host name has; in a URI, characters such as @, / and : in a \
                 user name or password must be percent-encoded",
            ));
        }
        if self.port == 0 {
            return Err(refuse("port is 0, use 1 to 65535"));
        }
        Ok(())
    }
}

/// Combines the three lists. `None` and the empty text mean the same.
pub(super) fn read(
    host: Option<&str>,
    hostaddr: Option<&str>,
    port: Option<&str>,
    default_name: impl Fn(u16) -> String,
) -> Result<Vec<Host>, Error> {
    let list = |text: Option<&str>| -> Vec<String> {
        text.filter(|text| !text.is_empty())
            .map_or_else(Vec::new, |text| text.split(',').map(str::to_owned).collect())
    };
    let (names, addresses, ports) = (list(host), list(hostaddr), list(port));
    let n_hosts = if addresses.is_empty() { names.len().max(1) } else { addresses.len() };
    if !addresses.is_empty() && !names.is_empty() && names.len() != addresses.len() {
        let counts = format!("{} hosts and {} addresses", names.len(), addresses.len());
        return Err(refuse(format!("host and hostaddr are lists of different lengths: {counts}")));
    }
    if ports.len() > 1 && ports.len() != n_hosts {
        let counts = format!("{} ports for {n_hosts}", ports.len());
        return Err(refuse(format!("port and host are lists of different lengths: {counts}")));
    }
    let mut hosts = Vec::with_capacity(n_hosts);
    for index in 0..n_hosts {
        let port = match ports.get(index).or_else(|| ports.first().filter(|_| ports.len() == 1)) {
            Some(text) if !text.is_empty() => parse_port(text)?,
            _ => PORT,
        };
        let address: Option<IpAddr> = match addresses.get(index) {
            Some(text) if !text.is_empty() => {
                Some(text.parse().map_err(|_| refuse("hostaddr is no IP address"))?)
            }
            _ => None,
        };
        let given = names.get(index).filter(|name| !name.is_empty());
        let name = match (given, address) {
            (Some(name), _) => name.clone(),
            (None, Some(address)) => address.to_string(),
            (None, None) => default_name(port),
        };
        let has_name = given.is_some() || address.is_none();
        hosts.push(Host { name, has_name, address, port, pinned: None });
    }
    Ok(hosts)
}

fn parse_port(text: &str) -> Result<u16, Error> {
    match text.trim().parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(refuse(
            "port is not a number from 1 to 65535; in a URI, characters such as @, / and : in a user name or \
             password must be percent-encoded",
        )),
    }
}

pub(super) fn default_name(port: u16, exists: impl Fn(&Path) -> bool) -> String {
    SOCKET_DIRECTORIES
        .iter()
        .find(|directory| exists(&Path::new(directory).join(socket_name(port))))
        .unwrap_or(&"localhost")
        .to_string()
}

/// Source: `UNIXSOCK_PATH` in PostgreSQL's `src/include/libpq/pqcomm.h`.
fn socket_name(port: u16) -> String {
    format!(".s.PGSQL.{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(host: &str, hostaddr: &str, port: &str) -> Result<String, String> {
        let hosts = read(Some(host), Some(hostaddr), Some(port), |_| "default".to_owned());
        let hosts = hosts.map_err(|error| error.to_string())?;
        Ok(hosts.iter().map(Host::endpoint).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn lists() {
        for (host, hostaddr, port, expected) in [
            ("", "", "", "default:5432"),
            ("a", "", "", "a:5432"),
            ("a,b", "", "", "a:5432 b:5432"),
            ("a,b", "", "7", "a:7 b:7"),
            ("a,,/run", "", "1,,3", "a:1 default:5432 /run/.s.PGSQL.3"),
            ("@x", "", "3", "@x/.s.PGSQL.3"),
            ("", "10.0.0.1,::1", "1,2", "10.0.0.1:1 [::1]:2"),
            ("a,b", "10.0.0.1,", "", "a:5432 b:5432"),
        ] {
            assert_eq!(endpoints(host, hostaddr, port).as_deref(), Ok(expected), "{host} {hostaddr} {port}");
        }
    }

    #[test]
    fn lists_that_do_not_fit() {
        for (host, hostaddr, port, word) in [
            ("a", "10.0.0.1,10.0.0.2", "", "1 hosts and 2 addresses"),
            ("a,b,c", "", "1,2", "2 ports for 3"),
            ("a", "", "1,2", "2 ports for 1"),
            ("a", "b", "", "hostaddr"),
            ("a", "", "0", "port"),
            ("a", "", "x", "port"),
        ] {
            let error = endpoints(host, hostaddr, port).expect_err(host);
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_default_is_a_socket_that_is_there() {
        assert_eq!(default_name(1, |path| path == Path::new("/tmp/.s.PGSQL.1")), "/tmp");
        assert_eq!(default_name(1, |_| true), "/var/run/postgresql");
        assert_eq!(default_name(1, |_| false), "localhost");
    }
}
