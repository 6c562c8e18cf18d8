//! Where to connect, as whom, and how carefully: libpq's connection string and environment.
//!
//! ```text
//!  conninfo: URI │ key=value … │ database name     conninfo.rs ─┐
//!  environment: PGHOST, PGPORT, …               environment.rs ─┤ earlier wins
//!  defaults: OS user, socket or localhost, 5432, prefer         ─┘
//!                                 │
//!                                 ▼
//!                              Config ──at connect──▶ password file (passfile.rs), root certificates
//! ```
//!
//! A parameter of libpq that is not supported here is an error that names it, in the string as well
//! as in the environment: dropping `sslcert` or `target_session_attrs` silently would connect to the
//! wrong place, or less carefully than asked for.
//!
//! What differs from libpq on purpose: one host only; `dbname` is never expanded as a connection
//! string of its own; `prefer` does not try again without TLS after the server has refused the user.
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-connect.html> and
//! <https://www.postgresql.org/docs/current/libpq-envars.html>.

mod conninfo;
mod environment;
mod parameter;
mod passfile;
mod sslmode;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::parameter::Parameter;
use self::passfile::Passfile;
pub use self::sslmode::SslMode;
use crate::error::{Error, ErrorKind};

/// Where and how to connect. Made from a connection string and the environment, as psql does it.
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
    /// A name, an address, or the directory of a Unix socket (starts with `/`).
    host: String,
    port: u16,
    /// `None` means: as the user.
    dbname: Option<String>,
    user: String,
    password: Option<String>,
    passfile: Option<PathBuf>,
    home: Option<PathBuf>,
    connect_timeout: Option<Duration>,
    application_name: String,
    options: Option<String>,
    timezone: Option<String>,
    sslmode: SslMode,
    sslrootcert: RootCert,
    keepalives: bool,
    /// The address that answered, for cancel requests and further sessions.
    pinned: Option<SocketAddr>,
}

/// Where trusted certificates come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum RootCert {
    /// `~/.postgresql/root.crt`
    Home,
    File(PathBuf),
    /// What the operating system trusts.
    System,
}

