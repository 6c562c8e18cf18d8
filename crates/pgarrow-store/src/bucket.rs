//! Requests to one store, and how long they may take.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt};
use pgarrow_sink::SinkError;
use tokio::time::timeout;

use crate::address::{Address, Kind};
use crate::background::{self, IsStopped, Task};
use crate::connect::Clients;
use crate::patience::Patience;
use crate::trouble::Trouble;

/// An object store or a web server, of which nothing is known but where it is.
#[derive(Clone)]
pub(crate) struct Bucket {
    address: Arc<Address>,
    clients: Clients,
    is_stopped: Option<IsStopped>,
}

impl Bucket {
    /// Opens the store at `scheme://rest`. Nothing is sent yet.
    pub(crate) fn open(scheme: &str, rest: &str, options: &[(String, String)]) -> Result<Self, SinkError> {
        let address = Address::parse(scheme, rest)?;
        let clients = Clients::open(&address, options)?;
        Ok(Self { address: Arc::new(address), clients, is_stopped: None })
    }

    pub(crate) fn stopped_when(self, is_stopped: IsStopped) -> Self {
        Self { is_stopped: Some(is_stopped), ..self }
    }

    /// Waits for work that was started with the store.
    pub(crate) fn wait<T>(&self, task: Task<T>) -> Result<T, SinkError> {
        task.wait_unless(self.is_stopped.as_ref())
    }

    /// The size and the version of what is there; `None` for nothing.
    pub(crate) fn head(&self, doing: &str, path: &str) -> Result<Option<ObjectMeta>, SinkError> {
        let object = self.address.object(path)?;
        let store = self.store();
        self.run(doing, path, 0, async move { found(store.head(&object).await) })
    }

    /// Waits for work with the store, as long as it may take with so many bytes.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        doing: &str,
        path: &str,
        n_bytes: usize,
        work: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T, SinkError> {
        let result = self.wait(background::start(self.in_time(n_bytes, work))?)?;
        result.map_err(|trouble| self.failed(doing, path, trouble))
    }

    /// Work with the store that ends in the time that so many bytes have.
    pub(crate) fn in_time<T: Send + 'static>(
        &self,
        n_bytes: usize,
        work: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> impl Future<Output = Result<T, Trouble>> + Send + 'static {
        let kind = self.address.kind;
        let limit = self.patience().in_all(n_bytes);
        async move {
            match timeout(limit, work).await {
                Ok(result) => result.map_err(|error| Trouble::of(kind, &error)),
                Err(_) => Err(Trouble::late(kind)),
            }
        }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The client that tries again by itself.
    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.clients.store)
    }

    pub(crate) fn clients(&self) -> &Clients {
        &self.clients
    }

    pub(crate) fn patience(&self) -> Patience {
        self.clients.patience
    }

    pub(crate) fn is_web(&self) -> bool {
        self.address.kind == Kind::Web
    }

    pub(crate) fn trouble(&self, error: &Error) -> Trouble {
        Trouble::of(self.address.kind, error)
    }

    pub(crate) fn late(&self) -> Trouble {
        Trouble::late(self.address.kind)
    }

    pub(crate) fn odd(&self) -> Trouble {
        Trouble::odd(self.address.kind)
    }

    pub(crate) fn failed(&self, doing: &str, path: &str, trouble: Trouble) -> SinkError {
        let place = self.address.place(path);
        trouble.into_sink_error(doing, &place).with_path(&PathBuf::from(place))
    }
}

/// `None` for what is not there.
pub(crate) fn found<T>(result: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
