//! Addresses and settings to clients of object stores.

use std::env;
use std::fmt;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::{ClientConfigKey, RetryConfig};
use pgarrow_sink::{SinkError, SinkErrorKind};

use crate::address::{Address, Kind};
use crate::patience::{Connector, Patience};

/// Ends what [`Connector`] does not end, such as connecting to a name that resolves to nothing.
const CLIENT_TIMEOUT: &str = "1 day";

/// Clients of one store.
#[derive(Clone)]
pub(crate) struct Clients {
    /// Tries again by itself.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Tries once: who asks has to know whether a request may have been repeated.
    pub(crate) once: Arc<dyn ObjectStore>,
    pub(crate) patience: Patience,
}

impl Clients {
    /// Makes them from the environment, and from options that go before it.
    ///
    /// # Errors
    ///
    /// An option that there is not, or settings that do not fit together.
    pub(crate) fn open(address: &Address, options: &[(String, String)]) -> Result<Self, SinkError> {
        let mut patience = Patience::default();
        let mut others = Vec::new();
        for (name, value) in options {
            let duration =
                || humantime::parse_duration(value).map_err(|_| wrong_option(name, "is no duration, as 30s"));
            match name.as_str() {
                "timeout" => patience.request = duration()?,
                "retry_timeout" => patience.retrying = duration()?,
                "max_retries" => {
                    patience.n_retries = value.parse().map_err(|_| wrong_option(name, "is no number"))?;
                }
                _ => others.push((name.to_ascii_lowercase(), value.clone())),
            }
        }
        let never = RetryConfig { max_retries: 0, ..patience.retry_config() };
        Ok(Self {
            store: client(address, &others, patience, patience.retry_config())?,
            once: client(address, &others, patience, never)?,
            patience,
        })
    }
}

fn client(
    address: &Address,
    options: &[(String, String)],
    patience: Patience,
    retries: RetryConfig,
) -> Result<Arc<dyn ObjectStore>, SinkError> {
    let timeout = ClientConfigKey::Timeout;
    let built: object_store::Result<Arc<dyn ObjectStore>> = match address.kind {
        Kind::S3 => {
            let mut builder = AmazonS3Builder::from_env();
            for (name, value) in options {
                let key: AmazonS3ConfigKey = name.parse().map_err(|_| unknown_option(name))?;
                builder = builder.with_config(key, value);
            }
            let endpoint = |key| builder.get_config_value(&key);
            let endpoints = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
            if is_plain(endpoints.into_iter().find_map(endpoint)) {
                builder = builder.with_config(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp), "true");
            }
            let builder = builder
                .with_bucket_name(&address.authority)
                .with_config(AmazonS3ConfigKey::Client(timeout), CLIENT_TIMEOUT)
                .with_retry(retries)
                .with_http_connector(Connector(patience));
            builder.build().map(|store| Arc::new(store) as _)
        }
        Kind::Google => {
            let mut builder = GoogleCloudStorageBuilder::from_env();
            for (name, value) in options {
                let key: GoogleConfigKey = name.parse().map_err(|_| unknown_option(name))?;
                builder = builder.with_config(key, value);
            }
            let builder = builder
                .with_bucket_name(&address.authority)
                .with_config(GoogleConfigKey::Client(timeout), CLIENT_TIMEOUT)
                .with_retry(retries)
                .with_http_connector(Connector(patience));
            builder.build().map(|store| Arc::new(store) as _)
        }
        Kind::Azure => {
            let mut builder = MicrosoftAzureBuilder::from_env();
            for (name, value) in options {
                let key: AzureConfigKey = name.parse().map_err(|_| unknown_option(name))?;
                builder = builder.with_config(key, value);
            }
            if is_plain(builder.get_config_value(&AzureConfigKey::Endpoint)) {
                builder = builder.with_config(AzureConfigKey::Client(ClientConfigKey::AllowHttp), "true");
            }
            let builder = builder
                .with_url(address.root())
                .with_config(AzureConfigKey::Client(timeout), CLIENT_TIMEOUT)
                .with_retry(retries)
                .with_http_connector(Connector(patience));
            builder.build().map(|store| Arc::new(store) as _)
        }
        Kind::Web => {
            let mut builder =
                HttpBuilder::new().with_url(address.root()).with_config(ClientConfigKey::AllowHttp, "true");
            for (name, value) in options {
                let key: ClientConfigKey = name.parse().map_err(|_| unknown_option(name))?;
                builder = builder.with_config(key, value);
            }
            let builder = builder
                .with_config(timeout, CLIENT_TIMEOUT)
                .with_retry(retries)
                .with_http_connector(Connector(patience));
            builder.build().map(|store| Arc::new(store) as _)
        }
    };
    built.map_err(|error| {
        let secrets = options.iter().map(|(_, value)| value.clone()).chain(values_of_environment());
        let text = without(&innermost(&error), secrets);
        let (place, hint) = (address.place(""), address.kind.credentials_hint());
        SinkError::new(SinkErrorKind::Unsupported, format!("cannot open {place}: {text}; {hint}"))
    })
}