const APPLICATION_NAME: &str = "pgarrow";
const PORT: u16 = 5432;
/// Debian's directory for sockets, then PostgreSQL's own default.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];
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
        // Lossy rather than left out: a PGHOST that is not UTF-8 must not lead to another host.
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
        for (parameter, value) in environment::read(environment)? {
            values.entry(parameter).or_insert(value);
        }
        // As in libpq, an empty value means the default, and still hides the environment's.
        values.retain(|_, value| !value.is_empty());
        Self::from_values(values, environment)
    }

    fn from_values(
        mut values: BTreeMap<Parameter, String>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, Error> {
        let mut take = |parameter| values.remove(&parameter);
        if let Some(encoding) = take(Parameter::ClientEncoding) {
            check_encoding(&encoding)?;
        }
        let port = take(Parameter::Port).map_or(Ok(PORT), |text| parse_port(&text))?;
        let connect_timeout =
            take(Parameter::ConnectTimeout).map_or(Ok(None), |text| parse_timeout(&text))?;
        let keepalives = take(Parameter::Keepalives).map_or(Ok(true), |text| parse_keepalives(&text))?;
        let sslmode = take(Parameter::Sslmode).map(|text| text.parse::<SslMode>()).transpose()?;
        let sslrootcert = match take(Parameter::Sslrootcert) {
            None => RootCert::Home,
            Some(system) if system == "system" => RootCert::System,
            Some(path) => RootCert::File(path.into()),
        };
        let user = match take(Parameter::User) {
            Some(user) => user,
            None => os_user()?,
        };
        let home = environment("HOME").filter(|home| !home.is_empty()).map(PathBuf::from).or_else(os_home);
        let application_name = take(Parameter::ApplicationName);
        let fallback_application_name = take(Parameter::FallbackApplicationName);
        let config = Config {
            host: take(Parameter::Host).unwrap_or_else(|| default_host(port, Path::exists)),
            port,
            dbname: take(Parameter::Dbname),
            user,
            password: take(Parameter::Password),
            passfile: take(Parameter::Passfile).map(PathBuf::from),
            home,
            connect_timeout,
            application_name: application_name
                .or(fallback_application_name)
                .unwrap_or_else(|| APPLICATION_NAME.to_owned()),
            options: take(Parameter::Options),
            timezone: take(Parameter::Timezone),
            sslmode: match (sslmode, &sslrootcert) {
                (Some(sslmode), _) => sslmode,
                (None, RootCert::System) => SslMode::VerifyFull,
                (None, _) => SslMode::Prefer,
            },
            sslrootcert,
            keepalives,
            pinned: None,
        };
        config.check()?;
        Ok(config)
    }

    /// What the setters do not check because they cannot fail.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fields = [
            ("host", Some(self.host.as_str())),
            ("dbname", self.dbname.as_deref()),
            ("user", Some(self.user.as_str())),
            ("password", self.password.as_deref()),
            ("application_name", Some(self.application_name.as_str())),
            ("options", self.options.as_deref()),
            ("timezone", self.timezone.as_deref()),
        ];
        for (name, value) in fields {
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
        if self.host.is_empty() {
            return Err(refuse("host is empty"));
        }
        if self.user.is_empty() {
            return Err(refuse("user is empty"));
        }
        if !self.is_unix_socket() && self.host.contains(',') {
            return Err(refuse("host is a list: several hosts are not supported yet, give one"));
        }
        if !self.is_unix_socket() && self.host.contains(|c: char| c == '@' || c == '/' || c.is_control()) {
            return Err(refuse(
                "host holds a character that no host name has; in a URI, characters such as @, / and : in a \
                 user name or password must be percent-encoded",
            ));
        }
        if self.port == 0 {
            return Err(refuse("port is 0, use 1 to 65535"));
        }
        if self.sslrootcert == RootCert::System && self.sslmode != SslMode::VerifyFull {
            return Err(refuse(format!(
                "sslmode={} is too weak for sslrootcert=system, use sslmode=verify-full",
                self.sslmode
            )));
        }
        Ok(())
    }

    /// The host name, the address, or the directory of the Unix socket, as given.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port; it is also part of a Unix socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The database; the user's name if none was given.
    pub fn dbname(&self) -> &str {
        self.dbname.as_deref().unwrap_or(&self.user)
    }

    /// The role to log in as.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// What `pg_stat_activity` shows. Default: `pgarrow`.
    pub fn application_name(&self) -> &str {
        &self.application_name
    }

    /// Command-line options for the server, such as `-c statement_timeout=0`.
    pub fn options(&self) -> Option<&str> {
        self.options.as_deref()
    }

    /// How TLS is used, as asked for.
    ///
    /// `require` turns into `verify-ca` when a root certificate is there, as in libpq.
    pub fn sslmode(&self) -> SslMode {
        self.sslmode
    }

    /// The time for TCP, TLS and authentication together. `None`: as long as it takes.
    pub fn connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    /// True if [`host`](Self::host) is the directory of a Unix socket.
    pub fn is_unix_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// `host:port`, or the path of the socket. For messages.
    pub fn endpoint(&self) -> String {
        if self.is_unix_socket() {
            self.socket_path().display().to_string()
        } else if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// What is weak about these settings, one sentence each, for a person to read.
    ///
    /// Reads the password file's permissions if it is going to be used.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.is_remote() && self.effective_sslmode() < SslMode::Require {
            warnings.push(format!(
                "sslmode={} does not enforce TLS to {}: use sslmode=verify-full, or at least require",
                self.sslmode, self.host
            ));
        }
        if self.password.is_none() {
            warnings.extend(self.lookup_passfile().1);
        }
        warnings
    }

    /// Another host: a name, an address, or the directory of a Unix socket.
    pub fn with_host(self, host: impl Into<String>) -> Self {
        Self { host: host.into(), pinned: None, ..self }
    }

    /// Another port. A default host that was found by its socket stays.
    pub fn with_port(self, port: u16) -> Self {
        Self { port, pinned: None, ..self }
    }

    /// Another database.
    pub fn with_dbname(self, dbname: impl Into<String>) -> Self {
        Self { dbname: Some(dbname.into()), ..self }
    }

    /// Another role. The database follows it unless one was given.
    pub fn with_user(self, user: impl Into<String>) -> Self {
        Self { user: user.into(), ..self }
    }

    /// The password. The password file is then not looked at.
    pub fn with_password(self, password: impl Into<String>) -> Self {
        Self { password: Some(password.into()), ..self }
    }

    /// Another password file than `~/.pgpass`.
    pub fn with_passfile(self, passfile: impl Into<PathBuf>) -> Self {
        Self { passfile: Some(passfile.into()), ..self }
    }

    /// What `pg_stat_activity` shows.
    pub fn with_application_name(self, application_name: impl Into<String>) -> Self {
        Self { application_name: application_name.into(), ..self }
    }

    /// Command-line options for the server, such as `-c statement_timeout=0`.
    pub fn with_options(self, options: impl Into<String>) -> Self {
        Self { options: Some(options.into()), ..self }
    }

    /// The session's time zone, sent at startup.
    pub fn with_timezone(self, timezone: impl Into<String>) -> Self {
        Self { timezone: Some(timezone.into()), ..self }
    }

    /// How TLS is used.
    pub fn with_sslmode(self, sslmode: SslMode) -> Self {
        Self { sslmode, ..self }
    }

    /// The file with trusted certificates, in PEM; the path `system` stands for what the operating
    /// system trusts and needs [`SslMode::VerifyFull`].
    pub fn with_sslrootcert(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let sslrootcert = if path == Path::new("system") { RootCert::System } else { RootCert::File(path) };
        Self { sslrootcert, ..self }
    }

    /// The time for TCP, TLS and authentication together. `None`: as long as it takes.
    pub fn with_connect_timeout(self, connect_timeout: Option<Duration>) -> Self {
        Self { connect_timeout, ..self }
    }

    pub(crate) fn with_pinned(self, pinned: Option<SocketAddr>, password: Option<String>) -> Self {
        Self { pinned, password, ..self }
    }

    pub(crate) fn pinned(&self) -> Option<SocketAddr> {
        self.pinned
    }

    pub(crate) fn keepalives(&self) -> bool {
        self.keepalives
    }

    pub(crate) fn timezone(&self) -> Option<&str> {
        self.timezone.as_deref()
    }

    pub(crate) fn socket_path(&self) -> PathBuf {
        Path::new(&self.host).join(socket_name(self.port))
    }

    /// The password: given, or from the password file.
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
            Ok(passfile) => (passfile.password(&self.host, self.port, self.dbname(), &self.user), None),
            Err(warning) => (None, warning),
        }
    }

    /// `sslmode` as it acts: with a root certificate at hand, `require` checks the chain.
    ///
    /// Source: <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBQ-SSL-CERTIFICATES>.
    pub(crate) fn effective_sslmode(&self) -> SslMode {
        if self.sslmode == SslMode::Require && self.root_file().is_some_and(|path| path.exists()) {
            SslMode::VerifyCa
        } else {
            self.sslmode
        }
    }

    pub(crate) fn sslrootcert(&self) -> &RootCert {
        &self.sslrootcert
    }

    /// The file with trusted certificates; `None` for the system's or if there is no home.
    pub(crate) fn root_file(&self) -> Option<PathBuf> {
        match &self.sslrootcert {
            RootCert::System => None,
            RootCert::File(path) => Some(path.clone()),
            RootCert::Home => self.home.as_ref().map(|home| home.join(".postgresql/root.crt")),
        }
    }

    /// Whether there is a network between here and the server: no Unix socket, `localhost` or loopback address.
    pub fn is_remote(&self) -> bool {
        if self.is_unix_socket() || self.host == "localhost" {
            return false;
        }
        !self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "host={} port={} dbname={} user={} sslmode={}",
            self.host,
            self.port,
            self.dbname(),
            self.user,
            self.sslmode
        )
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("dbname", &self.dbname)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "(hidden)"))
            .field("application_name", &self.application_name)
            .field("sslmode", &self.sslmode)
            .field("sslrootcert", &self.sslrootcert)
            .field("connect_timeout", &self.connect_timeout)
            .field("pinned", &self.pinned)
            .finish_non_exhaustive()
    }
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message)
}

