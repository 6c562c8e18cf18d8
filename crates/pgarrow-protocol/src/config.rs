//! Where to connect, as whom, and how carefully: libpq's connection string and environment.
//!
//! ```text
//!  conninfo: URI │ key=value … │ database name     conninfo.rs ─┐
//!  service file                                     service.rs ─┤ earlier wins
//!  environment: PGHOST, PGPORT, …                 parameter.rs ─┤
//!  defaults: OS user, socket or localhost, 5432, prefer         ─┘
//!                                 │
//!                                 ▼
//!                              Config ──at connect──▶ each host: password file (passfile.rs), certificates
//! ```
//!
//! A parameter of libpq that is not supported here (GSSAPI, OAuth) is an error that names it, in the string
//! as well as in the environment. If it were ignored, the connection could go to the wrong place, or be less
//! careful than the user asked for.
//!
//! What differs from libpq on purpose:
//!
//! - Text always comes as UTF-8, whatever `client_encoding` says; a warning says so.
//! - Keepalives begin after a minute instead of two hours: a server that is gone is noticed within four
//!   minutes.
//! - Without a host, `localhost` is tried where there is no socket.
//! - A `dbname` within a string is never expanded as a connection string of its own.
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-connect.html> and
//! <https://www.postgresql.org/docs/current/libpq-envars.html>.

mod choice;
mod conninfo;
mod hosts;
mod parameter;
mod passfile;
mod read;
mod security;
mod service;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::choice::SslMode;
pub(crate) use self::choice::{ChannelBinding, ProtocolVersion, SslCertMode, TlsVersion};
pub(crate) use self::choice::{LoadBalanceHosts, SslNegotiation, TargetSessionAttrs};
pub(crate) use self::hosts::Host;
use self::passfile::Passfile;
pub(crate) use self::security::AuthMethod;
pub(crate) use self::security::{AuthSettings, RootCert, TlsSettings};
use crate::error::{Error, ErrorKind};

/// Where and how to connect. Read from a connection string and the environment, as psql does it.
///
/// ```no_run
/// use pgarrow_protocol::{Config, Session};
///
/// let config = Config::parse(Some("postgres://reader@db.example/sales"))?.with_application_name("nightly");
/// let session = Session::connect(&config)?;
/// # Ok::<(), pgarrow_protocol::Error>(())
/// ```
///
/// Neither `Display` nor `Debug` shows the password.
#[derive(Clone, Eq, PartialEq)]
#[must_use]
pub struct Config {
    /// At least one. In a session's config, the one that answered.
    hosts: Vec<Host>,
    target_session_attrs: TargetSessionAttrs,
    load_balance_hosts: LoadBalanceHosts,
    /// `None`: the same as the user.
    dbname: Option<String>,
    user: String,
    password: Option<String>,
    passfile: Option<PathBuf>,
    home: Option<PathBuf>,
    connect_timeout: Option<Duration>,
    application_name: String,
    options: Option<String>,
    /// Other parameters of the server's session, sent at startup.
    session_parameters: Vec<(&'static str, String)>,
    tls: TlsSettings,
    auth: AuthSettings,
    keepalives: Keepalives,
    /// Given parameters that have no effect here, one sentence each.
    without_effect: Vec<String>,
}

/// How a dead TCP connection is noticed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Keepalives {
    pub(crate) is_on: bool,
    /// The silence before the first probe.
    pub(crate) idle: Duration,
    pub(crate) interval: Duration,
    /// Probes without an answer before the connection counts as dead.
    pub(crate) count: u32,
    /// How long sent data may stay unacknowledged. `None`: the system's default.
    pub(crate) user_timeout: Option<Duration>,
}

impl Default for Keepalives {
    fn default() -> Self {
        Self {
            is_on: true,
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(15),
            count: 12,
            user_timeout: Some(Duration::from_secs(240)),
        }
    }
}

/// `MAX_STARTUP_PACKET_LENGTH` in PostgreSQL's `src/include/libpq/pqcomm.h`.
const STARTUP_BYTES_MAX: usize = 10_000;

