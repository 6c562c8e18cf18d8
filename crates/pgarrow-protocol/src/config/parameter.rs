//! libpq's connection parameters and environment variables, and the support for each.
//!
//! Source: `PQconninfoOptions` and `EnvironmentOptions` in PostgreSQL's
//! `src/interfaces/libpq/fe-connect.c`, 9.6 to 18;
//! <https://www.postgresql.org/docs/current/libpq-envars.html>.

use std::collections::BTreeMap;

use super::refuse;
use crate::error::Error;

/// Values by libpq's name of the parameter.
pub(super) type Values = BTreeMap<&'static str, String>;

/// A parameter, and the variable that gives it a value if it has none.
struct Parameter {
    name: &'static str,
    variable: Option<&'static str>,
    support: Support,
}

enum Support {
    Full,
    /// Only these values, which request nothing.
    Only(&'static [&'static str], Why),
}

/// Why a parameter is not supported, and what to do instead.
type Why = &'static str;

const GSSAPI: Why = "GSSAPI is not spoken here: let the user log in with scram-sha-256 or a certificate";
const OAUTH: Why = "OAuth is not spoken here: let the user log in with scram-sha-256 or a certificate";
const SCRAM_KEYS: Why = "give the password instead";

const fn full(name: &'static str, variable: &'static str) -> Parameter {
    Parameter { name, variable: Some(variable), support: Support::Full }
}

const fn named(name: &'static str) -> Parameter {
    Parameter { name, variable: None, support: Support::Full }
}

const fn only(
    name: &'static str,
    variable: Option<&'static str>,
    harmless: &'static [&'static str],
    why: Why,
) -> Parameter {
    Parameter { name, variable, support: Support::Only(harmless, why) }
}

const PARAMETERS: &[Parameter] = &[
    full("application_name", "PGAPPNAME"),
    full("channel_binding", "PGCHANNELBINDING"),
    full("client_encoding", "PGCLIENTENCODING"),
    full("connect_timeout", "PGCONNECT_TIMEOUT"),
    full("dbname", "PGDATABASE"),
    named("fallback_application_name"),
    // For GSSAPI credentials, which do not exist, since GSSAPI is not supported.
    full("gssdelegation", "PGGSSDELEGATION"),
    only("gssencmode", Some("PGGSSENCMODE"), &["disable", "prefer"], GSSAPI),
    only("gsslib", Some("PGGSSLIB"), &["gssapi"], GSSAPI),
    full("host", "PGHOST"),
    full("hostaddr", "PGHOSTADDR"),
    named("keepalives"),
    named("keepalives_count"),
    named("keepalives_idle"),
    named("keepalives_interval"),
    // The name that GSSAPI would use. GSSAPI is not supported, so nothing depends on it.
    full("krbsrvname", "PGKRBSRVNAME"),
    full("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    full("max_protocol_version", "PGMAXPROTOCOLVERSION"),
    full("min_protocol_version", "PGMINPROTOCOLVERSION"),
    only("oauth_client_id", None, &[], OAUTH),
    only("oauth_client_secret", None, &[], OAUTH),
    only("oauth_issuer", None, &[], OAUTH),
    only("oauth_scope", None, &[], OAUTH),
    full("options", "PGOPTIONS"),
    full("passfile", "PGPASSFILE"),
    full("password", "PGPASSWORD"),
    full("port", "PGPORT"),
    only(
        "replication",
        None,
        &["false", "off", "no", "0"],
        "a replication connection cannot run an export: leave it out",
    ),
    full("require_auth", "PGREQUIREAUTH"),
    full("requirepeer", "PGREQUIREPEER"),
    only("scram_client_key", None, &[], SCRAM_KEYS),
    only("scram_server_key", None, &[], SCRAM_KEYS),
    full("service", "PGSERVICE"),
    full("servicefile", "PGSERVICEFILE"),
    full("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    full("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    full("sslcert", "PGSSLCERT"),
    full("sslcertmode", "PGSSLCERTMODE"),
    full("sslcompression", "PGSSLCOMPRESSION"),
    full("sslcrl", "PGSSLCRL"),
    full("sslcrldir", "PGSSLCRLDIR"),
    full("sslkey", "PGSSLKEY"),
    only("sslkeylogfile", None, &[], "session keys are not written to files: leave it out"),
    full("sslmode", "PGSSLMODE"),
    full("sslnegotiation", "PGSSLNEGOTIATION"),
    named("sslpassword"),
    full("sslrootcert", "PGSSLROOTCERT"),
    full("sslsni", "PGSSLSNI"),
    full("target_session_attrs", "PGTARGETSESSIONATTRS"),
    named("tcp_user_timeout"),
    full("user", "PGUSER"),
];

/// Variables that set parameters of the server's session, by the server's names.
pub(super) const SESSION_VARIABLES: [(&str, &str); 3] =
    [("PGDATESTYLE", "DateStyle"), ("PGTZ", "TimeZone"), ("PGGEQO", "geqo")];

/// The parameter that libpq calls `name`.
///
/// The error repeats an unknown name only if it looks like one: a password with an unquoted space leaves its
/// second half where a name is expected.
pub(super) fn from_name(name: &str) -> Result<&'static str, Error> {
    match PARAMETERS.iter().find(|parameter| parameter.name == name) {
        Some(parameter) => Ok(parameter.name),
        None if looks_like_a_name(name) => Err(refuse(format!("unknown connection parameter \"{name}\""))),
        None => Err(refuse(
            "unknown connection parameter (values with spaces need single quotes; in a URI, characters \
             such as @, /, ? and & must be percent-encoded)",
        )),
    }
}

fn looks_like_a_name(name: &str) -> bool {
    (1..=40).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Words, numbers, and a name that may be empty. For these an empty value is a value, and mostly a wrong one.
const NOT_BY_DEFAULT: [&str; 16] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "sslcertmode",
    "sslmode",
    "sslnegotiation",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// Whether the value counts as left out: as in libpq, an empty value does, except for [`NOT_BY_DEFAULT`].
pub(super) fn is_default(name: &str, value: &str) -> bool {
    value.is_empty() && !NOT_BY_DEFAULT.contains(&name)
}

/// Adds values from `environment` for parameters that `values` lacks.
pub(super) fn add_environment(values: &mut Values, environment: &dyn Fn(&str) -> Option<String>) {
    for parameter in PARAMETERS {
        if let Some(value) = parameter.variable.and_then(environment) {
            values.entry(parameter.name).or_insert(value);
        }
    }
    // Older than sslmode, and weaker than it.
    if environment("PGREQUIRESSL").is_some_and(|value| value.starts_with('1')) {
        values.entry("sslmode").or_insert_with(|| "require".to_owned());
    }
}

/// Refuses values that request something that is not supported.
pub(super) fn check_support(values: &Values) -> Result<(), Error> {
    for parameter in PARAMETERS {
        let Support::Only(harmless, why) = parameter.support else { continue };
        match values.get(parameter.name) {
            Some(value) if !harmless.contains(&value.as_str()) => {
                let variable = parameter.variable.map(|name| format!(" or {name}")).unwrap_or_default();
                return Err(refuse(format!(
                    "connection parameter {}{variable} is not supported with this value: {why}",
                    parameter.name
                )));
            }
            _ => {}
        }
    }
    Ok(())
}
