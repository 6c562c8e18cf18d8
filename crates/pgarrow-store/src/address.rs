//! The URLs of stores, and the parts of them.

use object_store::path::Path;
use pgarrow_sink::{SinkError, SinkErrorKind};

/// What a store is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    S3,
    Google,
    Azure,
    /// A web server, which is only read.
    Web,
}

impl Kind {
    /// The next step of whoever has no credentials, or the wrong ones.
    pub(crate) fn credentials_hint(self) -> &'static str {
        match self {
            Self::S3 => {
                "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, what they may do, and whether \
                 they have expired"
            }
            Self::Google => {
                "check GOOGLE_APPLICATION_CREDENTIALS, what its account may do, and whether they have expired"
            }
            Self::Azure => {
                "check AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, what they may do, and whether they \
                 have expired"
            }
            Self::Web => "only files that everybody may read are read",
        }
    }
}

/// A URL that has been looked through: it holds no secret.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) kind: Kind,
    pub(crate) scheme: String,
    /// A bucket, a container, `container@account…`, or a host with its port.
    pub(crate) authority: String,
    /// What all paths of the store begin with.
    pub(crate) prefix: Path,
}

impl Address {
    /// Takes `scheme://rest` apart.
    ///
    /// # Errors
    ///
    /// The scheme is none of ours, or the rest has what may be a secret: a user's name, or a query. Texts do
    /// not repeat it.
    pub(crate) fn parse(scheme: &str, rest: &str) -> Result<Self, SinkError> {
        let refuse = |text: String| Err(SinkError::new(SinkErrorKind::Unsupported, text));
        let kind = match scheme {
            "s3" | "s3a" => Kind::S3,
            "gs" => Kind::Google,
            "az" | "abfs" | "abfss" => Kind::Azure,
            "http" | "https" => Kind::Web,
            _ => return refuse(format!("{scheme}://… is no place that files can go to")),
        };
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let names_an_account = |(container, account): (&str, &str)| {
            scheme.starts_with("abfs") && !container.contains(':') && !account.contains([':', '@'])
        };
        if rest.contains('@') && !authority.split_once('@').is_some_and(names_an_account) {
            return refuse(format!(
                "{scheme}://… has an @, as before a host: names and passwords are no part of the URL of a \
                 store, but of the environment"
            ));
        }
        if rest.contains(['?', '#']) {
            return refuse(format!(
                "{scheme}://… has a ? or #: signatures and options are no part of the URL of a store, but of \
                 the environment"
            ));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]@".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(is_plain) {
            return refuse(format!("{scheme}://… has no name of a bucket, a container or a host"));
        }
        let parsed = match kind {
            // `Path` would leave out the empty name before it.
            _ if prefix.starts_with('/') => {
                return refuse(format!("{scheme}://{authority}//… has an empty name"));
            }
            Kind::Web => Path::from_url_path(prefix),
            // Names of objects, as their stores' own programs take them.
            _ => Path::parse(prefix),
        };
        match parsed {
            Ok(prefix) => {
                Ok(Self { kind, scheme: scheme.to_owned(), authority: authority.to_owned(), prefix })
            }
            Err(_) => refuse(format!("{scheme}://{authority}/… has a path that no object can have")),
        }
    }

    /// The URL without what it holds.
    pub(crate) fn root(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// The URL, or that of a file in the store.
    pub(crate) fn place(&self, path: &str) -> String {
        let parts = [self.root(), self.prefix.to_string(), path.to_owned()];
        parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("/")
    }

    /// The whole name of the object at `path`; `""` is the whole store.
    pub(crate) fn object(&self, path: &str) -> Result<Path, SinkError> {
        let whole = match self.prefix.is_root() {
            true => path.to_owned(),
            false => format!("{}/{path}", self.prefix),
        };
        Path::parse(whole).map_err(|_| {
            SinkError::new(SinkErrorKind::Unsupported, format!("{path:?} is no name that an object can have"))
        })
    }

    /// The path in the store of the object with this whole name; `None` if it is not in the store.
    pub(crate) fn path_of(&self, object: &Path) -> Option<String> {
        let rest = object.as_ref().strip_prefix(self.prefix.as_ref())?;
        match self.prefix.is_root() {
            true => Some(rest.to_owned()),
            false => Some(rest.strip_prefix('/')?.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, SinkError> {
        let (scheme, rest) = url.split_once("://").unwrap();
        Address::parse(scheme, rest)
    }

    #[test]
    fn addresses_are_taken_apart_and_put_together() {
        for (url, expected) in [
            ("s3://bucket", "s3://bucket/a/b"),
            ("s3://bucket/lake/x%20y/", "s3://bucket/lake/x%20y/a/b"),
            ("abfss://c@account.dfs.core.windows.net/x", "abfss://c@account.dfs.core.windows.net/x/a/b"),
            ("az://container/x", "az://container/x/a/b"),
            ("http://127.0.0.1:80/x/", "http://127.0.0.1:80/x/a/b"),
            ("https://[::1]:443", "https://[::1]:443/a/b"),
        ] {
            let address = parse(url).unwrap();
            assert_eq!(address.place("a/b"), expected);
            let object = address.object("a/b").unwrap();
            assert_eq!(address.path_of(&object).unwrap(), "a/b");
            assert!(address.prefix.is_root() || address.path_of(&Path::from("xy/z")).is_none());
        }
    }

    #[test]
    fn what_may_be_a_secret_is_refused_and_not_repeated() {
        for url in [
            "s3://key:canary@bucket/x",
            "s3://canary@bucket",
            "https://user:canary@host/x",
            "https://host/x?sig=canary",
            "az://container/x?sv=canary",
            "abfss://c:canary@account.dfs.core.windows.net/x",
            "abfss://c@a:canary@account.dfs.core.windows.net/x",
            "s3://key:can/ary@bucket",
            "s3://bucket/x#canary",
        ] {
            let text = parse(url).unwrap_err().to_string();
            assert!(!text.contains("canary") && text.contains("://…"), "{text}");
        }
        for url in ["s3://", "s3:///x", "gs://a b/x", "s3://b//x", "s3://b/../x", "ftp://h/x"] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}