fn parse_port(text: &str) -> Result<u16, Error> {
    if text.contains(',') {
        return Err(refuse("port is a list: several hosts are not supported yet, give one"));
    }
    match text.trim().parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(refuse(
            "port is not a number from 1 to 65535; in a URI, characters such as @, / and : in a user name or \
             password must be percent-encoded",
        )),
    }
}

/// Seconds; as in libpq, 0 and less mean no limit.
fn parse_timeout(text: &str) -> Result<Option<Duration>, Error> {
    match text.trim().parse::<i32>() {
        Ok(seconds) => Ok(u64::try_from(seconds).ok().filter(|&n| n > 0).map(Duration::from_secs)),
        Err(_) => Err(refuse("connect_timeout is not a whole number of seconds")),
    }
}

fn parse_keepalives(text: &str) -> Result<bool, Error> {
    match text.trim() {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(refuse("keepalives is neither 0 nor 1")),
    }
}

fn check_encoding(text: &str) -> Result<(), Error> {
    if ["utf8", "utf-8", "unicode", "auto"].iter().any(|name| text.eq_ignore_ascii_case(name)) {
        Ok(())
    } else {
        Err(refuse("client_encoding can only be UTF8: Arrow text is UTF-8, the server converts"))
    }
}

fn os_user() -> Result<String, Error> {
    match nix::unistd::User::from_uid(nix::unistd::geteuid()) {
        Ok(Some(user)) => Ok(user.name),
        _ => Err(refuse(
            "no user given, and the operating system has no name for this one: set user or PGUSER",
        )),
    }
}

fn os_home() -> Option<PathBuf> {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.dir)
}

fn default_host(port: u16, exists: impl Fn(&Path) -> bool) -> String {
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
mod tests;
