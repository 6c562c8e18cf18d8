#![allow(missing_docs, unused_variables, dead_code, clippy::allow_attributes, missing_debug_implementations)]
use std::time::Duration;
#[derive(Debug, Clone)]
pub struct Config;
impl Config {
    pub fn parse(conninfo: Option<&str>) -> Result<Config, Error> { unfinished() }
    pub fn parse_with(conninfo: Option<&str>, environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, Error> { unfinished() }
    pub fn host(&self) -> &str { "" }
    pub fn port(&self) -> u16 { 0 }
    pub fn dbname(&self) -> &str { "" }
    pub fn user(&self) -> &str { "" }
    pub fn application_name(&self) -> &str { "" }
    pub fn options(&self) -> Option<&str> { None }
    pub fn sslmode(&self) -> SslMode { SslMode::Prefer }
    pub fn connect_timeout(&self) -> Option<Duration> { None }
    pub fn warnings(&self) -> Vec<String> { Vec::new() }
    pub fn with_host(self, host: impl Into<String>) -> Config { self }
    pub fn with_port(self, port: u16) -> Config { self }
    pub fn with_dbname(self, dbname: impl Into<String>) -> Config { self }
    pub fn with_user(self, user: impl Into<String>) -> Config { self }
    pub fn with_password(self, password: impl Into<String>) -> Config { self }
    pub fn with_application_name(self, name: impl Into<String>) -> Config { self }
    pub fn with_options(self, options: impl Into<String>) -> Config { self }
    pub fn with_sslmode(self, sslmode: SslMode) -> Config { self }
    pub fn with_sslrootcert(self, path: impl Into<std::path::PathBuf>) -> Config { self }
    pub fn with_connect_timeout(self, timeout: Option<Duration>) -> Config { self }
}
impl std::fmt::Display for Config { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { Ok(()) } }
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SslMode { Disable, Allow, Prefer, Require, VerifyCa, VerifyFull }
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind { Config, Connect, Tls, Auth, Server, Protocol, Closed, Timeout, Interrupted, Io }
#[derive(Debug)]
pub struct Error(Box<()>);
fn unfinished<T>() -> Result<T, Error> { Err(Error(Box::new(()))) }
impl Error {
    pub fn kind(&self) -> ErrorKind { ErrorKind::Protocol }
    pub fn server_error(&self) -> Option<&ServerError> { None }
    pub fn sqlstate(&self) -> Option<&str> { None }
}
impl std::fmt::Display for Error { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { Ok(()) } }
impl std::error::Error for Error {}
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerError { pub severity: String, pub sqlstate: String, pub message: String, pub detail: Option<String>, pub hint: Option<String>, pub position: Option<u32>, pub where_: Option<String>, pub schema: Option<String>, pub table: Option<String>, pub column: Option<String>, pub datatype: Option<String>, pub constraint: Option<String> }
impl std::fmt::Display for ServerError { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { Ok(()) } }
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TransactionStatus { Idle, InTransaction, Failed }
#[derive(Debug)]
pub struct Session(Config);
impl Session {
    pub fn connect(config: &Config) -> Result<Session, Error> { unfinished() }
    pub fn config(&self) -> &Config { &self.0 }
    pub fn endpoint(&self) -> &str { "" }
    pub fn parameter(&self, name: &str) -> Option<&str> { None }
    pub fn server_version_num(&self) -> u32 { 0 }
    pub fn backend_pid(&self) -> Option<i32> { None }
    pub fn transaction_status(&self) -> TransactionStatus { TransactionStatus::Idle }
    pub fn execute(&mut self, sql: &str) -> Result<(), Error> { unfinished() }
    pub fn query(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<Vec<Row>, Error> { unfinished() }
    pub fn describe(&mut self, sql: &str) -> Result<Description, Error> { unfinished() }
    pub fn copy_out(&mut self, sql: &str) -> Result<CopyOut<'_>, Error> { unfinished() }
    pub fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>, Error> { unfinished() }
    pub fn take_notices(&mut self) -> Vec<ServerError> { Vec::new() }
    pub fn canceller(&self) -> Canceller { Canceller }
    pub fn interrupter(&self) -> Interrupter { Interrupter }
    pub fn bytes_received(&self) -> u64 { 0 }
    pub fn warnings(&self) -> &[String] { &[] }
    pub fn close(self) {}
}
#[derive(Clone, Debug)]
pub struct Row;
impl Row { pub fn text(&self, index: usize) -> Option<&str> { None } pub fn len(&self) -> usize { 0 } pub fn is_empty(&self) -> bool { true } }
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Description { pub parameters: Vec<u32>, pub columns: Option<Vec<ColumnDescription>> }
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ColumnDescription { pub name: String, pub table_oid: u32, pub attribute_number: i16, pub type_oid: u32, pub type_length: i16, pub type_modifier: i32 }
#[derive(Debug)]
pub struct CopyOut<'a>(&'a mut Session);
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CopyOutStep { Data, Done { rows: u64 } }
impl CopyOut<'_> {
    pub fn column_count(&self) -> usize { 0 }
    pub fn buffered(&self) -> &[u8] { &[] }
    pub fn consume(&mut self, n_bytes: usize) {}
    pub fn advance(&mut self) -> Result<CopyOutStep, Error> { unfinished() }
    pub fn bytes_received(&self) -> u64 { 0 }
}
#[derive(Debug)]
pub struct CopyIn<'a>(&'a mut Session);
impl CopyIn<'_> {
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> { unfinished() }
    pub fn finish(self) -> Result<u64, Error> { unfinished() }
}
#[derive(Clone, Debug)]
pub struct Canceller;
impl Canceller { pub fn cancel(&self, deadline: Duration) -> Result<(), Error> { unfinished() } }
#[derive(Clone, Debug)]
pub struct Interrupter;
impl Interrupter { pub fn interrupt(&self) {} pub fn is_interrupted(&self) -> bool { false } }
pub fn escape_control(text: &str) -> String { text.to_owned() }
