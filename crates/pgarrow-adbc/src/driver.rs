//! `PgarrowDriver`: the beginning.

use adbc_core::Driver;
use adbc_core::options::{OptionDatabase, OptionValue};

use crate::database::PgarrowDatabase;
use crate::error::Result;

/// The driver. It holds nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct PgarrowDriver;

impl Driver for PgarrowDriver {
    type DatabaseType = PgarrowDatabase;

    fn new_database(&mut self) -> Result<Self::DatabaseType> {
        self.new_database_with_opts([])
    }

    fn new_database_with_opts(
        &mut self,
        opts: impl IntoIterator<Item = (OptionDatabase, OptionValue)>,
    ) -> Result<Self::DatabaseType> {
        PgarrowDatabase::new(opts)
    }
}