/// Whether a store is asked without TLS: who writes such an address means it.
fn is_plain(endpoint: Option<String>) -> bool {
    endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"))
}

fn unknown_option(name: &str) -> SinkError {
    SinkError::new(SinkErrorKind::Unsupported, format!("a store of this kind has no option {name:?}"))
}

fn wrong_option(name: &str, why: impl fmt::Display) -> SinkError {
    SinkError::new(SinkErrorKind::Unsupported, format!("the value of the option {name:?} {why}"))
}

/// What stores' settings in the environment have as values.
fn values_of_environment() -> impl Iterator<Item = String> {
    let is_setting = |name: &str| ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|start| name.starts_with(start));
    env::vars_os().filter_map(move |(name, value)| {
        is_setting(&name.to_string_lossy()).then(|| value.to_string_lossy().into_owned())
    })
}

/// The text of what is behind an error: it says most.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// A text without values of settings, which may be secrets.
fn without(text: &str, secrets: impl Iterator<Item = String>) -> String {
    // What is shorter is no secret, and would make holes in words.
    let mut secrets: Vec<String> = secrets.filter(|secret| secret.len() >= 4).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: &str, options: &[(&str, &str)]) -> Result<Clients, SinkError> {
        let (scheme, rest) = url.split_once("://").unwrap();
        let options: Vec<_> = options.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Clients::open(&Address::parse(scheme, rest)?, &options)
    }

    #[test]
    fn options_are_checked_and_their_values_not_repeated() {
        let clients =
            open("s3://bucket", &[("timeout", "2s"), ("max_retries", "3"), ("retry_timeout", "1m")]);
        let patience = clients.map(|clients| clients.patience).unwrap();
        assert_eq!((patience.request.as_secs(), patience.n_retries, patience.retrying.as_secs()), (2, 3, 60));
        let key = [("azure_storage_account_key", "a2V5")];
        assert!(open("abfss://c@account.dfs.core.windows.net/x", &key).is_ok());
        assert!(open("az://c/x", &key).is_err() && open("https://host", &[]).is_ok());
        for (url, name) in [
            ("s3://bucket", "timeout"),
            ("s3://bucket", "no_such_option"),
            ("gs://bucket", "google_service_account_key"),
            ("az://container", "azure_storage_account_key"),
            ("https://host", "max_retries"),
            ("https://host", "aws_region"),
        ] {
            let options = [("azure_storage_account_name", "account"), (name, "canary/canary=")];
            let skipped = usize::from(!url.starts_with("az"));
            let text = open(url, &options[skipped..]).map(|_| ()).unwrap_err().to_string();
            assert!(!text.contains("canary"), "{text}");
        }
    }
}
