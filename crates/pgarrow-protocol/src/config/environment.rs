//! libpq's environment variables.
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-envars.html>.

use super::parameter::Parameter;
use super::refuse;
use crate::error::Error;

const SUPPORTED: &[(&str, Parameter)] = &[
    ("PGAPPNAME", Parameter::ApplicationName),
    ("PGCLIENTENCODING", Parameter::ClientEncoding),
    ("PGCONNECT_TIMEOUT", Parameter::ConnectTimeout),
    ("PGDATABASE", Parameter::Dbname),
    ("PGHOST", Parameter::Host),
    ("PGOPTIONS", Parameter::Options),
    ("PGPASSFILE", Parameter::Passfile),
    ("PGPASSWORD", Parameter::Password),
    ("PGPORT", Parameter::Port),
    ("PGSSLMODE", Parameter::Sslmode),
    ("PGSSLROOTCERT", Parameter::Sslrootcert),
    ("PGTZ", Parameter::Timezone),
    ("PGUSER", Parameter::User),
];

/// Variables that would change what a connection is, each with the values that change nothing
/// because they are libpq's default or what happens here anyway.
const UNSUPPORTED: &[(&str, &[&str])] = &[
    ("PGCHANNELBINDING", &["prefer", "disable"]),
    ("PGDATESTYLE", &[]),
    ("PGGEQO", &[]),
    ("PGGSSDELEGATION", &["0"]),
    ("PGGSSENCMODE", &["disable", "prefer"]),
    ("PGGSSLIB", &[]),
    ("PGHOSTADDR", &[]),
    ("PGKRBSRVNAME", &["postgres"]),
    ("PGLOADBALANCEHOSTS", &["disable"]),
    ("PGMAXPROTOCOLVERSION", &["3.0", "latest"]),
    ("PGMINPROTOCOLVERSION", &["3.0"]),
    ("PGREQUIREAUTH", &[]),
    ("PGREQUIREPEER", &[]),
    ("PGREQUIRESSL", &["0"]),
    ("PGSERVICE", &[]),
    ("PGSSLCERT", &[]),
    ("PGSSLCERTMODE", &["allow", "disable"]),
    ("PGSSLCOMPRESSION", &["0"]),
    ("PGSSLCRL", &[]),
    ("PGSSLCRLDIR", &[]),
    ("PGSSLKEY", &[]),
    ("PGSSLMAXPROTOCOLVERSION", &[]),
    ("PGSSLMINPROTOCOLVERSION", &["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ("PGSSLNEGOTIATION", &["postgres"]),
    ("PGSSLSNI", &["1"]),
    ("PGTARGETSESSIONATTRS", &["any"]),
];

/// The parameters that `environment` sets.
pub(super) fn read(environment: &dyn Fn(&str) -> Option<String>) -> Result<Vec<(Parameter, String)>, Error> {
    for (name, harmless) in UNSUPPORTED {
        match environment(name) {
            Some(value) if !value.is_empty() && !harmless.contains(&value.as_str()) => {
                return Err(refuse(format!(
                    "environment variable {name} is set, which is not supported yet: unset it"
                )));
            }
            _ => {}
        }
    }
    Ok(SUPPORTED.iter().filter_map(|(name, parameter)| Some((*parameter, environment(name)?))).collect())
}
