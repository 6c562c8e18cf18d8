//! `PgarrowDatabase`: how to connect, and the options that its connections begin with.

use std::fmt;

use adbc_core::options::{OptionConnection, OptionDatabase, OptionValue};
use adbc_core::{Database, Optionable};
use pgarrow_protocol::Config;

use crate::connection::PgarrowConnection;
use crate::error::{Result, of_wire};
use crate::settings::Settings;
use crate::value::{double, int, text, unset};

/// A PostgreSQL database that connections are made to. Nothing is connected yet.
#[derive(Default)]
pub struct PgarrowDatabase {
    /// A connection string as psql takes it. What it leaves out comes from the `PG*` environment variables.
    uri: Option<String>,
    username: Option<String>,
    password: Option<String>,
    settings: Settings,
}

/// Without URI and password.
impl fmt::Debug for PgarrowDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgarrowDatabase").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl PgarrowDatabase {
    pub(crate) fn new(opts: impl IntoIterator<Item = (OptionDatabase, OptionValue)>) -> Result<Self> {
        let mut database = Self::default();
        for (key, value) in opts {
            database.set_option(key, value)?;
        }
        // So that what cannot be used is refused here.
        database.config().map(drop)?;
        Ok(database)
    }

    fn config(&self) -> Result<Config> {
        let uri = self.uri.as_deref().filter(|uri| !uri.trim().is_empty());
        let mut config = Config::parse(uri).map_err(of_wire)?;
        if let Some(username) = &self.username {
            config = config.with_user(username);
        }
        if let Some(password) = &self.password {
            config = config.with_password(password);
        }
        Ok(config)
    }
}

impl Database for PgarrowDatabase {
    type ConnectionType = PgarrowConnection;

    fn new_connection(&self) -> Result<Self::ConnectionType> {
        self.new_connection_with_opts([])
    }

    fn new_connection_with_opts(
        &self,
        opts: impl IntoIterator<Item = (OptionConnection, OptionValue)>,
    ) -> Result<Self::ConnectionType> {
        PgarrowConnection::new(&self.config()?, self.settings.for_child(), opts)
    }
}

impl Optionable for PgarrowDatabase {
    type Option = OptionDatabase;

    fn set_option(&mut self, key: Self::Option, value: OptionValue) -> Result<()> {
        let name = key.as_ref().to_owned();
        let value = text(&name, &value)?;
        match key {
            OptionDatabase::Uri => self.uri = Some(value),
            OptionDatabase::Username => self.username = Some(value),
            OptionDatabase::Password => self.password = Some(value),
            _ => self.settings.set(&name, &value)?,
        }
        Ok(())
    }

    /// The password is not given back, nor is a URI that may hold one.
    fn get_option_string(&self, key: Self::Option) -> Result<String> {
        let name = key.as_ref();
        let value = match &key {
            OptionDatabase::Username => self.username.clone(),
            OptionDatabase::Uri | OptionDatabase::Password => None,
            _ => self.settings.get(name).map(str::to_owned),
        };
        value.ok_or_else(|| unset(name))
    }

    fn get_option_bytes(&self, key: Self::Option) -> Result<Vec<u8>> {
        self.get_option_string(key).map(String::into_bytes)
    }

    fn get_option_int(&self, key: Self::Option) -> Result<i64> {
        let name = key.as_ref().to_owned();
        int(&name, &self.get_option_string(key)?)
    }

    fn get_option_double(&self, key: Self::Option) -> Result<f64> {
        let name = key.as_ref().to_owned();
        double(&name, &self.get_option_string(key)?)
    }
}
