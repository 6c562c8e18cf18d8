//! An object that grows part by part, and appears when it is complete.
//!
//! ```text
//! write ─▶ part being filled ─▶ at most 2 parts on their way ─▶ complete: the store puts them together
//!                                                            └ dropped before: the parts are removed
//! ```
//!
//! Parts grow: a store takes at most 10,000 of them, and 5 TiB. (Cloudflare R2 wants parts of one size, and
//! so takes files of up to 6.2 GiB from here.)

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::Duration;

use object_store::path::Path as Object;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayloadMut};
use pgarrow_sink::{SinkError, SinkErrorKind, Upload};
use tokio::time::timeout;

use crate::background::{self, Task};
use crate::bucket::{Bucket, found};
use crate::patience::PIECE_BYTES;
use crate::trouble::Trouble;

/// The size of the first parts.
const PART_BYTES: usize = PIECE_BYTES;

/// After so many parts, they get twice as large.
const DOUBLING_PARTS: usize = 800;

/// How often they do: up to 1 GiB.
const N_DOUBLINGS: usize = 7;

/// What S3 and Google take; Azure takes more.
const N_PARTS_MAX: usize = 10_000;

/// Parts on their way at once.
const N_IN_FLIGHT: usize = 2;

/// What is allocated at a time for the part that is being filled.
const BLOCK_BYTES: usize = 256 << 10;

/// How long a dropped upload waits for the store to remove its parts.
const ABORT_PATIENCE: Duration = Duration::from_secs(20);

/// Bytes that an upload to an object store holds at most, for files of up to 6 GiB: two parts on their way
/// and one that is being filled. For larger ones it is less than a hundredth of their size, and at most 3
/// GiB.
pub const UPLOAD_MEMORY_BYTES: usize = (N_IN_FLIGHT + 1) * PART_BYTES;

/// The size of the part with this number, counted from 0.
fn part_bytes(part: usize) -> usize {
    PART_BYTES << (part / DOUBLING_PARTS).min(N_DOUBLINGS)
}

pub(crate) struct RemoteUpload {
    bucket: Bucket,
    place: PathBuf,
    object: Object,
    part: PutPayloadMut,
    n_parts: usize,
    bytes: u64,
    /// None until there is more than one part.
    multipart: Option<Box<dyn MultipartUpload>>,
    in_flight: VecDeque<Task<Result<(), Trouble>>>,
}

impl RemoteUpload {
    pub(crate) fn new(bucket: Bucket, place: PathBuf, object: Object) -> Self {
        Self {
            bucket,
            place,
            object,
            part: new_part(),
            n_parts: 0,
            bytes: 0,
            multipart: None,
            in_flight: VecDeque::new(),
        }
    }

    /// Sends the part that is being filled. Waits if too many are on their way.
    fn send_part(&mut self) -> io::Result<()> {
        while self.in_flight.len() >= N_IN_FLIGHT {
            self.wait_for_oldest()?;
        }
        if self.n_parts == N_PARTS_MAX {
            let text = "an object store takes no file of more than 5 TiB; write several smaller files";
            return Err(io::Error::other(text));
        }
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            None => {
                let (store, object) = (self.bucket.store(), self.object.clone());
                let begun = wait(&self.bucket, 0, async move { store.put_multipart(&object).await })?;
                self.multipart.insert(begun)
            }
        };
        let payload = mem::replace(&mut self.part, new_part()).freeze();
        let sent = self.bucket.in_time(payload.content_length(), multipart.put_part(payload));
        let task = background::start(sent);
        self.in_flight.push_back(task.map_err(io::Error::other)?);
        self.n_parts += 1;
        Ok(())
    }

    fn wait_for_oldest(&mut self) -> io::Result<()> {
        match self.in_flight.pop_front() {
            Some(task) => self.bucket.wait(task).map_err(io::Error::other)?.map_err(Trouble::into_io),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.multipart.is_none() {
            let payload = mem::take(&mut self.part).freeze();
            let n_bytes = payload.content_length();
            let (store, object) = (self.bucket.store(), self.object.clone());
            return wait(&self.bucket, n_bytes, async move { store.put(&object, payload).await.map(drop) });
        }
        if !self.part.is_empty() {
            self.send_part()?;
        }
        while !self.in_flight.is_empty() {
            self.wait_for_oldest()?;
        }
        let Some(multipart) = self.multipart.take() else { return Ok(()) };
        // A store may copy what it puts together: it has as long as for the largest part.
        let limit = self.bucket.patience().in_all(part_bytes(self.n_parts));
        let work = complete(self.bucket.clone(), multipart, self.object.clone(), self.bytes, limit);
        let completed = background::start(work).and_then(|task| self.bucket.wait(task));
        completed.map_err(io::Error::other)?.map_err(Trouble::into_io)
    }
}