impl Config {
    /// Reads `conninfo`, with the process environment and libpq's defaults for what it leaves out.
    ///
    /// `conninfo` is a URI (`postgres://` or `postgresql://`), a list of `key=value`, or, without
    /// any `=`, a database name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for text that cannot be read, for a parameter or variable that is
    /// unknown or not supported, and for a value that cannot be used. The message names the
    /// parameter and never repeats its value.
    ///
    /// Source: <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING>.
    pub fn parse(conninfo: Option<&str>) -> Result<Config, Error> {
        // Lossy conversion instead of `None`: a PGHOST that is not UTF-8 must not lead to another host.
        Self::parse_with(conninfo, &|name| {
            std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
        })
    }

    /// [`parse`](Self::parse) with another environment than the one of the process.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse).
    pub fn parse_with(
        conninfo: Option<&str>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, Error> {
        let mut values = conninfo::read(conninfo.unwrap_or_default())?;
        let home =
            environment("HOME").filter(|home| !home.is_empty()).map(PathBuf::from).or_else(read::os_home);
        let with_service = |values: &mut parameter::Values| -> Result<(), Error> {
            for (name, variable) in [("service", "PGSERVICE"), ("servicefile", "PGSERVICEFILE")] {
                if let Some(value) = environment(variable) {
                    values.entry(name).or_insert(value);
                }
            }
            service::add_service(values, home.as_deref(), environment)
        };
        with_service(&mut values)?;
        parameter::add_environment(&mut values, environment);
        // The service from the environment is already handled above.
        values.retain(|name, value| {
            !parameter::is_default(name, value) && !matches!(*name, "service" | "servicefile")
        });
        parameter::check_support(&values)?;
        let config = read::config(values, home, environment)?;
        config.check()?;
        Ok(config)
    }

    /// Checks what the setters do not check because they cannot fail.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.hosts.iter().try_for_each(Host::check)?;
        let fields = [
            ("dbname", self.dbname.as_deref()),
            ("user", Some(self.user.as_str())),
            ("password", self.password.as_deref()),
            ("application_name", Some(self.application_name.as_str())),
            ("options", self.options.as_deref()),
        ];
        let session = self.session_parameters.iter().map(|(name, value)| (*name, Some(value.as_str())));
        let fields: Vec<_> = fields.into_iter().chain(session).collect();
        for (name, value) in &fields {
            if value.is_some_and(|value| value.contains('\0')) {
                return Err(refuse(format!(
                    "{name} holds a zero byte, which would end it early on the wire"
                )));
            }
        }
        let startup_bytes: usize =
            fields.iter().filter_map(|(_, value)| value.map(str::len)).sum::<usize>() + 128;
        if startup_bytes > STARTUP_BYTES_MAX {
            return Err(refuse(
                "the connection parameters are longer than the 10,000 bytes a server accepts",
            ));
        }
        if self.user.is_empty() {
            return Err(refuse("user is empty"));
        }
        if self.tls.root_cert == RootCert::System && self.tls.mode != SslMode::VerifyFull {
            return Err(refuse(format!(
                "sslmode={} is too weak for sslrootcert=system, use sslmode=verify-full",
                self.tls.mode
            )));
        }
        if self.tls.negotiation == SslNegotiation::Direct && self.tls.mode < SslMode::Require {
            return Err(refuse(format!(
                "sslmode={} is too weak for sslnegotiation=direct, use sslmode=require or stronger",
                self.tls.mode
            )));
        }
        Ok(())
    }

    /// The host name, the address, or the directory of the Unix socket, as given. The first of several.
    pub fn host(&self) -> &str {
        self.hosts.first().map_or("", |host| host.name.as_str())
    }

    /// The TCP port; it is also part of a Unix socket's name. Of the first of several hosts.
    pub fn port(&self) -> u16 {
        self.hosts.first().map_or(hosts::PORT, |host| host.port)
    }

    /// The database; the user's name if none was given.
    pub fn dbname(&self) -> &str {
        self.dbname.as_deref().unwrap_or(&self.user)
    }

    /// The role to log in as.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The name in `pg_stat_activity`. Default: `pgarrow`.
    pub fn application_name(&self) -> &str {
        &self.application_name
    }

    /// Command-line options for the server, such as `-c statement_timeout=0`.
    pub fn options(&self) -> Option<&str> {
        self.options.as_deref()
    }

    /// How TLS is used, as asked for.
    ///
    /// `require` turns into `verify-ca` if a root certificate exists, as in libpq.
    pub fn sslmode(&self) -> SslMode {
        self.tls.mode
    }

