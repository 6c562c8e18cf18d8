//! A bucket of an object store, or a web server to read from.

use std::io::Read;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutPayload};
use pgarrow_sink::{Output, SinkError, SinkErrorKind};
use tokio::time::{sleep, timeout};

use crate::Entry;
use crate::address::Kind;
use crate::background::{self, IsStopped};
use crate::bucket::{Bucket, found};
use crate::connect::Clients;
use crate::download;
use crate::patience::Patience;
use crate::trouble::Trouble;
use crate::upload::RemoteUpload;

#[derive(Clone)]
pub(crate) struct Remote {
    bucket: Bucket,
}

impl Remote {
    /// Opens the store at `scheme://rest`. Nothing is sent yet.
    pub(crate) fn open(scheme: &str, rest: &str, options: &[(String, String)]) -> Result<Self, SinkError> {
        Bucket::open(scheme, rest, options).map(|bucket| Self { bucket })
    }

    pub(crate) fn stopped_when(&self, is_stopped: IsStopped) -> Self {
        Self { bucket: self.bucket.clone().stopped_when(is_stopped) }
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    pub(crate) fn location(&self) -> String {
        self.bucket.address().place("")
    }

    pub(crate) fn is_web(&self) -> bool {
        self.bucket.is_web()
    }

    /// Looks before it writes, and not again: not every store can complete an upload on a condition. Of two
    /// that begin the same file at once, the last to publish wins. Names that several processes may choose
    /// are agreed on by `create_new`.
    pub(crate) fn create(&self, path: &str) -> Result<Output, SinkError> {
        self.check_writable("write", path)?;
        let object = self.bucket.address().object(path)?;
        let place = self.bucket.address().place(path);
        if self.bucket.head("look for", path)?.is_some() {
            let text = format!("{place:?} exists already; choose another name or remove it");
            return Err(SinkError::new(SinkErrorKind::Exists, text).with_path(&PathBuf::from(place)));
        }
        Ok(Output::upload(RemoteUpload::new(self.bucket.clone(), PathBuf::from(place), object)))
    }

    /// Two callers with the same bytes are told apart only if all goes well: after a failure, an object with
    /// just these bytes counts as ours.
    pub(crate) fn create_new(&self, path: &str, bytes: &[u8]) -> Result<bool, SinkError> {
        self.check_writable("write", path)?;
        let object = self.bucket.address().object(path)?;
        let (clients, bytes) = (self.bucket.clients().clone(), Bytes::copy_from_slice(bytes));
        self.bucket.run("write", path, bytes.len(), async move { create_new(&clients, &object, bytes).await })
    }

    pub(crate) fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), SinkError> {
        self.check_writable("write", path)?;
        let object = self.bucket.address().object(path)?;
        let (store, bytes) = (self.bucket.store(), Bytes::copy_from_slice(bytes));
        let n_bytes = bytes.len();
        self.bucket.run(
            "write",
            path,
            n_bytes,
            async move { store.put(&object, bytes.into()).await.map(drop) },
        )
    }

    pub(crate) fn reader(&self, path: &str) -> Result<Option<Box<dyn Read + Send>>, SinkError> {
        download::open(self.bucket.clone(), path, self.bucket.address().object(path)?)
    }