/// Has the store put the parts together.
async fn complete(
    bucket: Bucket,
    mut multipart: Box<dyn MultipartUpload>,
    object: Object,
    n_bytes: u64,
    limit: Duration,
) -> Result<(), Trouble> {
    let trouble = match timeout(limit, multipart.complete()).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => bucket.trouble(&error),
        Err(_) => bucket.late(),
    };
    // The answer may have been lost, and a repeated request be told that there is no such upload any more.
    // That is so if it was completed, or removed.
    let is_gone =
        trouble.is_not_found() || !matches!(timeout(ABORT_PATIENCE, multipart.abort()).await, Ok(Ok(())));
    if is_gone {
        let store = bucket.store();
        let head = timeout(ABORT_PATIENCE, store.head(&object)).await;
        if let Ok(Ok(Some(meta))) = head.map(found) {
            // There was nothing under this name when the upload began.
            if meta.size == n_bytes {
                return Ok(());
            }
        }
    }
    Err(trouble)
}

impl Write for RemoteUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        // Not before there is more: what fits into one part is one request.
        let limit = part_bytes(self.n_parts);
        if self.part.content_length() >= limit {
            self.send_part()?;
        }
        let room = part_bytes(self.n_parts) - self.part.content_length();
        let taken = &bytes[..bytes.len().min(room)];
        self.part.extend_from_slice(taken);
        self.bytes += taken.len() as u64;
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for RemoteUpload {
    fn path(&self) -> &Path {
        &self.place
    }

    fn complete(mut self: Box<Self>) -> Result<(), SinkError> {
        self.finish().map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::PermissionDenied => SinkErrorKind::Permission,
                _ => SinkErrorKind::Io,
            };
            SinkError::new(kind, format!("cannot write {:?}: {error}", self.place)).with_path(&self.place)
        })
    }
}

impl Drop for RemoteUpload {
    fn drop(&mut self) {
        // Parts on their way would come after the end.
        self.in_flight.clear();
        let Some(mut multipart) = self.multipart.take() else { return };
        let aborted = background::start(async move { timeout(ABORT_PATIENCE, multipart.abort()).await })
            .and_then(Task::wait);
        if !matches!(aborted, Ok(Ok(Ok(())))) {
            tracing::warn!(
                target: "pgarrow",
                "parts of {} may be left in the store; a rule of its lifecycle can remove such parts",
                self.place.display()
            );
        }
    }
}

fn new_part() -> PutPayloadMut {
    PutPayloadMut::new().with_block_size(BLOCK_BYTES)
}

/// Waits for work with the store, whose errors become those of a write.
fn wait<T: Send + 'static>(
    bucket: &Bucket,
    n_bytes: usize,
    work: impl Future<Output = object_store::Result<T>> + Send + 'static,
) -> io::Result<T> {
    let result = background::start(bucket.in_time(n_bytes, work)).and_then(|task| bucket.wait(task));
    result.map_err(io::Error::other)?.map_err(Trouble::into_io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_hold_five_tebibytes() {
        let total: u64 = (0..N_PARTS_MAX).map(|part| part_bytes(part) as u64).sum();
        assert!(total >= 5 << 40, "{total}");
        // No part may have more than 5 GiB, and none but the last less than 5 MiB.
        assert!((0..N_PARTS_MAX).all(|part| (5 << 20..=1 << 30).contains(&part_bytes(part))));
    }

    #[test]
    fn memory_is_what_the_constant_says() {
        let mut bytes = 0_u64;
        for part in 0..N_PARTS_MAX {
            let held = 3 * part_bytes(part) as u64;
            if bytes < 6 << 30 {
                assert_eq!(held, UPLOAD_MEMORY_BYTES as u64);
            } else {
                assert!(held <= (bytes / 100), "{part}: {held} of {bytes}");
            }
            bytes += part_bytes(part) as u64;
        }
    }
}