    /// The time for the TCP connection, TLS and authentication together, for each address that is tried.
    /// `None`: no limit.
    pub fn connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    /// True if [`host`](Self::host) is the directory of a Unix socket.
    pub fn is_unix_socket(&self) -> bool {
        self.hosts.first().is_some_and(Host::is_unix_socket)
    }

    /// `host:port`, or the path of the socket; several are separated by commas. For messages.
    pub fn endpoint(&self) -> String {
        self.hosts.iter().map(Host::endpoint).collect::<Vec<_>>().join(",")
    }

    /// Weaknesses of these settings, one sentence each, for people to read.
    ///
    /// Reads the password file's permissions if the file would be used.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.without_effect.clone();
        if self.is_remote() && self.effective_sslmode() < SslMode::Require {
            warnings.push(format!(
                "sslmode={} does not enforce TLS to {}: use sslmode=verify-full, or at least require",
                self.tls.mode,
                self.host()
            ));
        }
        warnings.extend(self.passfile_warning());
        warnings
    }

    /// A warning that the password file is not used, for example because others may read it. As in psql, also
    /// if the server asks for no password. One of [`warnings`](Self::warnings).
    pub fn passfile_warning(&self) -> Option<String> {
        match self.password {
            Some(_) => None,
            None => self.lookup_passfile().1,
        }
    }

    /// Replaces all hosts by one: a name, an address, or the directory of a Unix socket.
    pub fn with_host(self, host: impl Into<String>) -> Self {
        Self { hosts: vec![Host::new(host.into(), self.port())], ..self }
    }

    /// Sets the port of all hosts. A default host that was found by its socket stays.
    pub fn with_port(mut self, port: u16) -> Self {
        for host in &mut self.hosts {
            *host = Host { port, pinned: None, ..host.clone() };
        }
        self
    }

    /// Sets the database.
    pub fn with_dbname(self, dbname: impl Into<String>) -> Self {
        Self { dbname: Some(dbname.into()), ..self }
    }

    /// Sets the role. The database follows it unless one was given.
    pub fn with_user(self, user: impl Into<String>) -> Self {
        Self { user: user.into(), ..self }
    }

    /// Sets the password. The password file is then not read.
    pub fn with_password(self, password: impl Into<String>) -> Self {
        Self { password: Some(password.into()), ..self }
    }

    /// Sets the password file, in place of `~/.pgpass`.
    pub fn with_passfile(self, passfile: impl Into<PathBuf>) -> Self {
        Self { passfile: Some(passfile.into()), ..self }
    }

    /// Sets the name in `pg_stat_activity`.
    pub fn with_application_name(self, application_name: impl Into<String>) -> Self {
        Self { application_name: application_name.into(), ..self }
    }

    /// Command-line options for the server, such as `-c statement_timeout=0`.
    pub fn with_options(self, options: impl Into<String>) -> Self {
        Self { options: Some(options.into()), ..self }
    }

    /// The session's time zone, sent at startup.
    pub fn with_timezone(mut self, timezone: impl Into<String>) -> Self {
        self.session_parameters.retain(|(name, _)| *name != "TimeZone");
        self.session_parameters.push(("TimeZone", timezone.into()));
        self
    }

    /// How TLS is used.
    pub fn with_sslmode(mut self, sslmode: SslMode) -> Self {
        self.tls.mode = sslmode;
        self
    }

    /// The file with trusted certificates, in PEM. The path `system` stands for the operating system's
    /// trusted certificates and needs [`SslMode::VerifyFull`].
    pub fn with_sslrootcert(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.tls.root_cert =
            if path == Path::new("system") { RootCert::System } else { RootCert::File(path) };
        self
    }

    /// The time for the TCP connection, TLS and authentication together, for each address that is tried.
    /// `None`: no limit.
    pub fn with_connect_timeout(self, connect_timeout: Option<Duration>) -> Self {
        Self { connect_timeout, ..self }
    }

    /// One config for each host. A password from the file is looked up when the server asks for it, so that
    /// it goes to no other host.
    pub(crate) fn each_host(&self) -> Vec<Self> {
        self.hosts.iter().map(|host| Self { hosts: vec![host.clone()], ..self.clone() }).collect()
    }

    /// The first host, pinned to this address.
    pub(crate) fn with_pinned(mut self, pinned: Option<SocketAddr>) -> Self {
        self.hosts.truncate(1);
        if let Some(host) = self.hosts.first_mut() {
            host.pinned = pinned;
        }
        self
    }

    /// The only host, or the first.
    pub(crate) fn first_host(&self) -> Option<&Host> {
        self.hosts.first()
    }

    /// The given name, for the check of a certificate; none if only an address was given.
    pub(crate) fn host_name(&self) -> Option<&str> {
        self.hosts.first().filter(|host| host.has_name).map(|host| host.name.as_str())
    }

    pub(crate) fn pinned(&self) -> Option<SocketAddr> {
        self.hosts.first()?.pinned
    }

    pub(crate) fn target_session_attrs(&self) -> TargetSessionAttrs {
        self.target_session_attrs
    }

    pub(crate) fn load_balance_hosts(&self) -> LoadBalanceHosts {
        self.load_balance_hosts
    }

    pub(crate) fn keepalives(&self) -> Keepalives {
        self.keepalives
    }

    /// Parameters of the server's session, by the server's names.
    pub(crate) fn session_parameters(&self) -> &[(&'static str, String)] {
        &self.session_parameters
    }

    pub(crate) fn tls(&self) -> &TlsSettings {
        &self.tls
    }

    pub(crate) fn auth(&self) -> &AuthSettings {
        &self.auth
    }

    /// A file of `~/.postgresql`, if there is a home.
    pub(crate) fn tls_file(&self, name: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(".postgresql").join(name))
    }

    pub(crate) fn socket_path(&self) -> PathBuf {
        self.hosts.first().map(Host::socket_path).unwrap_or_default()
    }

    /// The password: the given one, or the one from the password file.
    pub(crate) fn resolved_password(&self) -> Option<String> {
        self.password.clone().or_else(|| self.lookup_passfile().0)
    }

    fn lookup_passfile(&self) -> (Option<String>, Option<String>) {
        let path = match (&self.passfile, &self.home) {
            (Some(path), _) => path.clone(),
            (None, Some(home)) => home.join(".pgpass"),
            (None, None) => return (None, None),
        };
        match Passfile::read(&path) {
            Ok(passfile) => (passfile.password(self.host(), self.port(), self.dbname(), &self.user), None),
            Err(warning) => (None, warning),
        }
    }

    /// The `sslmode` that applies: if a root certificate exists, `require` checks the chain.
    ///
    /// Source: <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBQ-SSL-CERTIFICATES>.
    pub(crate) fn effective_sslmode(&self) -> SslMode {
        if self.tls.mode == SslMode::Require && self.root_file().is_some_and(|path| path.exists()) {
            SslMode::VerifyCa
        } else {
            self.tls.mode
        }
    }

    /// The file with trusted certificates; `None` for the system's or if there is no home.
    pub(crate) fn root_file(&self) -> Option<PathBuf> {
        match &self.tls.root_cert {
            RootCert::System => None,
            RootCert::File(path) => Some(path.clone()),
            RootCert::Home => self.tls_file("root.crt"),
        }
    }

    /// Whether there is a network between here and the server: true unless the host is a Unix socket,
    /// `localhost` or a loopback address. Looks at the first of several hosts.
    pub fn is_remote(&self) -> bool {
        let Some(host) = self.hosts.first() else { return false };
        if host.is_unix_socket() || (host.name == "localhost" && host.address.is_none()) {
            return false;
        }
        let address = host.address.or_else(|| host.name.parse::<IpAddr>().ok());
        !address.is_some_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |part: fn(&Host) -> String| self.hosts.iter().map(part).collect::<Vec<_>>().join(",");
        write!(
            f,
            "host={} port={} dbname={} user={} sslmode={}",
            list(|host| host.name.clone()),
            list(|host| host.port.to_string()),
            self.dbname(),
            self.user,
            self.tls.mode
        )
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("hosts", &self.hosts)
            .field("dbname", &self.dbname)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "(hidden)"))
            .field("application_name", &self.application_name)
            .field("sslmode", &self.tls.mode)
            .field("root_cert", &self.tls.root_cert)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message)
}

#[cfg(test)]
mod tests;
