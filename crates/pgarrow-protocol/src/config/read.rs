//! From values by name to a [`Config`]: defaults, and the allowed values.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::choice::{
    ChannelBinding, LoadBalanceHosts, ProtocolVersion, SslCertMode, SslMode, SslNegotiation,
    TargetSessionAttrs, TlsVersion,
};
use super::parameter::{SESSION_VARIABLES, Values};
use super::security::{AuthSettings, RequireAuth, RootCert, TlsSettings};
use super::{Config, Keepalives, hosts, refuse};
use crate::error::Error;

const APPLICATION_NAME: &str = "pgarrow";

/// `values` holds no empty text where empty means the default.
pub(super) fn config(
    mut values: Values,
    home: Option<PathBuf>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Error> {
    let mut without_effect = Vec::new();
    if let Some(encoding) = values.remove("client_encoding").filter(|name| !is_utf8(name)) {
        // The warning does not repeat it: it may be a mistyped password.
        let _ = encoding;
        without_effect.push(
            "client_encoding has no effect: text in Arrow is UTF-8, and the server converts".to_owned(),
        );
    }
    if values.remove("sslcompression").is_some_and(|value| value != "0") {
        without_effect.push(
            "sslcompression has no effect: compression within TLS is not safe, and gone from it".to_owned(),
        );
    }
    let user = match values.remove("user") {
        Some(user) => user,
        None => os_user()?,
    };
    let mut take = |name| values.remove(name);
    let (host, hostaddr, port) = (take("host"), take("hostaddr"), take("port"));
    let default_name = |port| hosts::default_name(port, Path::exists);
    let hosts = hosts::read(host.as_deref(), hostaddr.as_deref(), port.as_deref(), default_name)?;
    let connect_timeout = take("connect_timeout")
        .map(|text| parse_integer("connect_timeout", &text))
        .transpose()?
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|&seconds| seconds > 0)
        .map(Duration::from_secs);
    let keepalives = keepalives(&mut take)?;
    let fallback_application_name = take("fallback_application_name");
    let application_name =
        take("application_name").or(fallback_application_name).unwrap_or_else(|| APPLICATION_NAME.to_owned());
    let session_parameters = SESSION_VARIABLES
        .iter()
        .filter_map(|(variable, name)| Some((*name, environment(variable)?)))
        // libpq's word for the server's own default.
        .filter(|(_, value)| !value.eq_ignore_ascii_case("default"))
        .collect();
    Ok(Config {
        hosts,
        target_session_attrs: choice(take("target_session_attrs"), TargetSessionAttrs::Any)?,
        load_balance_hosts: choice(take("load_balance_hosts"), LoadBalanceHosts::Disable)?,
        dbname: take("dbname"),
        user,
        password: take("password"),
        passfile: take("passfile").map(PathBuf::from),
        home,
        connect_timeout,
        application_name,
        options: take("options"),
        session_parameters,
        auth: auth(&mut take)?,
        tls: tls(&mut take)?,
        keepalives,
        without_effect,
    })
}