    pub(crate) fn list(&self, folder: &str) -> Result<Vec<Entry>, SinkError> {
        self.check_writable("list", folder)?;
        let prefix = self.bucket.address().object(folder)?;
        let mut objects = self.bucket.store().list(Some(&prefix));
        let (bucket, limit) = (self.bucket.clone(), self.bucket.patience().in_all(0));
        let listed = background::start(async move {
            let mut found = Vec::new();
            // Each page has its time: there may be many.
            loop {
                match timeout(limit, objects.try_next()).await {
                    Ok(Ok(Some(object))) => found.push(object),
                    Ok(Ok(None)) => return Ok(found),
                    Ok(Err(error)) => return Err(bucket.trouble(&error)),
                    Err(_) => return Err(bucket.late()),
                }
            }
        });
        let found =
            self.bucket.wait(listed?)?.map_err(|trouble| self.bucket.failed("list", folder, trouble))?;
        let entry = |meta: object_store::ObjectMeta| {
            let path = self.bucket.address().path_of(&meta.location)?;
            Some(Entry { path, bytes: meta.size, modified: SystemTime::from(meta.last_modified) })
        };
        let mut entries: Vec<Entry> = found.into_iter().filter_map(entry).collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    pub(crate) fn remove(&self, path: &str) -> Result<bool, SinkError> {
        self.check_writable("remove", path)?;
        let object = self.bucket.address().object(path)?;
        // S3 says of nothing, too, that it was removed.
        if self.bucket.head("remove", path)?.is_none() {
            return Ok(false);
        }
        let (clients, kind) = (self.bucket.clients().clone(), self.bucket.address().kind);
        self.bucket.run("remove", path, 0, async move {
            let mut tries = Tries::new(clients.patience);
            loop {
                match clients.store.delete(&object).await {
                    Ok(()) => return Ok(true),
                    Err(Error::NotFound { .. }) => return Ok(tries.n > 0),
                    // As part of a POST, it is not tried again by the client.
                    Err(error) if Trouble::of(kind, &error).is_passing() => tries.again(error).await?,
                    Err(error) => return Err(error),
                }
            }
        })
    }

    fn check_writable(&self, doing: &str, path: &str) -> Result<(), SinkError> {
        if !self.bucket.is_web() {
            return Ok(());
        }
        let text = format!(
            "cannot {doing} {:?}: a web server can only be read, one file after the other; files go to a \
             folder, or to s3://, gs:// or az://",
            self.bucket.address().place(path)
        );
        Err(SinkError::new(SinkErrorKind::Unsupported, text))
    }
}

/// How often something was tried, and when it began.
struct Tries {
    n: usize,
    patience: Patience,
    began: Instant,
}

impl Tries {
    fn new(patience: Patience) -> Self {
        Self { n: 0, patience, began: Instant::now() }
    }

    /// Waits before the next try, or gives up with the error of the last.
    async fn again(&mut self, error: Error) -> object_store::Result<()> {
        if self.n >= self.patience.n_retries || self.began.elapsed() > self.patience.retrying {
            return Err(error);
        }
        sleep(Patience::pause(self.n)).await;
        self.n += 1;
        Ok(())
    }
}

/// Whether we made the object.
async fn create_new(clients: &Clients, object: &Path, bytes: Bytes) -> object_store::Result<bool> {
    let mut tries = Tries::new(clients.patience);
    // A try of ours has failed, and may have reached the store all the same.
    let mut is_in_doubt = false;
    loop {
        let payload = PutPayload::from(bytes.clone());
        // One that tries once: `object_store` would repeat it in silence, and be told of its own object.
        match clients.once.put_opts(object, payload, PutMode::Create.into()).await {
            Ok(_) => return Ok(true),
            Err(error @ (Error::AlreadyExists { .. } | Error::Precondition { .. })) => {
                match found(clients.store.head(object).await)? {
                    // A conflict with a writer that has not ended, or one that was removed meanwhile.
                    None => tries.again(error).await?,
                    Some(meta) if is_in_doubt && meta.size == bytes.len() as u64 => {
                        match found(clients.store.get(object).await)? {
                            None => tries.again(error).await?,
                            Some(stored) => return Ok(stored.bytes().await? == bytes),
                        }
                    }
                    Some(_) => return Ok(false),
                }
            }
            // Which store it is decides about texts only.
            Err(error) if Trouble::of(Kind::S3, &error).is_passing() => {
                is_in_doubt = true;
                tries.again(error).await?;
            }
            Err(error) => return Err(error),
        }
    }
}