fn tls(take: &mut impl FnMut(&'static str) -> Option<String>) -> Result<TlsSettings, Error> {
    let root_cert = match take("sslrootcert") {
        None => RootCert::Home,
        Some(system) if system == "system" => RootCert::System,
        Some(path) => RootCert::File(path.into()),
    };
    let default_mode = if root_cert == RootCert::System { SslMode::VerifyFull } else { SslMode::Prefer };
    let mut version = |name| take(name).map(|text| TlsVersion::parse(&text, name)).transpose();
    let (min_version, max_version) =
        (version("ssl_min_protocol_version")?, version("ssl_max_protocol_version")?);
    // libpq's default minimum is TLS 1.2.
    if max_version.is_some_and(|max| max < min_version.unwrap_or(TlsVersion::V1_2)) {
        return Err(refuse(
            "ssl_max_protocol_version is below ssl_min_protocol_version, which is TLSv1.2 by default",
        ));
    }
    Ok(TlsSettings {
        mode: choice(take("sslmode"), default_mode)?,
        negotiation: choice(take("sslnegotiation"), SslNegotiation::Postgres)?,
        root_cert,
        cert: take("sslcert").map(PathBuf::from),
        key: take("sslkey").map(PathBuf::from),
        key_password: take("sslpassword"),
        cert_mode: choice(take("sslcertmode"), SslCertMode::Allow)?,
        crl: take("sslcrl").map(PathBuf::from),
        crl_dir: take("sslcrldir").map(PathBuf::from),
        sni: take("sslsni").is_none_or(|value| value != "0"),
        min_version,
        max_version,
    })
}

fn auth(take: &mut impl FnMut(&'static str) -> Option<String>) -> Result<AuthSettings, Error> {
    let mut version = |name| match take(name).as_deref() {
        None => Ok(None),
        Some("latest") => Ok(Some(ProtocolVersion::V3_2)),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| refuse(format!("{name} is unknown, use one of 3.0, 3.2, latest"))),
    };
    let min_protocol = version("min_protocol_version")?.unwrap_or(ProtocolVersion::V3_0);
    // As in libpq: the oldest version, unless the user asks for a newer minimum; then the newest.
    let newest = if min_protocol > ProtocolVersion::V3_0 { ProtocolVersion::V3_2 } else { min_protocol };
    let max_protocol = version("max_protocol_version")?.unwrap_or(newest);
    if min_protocol > max_protocol {
        return Err(refuse("max_protocol_version is below min_protocol_version"));
    }
    Ok(AuthSettings {
        channel_binding: choice(take("channel_binding"), ChannelBinding::Prefer)?,
        require_auth: take("require_auth").map(|text| RequireAuth::parse(&text)).transpose()?,
        require_peer: take("requirepeer"),
        min_protocol,
        max_protocol,
    })
}

/// As in libpq, 0 means the default: ours for keepalives, the system's for `tcp_user_timeout`.
fn keepalives(take: &mut impl FnMut(&'static str) -> Option<String>) -> Result<Keepalives, Error> {
    let mut number = |name| -> Result<Option<u32>, Error> {
        let value = take(name).map(|text| parse_integer(name, &text)).transpose()?;
        Ok(value.map(|value| u32::try_from(value).unwrap_or(0)))
    };
    let default = Keepalives::default();
    let is_on = number("keepalives")?.is_none_or(|value| value != 0);
    let seconds = |value: Option<u32>, default| match value {
        Some(seconds @ 1..) => Duration::from_secs(seconds.into()),
        _ => default,
    };
    Ok(Keepalives {
        is_on,
        idle: seconds(number("keepalives_idle")?, default.idle),
        interval: seconds(number("keepalives_interval")?, default.interval),
        count: number("keepalives_count")?.filter(|&count| count > 0).unwrap_or(default.count),
        user_timeout: match number("tcp_user_timeout")? {
            None if is_on => default.user_timeout,
            Some(milliseconds @ 1..) => Some(Duration::from_millis(milliseconds.into())),
            _ => None,
        },
    })
}

fn choice<T: FromStr<Err = Error>>(text: Option<String>, default: T) -> Result<T, Error> {
    text.map_or(Ok(default), |text| text.parse())
}

/// As libpq reads them, with spaces around.
fn parse_integer(name: &str, text: &str) -> Result<i32, Error> {
    text.trim().parse().map_err(|_| refuse(format!("{name} is not a whole number")))
}

fn is_utf8(encoding: &str) -> bool {
    ["utf8", "utf-8", "unicode", "auto"].iter().any(|name| encoding.eq_ignore_ascii_case(name))
}

pub(super) fn os_user() -> Result<String, Error> {
    match nix::unistd::User::from_uid(nix::unistd::geteuid()) {
        Ok(Some(user)) => Ok(user.name),
        _ => Err(refuse(
            "no user given, and the operating system has no name for this one: set user or PGUSER",
        )),
    }
}

pub(super) fn os_home() -> Option<PathBuf> {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.dir)
}
