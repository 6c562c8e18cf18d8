//! [`PartitionPart`]: one reader's rows by their partitions, within its share of the memory.
//!
//! A file costs memory before its first row: its columns' writers. So the rows of a partition are gathered
//! until they are worth a file, or until their memory is needed.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use pgarrow_sink::{Chunks, Part, SinkError, check_batch};

use super::sink::{OpenFile, Shared, broken, chunk_of};

/// From so many bytes on, rows are worth a file.
const GATHERED_BYTES: usize = 256 << 10;

/// Rows that have gathered in a file, such as a row group, are written by themselves if they are at least so
/// many bytes; otherwise the file is completed.
const ROW_GROUP_BYTES: usize = 4 << 20;

/// Pieces of a partition's rows that are joined when there are so many.
const PIECES_MAX: usize = 16;

pub(crate) struct PartitionPart {
    shared: Arc<Shared>,
    open: HashMap<Box<[u8]>, Partition>,
    /// Bytes that it may hold.
    limit: usize,
    /// Bytes that all partitions hold.
    held: usize,
    n_files: usize,
    /// Grows with each use of a partition.
    uses: u64,
    /// From so many bytes on, rows of a partition become a file.
    gathered_max: usize,
}

/// A partition that has rows in memory, or a file that is being written.
struct Partition {
    values: Vec<Option<String>>,
    folder: String,
    gathered: Vec<RecordBatch>,
    gathered_bytes: usize,
    file: Option<OpenFile>,
    last_use: u64,
    /// Its bytes as they count in the part's.
    counted: usize,
}

impl Partition {
    /// Joins what has gathered in many pieces: of a few rows, most would be the memory of the pieces
    /// themselves.
    fn join_small(&mut self, schema: &SchemaRef) -> Result<(), SinkError> {
        if self.gathered.len() < PIECES_MAX {
            return Ok(());
        }
        let joined = joined(schema, &self.gathered)?;
        self.gathered_bytes = joined.get_array_memory_size();
        self.gathered = vec![joined];
        Ok(())
    }

    fn held(&self, buffer_bytes: usize) -> usize {
        let of_file = self.file.as_ref().map_or(0, |file| {
            let written = usize::try_from(file.written_bytes()).unwrap_or(usize::MAX);
            file.unwritten_bytes().saturating_add(written.min(buffer_bytes))
        });
        self.gathered_bytes.saturating_add(of_file)
    }
}

fn joined(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch, SinkError> {
    concat_batches(schema, batches)
        .map_err(|error| SinkError::encode("join rows of a partition", None, error))
}

impl PartitionPart {
    pub(super) fn open(shared: Arc<Shared>) -> Self {
        // What is worth a file is no more than what fills one.
        let file_bytes = shared.files.file_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let of_columns = shared.working_bytes(0).max(GATHERED_BYTES).min(file_bytes.unwrap_or(usize::MAX));
        Self {
            shared,
            open: HashMap::new(),
            limit: usize::MAX,
            held: 0,
            n_files: 0,
            uses: 0,
            gathered_max: of_columns,
        }
    }

    /// Takes the bytes of a partition into account, after each change.
    fn count(&mut self, id: &[u8]) {
        let buffer_bytes = self.shared.files.buffer_bytes;
        if let Some(partition) = self.open.get_mut(id) {
            let now = partition.held(buffer_bytes);
            self.held = self.held.saturating_sub(partition.counted).saturating_add(now);
            partition.counted = now;
        }
    }

    /// Passes on what it holds until there is room for so many bytes more.
    fn make_room(&mut self, bytes: usize, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        while self.held > 0 && self.held.saturating_add(bytes) > self.limit {
            let largest = self.open.iter().max_by_key(|(_, partition)| partition.counted);
            let Some((id, _)) = largest else { return Ok(()) };
            let id = id.clone();
            self.relieve(&id, chunks)?;
        }
        Ok(())
    }

    /// Writes what a partition holds: a large row group by itself; otherwise its file is completed.
    fn relieve(&mut self, id: &[u8], chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        let file = self.open.get_mut(id).and_then(|partition| partition.file.as_mut());
        match file {
            Some(file) if file.unwritten_bytes() >= ROW_GROUP_BYTES => {
                file.flush()?;
                self.count(id);
                Ok(())
            }
            _ => self.complete(id, chunks),
        }
    }

    /// Completes what there is of a partition. Its next rows begin another file.
    fn complete(&mut self, id: &[u8], chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        let Some(mut partition) = self.open.remove(id) else { return Ok(()) };
        if partition.file.is_none() {
            self.make_place_for_file(chunks)?;
            self.n_files = self.n_files.saturating_add(1);
        }
        self.write_gathered(&mut partition)?;
        self.held = self.held.saturating_sub(partition.counted);
        self.n_files = self.n_files.saturating_sub(1);
        let file = partition.file.ok_or_else(|| broken("a partition has no file"))?;
        chunks.push(chunk_of(file))
    }

    /// Completes the file that was not used for longest, if there are too many.
    fn make_place_for_file(&mut self, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        while self.n_files >= self.shared.open_max {
            let with_file = self.open.iter().filter(|(_, partition)| partition.file.is_some());
            let oldest = with_file.min_by_key(|(_, partition)| partition.last_use);
            let Some((id, _)) = oldest else { return Ok(()) };
            let id = id.clone();
            self.complete(&id, chunks)?;
        }
        Ok(())
    }

    /// Writes the gathered rows of a partition into its file, which is begun if there is none.
    fn write_gathered(&self, partition: &mut Partition) -> Result<(), SinkError> {
        let file = match &mut partition.file {
            Some(file) => file,
            none => none.insert(self.shared.begin(&partition.folder, &partition.values, self.limit)?),
        };
        let gathered = std::mem::take(&mut partition.gathered);
        partition.gathered_bytes = 0;
        match gathered.as_slice() {
            [] => Ok(()),
            [batch] => file.write(batch),
            batches => file.write(&joined(self.shared.keys.in_files(), batches)?),
        }
    }

    /// Writes what has gathered of a partition, once that is worth it.
    fn settle(&mut self, id: &[u8], chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        let of_row_group = |partition: &Partition| partition.gathered_bytes >= self.gathered_max;
        if !self.open.get(id).is_some_and(of_row_group) {
            return Ok(());
        }
        if self.open.get(id).is_some_and(|partition| partition.file.is_none()) {
            self.make_place_for_file(chunks)?;
            self.make_room(self.shared.working_bytes(0), chunks)?;
        }
        // Making room may have completed it.
        let Some(mut partition) = self.open.remove(id) else { return Ok(()) };
        let had_file = partition.file.is_some();
        self.write_gathered(&mut partition)?;
        self.n_files = self.n_files.saturating_add(usize::from(!had_file));
        let written = partition.file.as_ref().map_or(0, OpenFile::written_bytes);
        self.open.insert(id.into(), partition);
        self.count(id);
        match self.shared.files.file_bytes {
            Some(file_bytes) if written >= file_bytes => self.complete(id, chunks),
            _ => Ok(()),
        }
    }

    fn ids(&self) -> Vec<Box<[u8]>> {
        self.open.keys().cloned().collect()
    }
}

impl Part for PartitionPart {
    fn write(&mut self, batch: &RecordBatch, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        let shared = Arc::clone(&self.shared);
        check_batch(&shared.schema, batch)?;
        for group in shared.keys.groups(batch)? {
            let rows = shared.keys.rows_of(batch, &group)?;
            let bytes = rows.get_array_memory_size();
            self.make_room(bytes, chunks)?;
            self.uses = self.uses.saturating_add(1);
            let partition = match self.open.get_mut(&group.id) {
                Some(partition) => partition,
                None => {
                    let (values, folder) = shared.keys.place_of(batch, &group, &shared.folders)?;
                    self.open.entry(group.id.clone()).or_insert(Partition {
                        values,
                        folder,
                        gathered: Vec::new(),
                        gathered_bytes: 0,
                        file: None,
                        last_use: 0,
                        counted: 0,
                    })
                }
            };
            partition.last_use = self.uses;
            partition.gathered.push(rows);
            partition.gathered_bytes = partition.gathered_bytes.saturating_add(bytes);
            partition.join_small(shared.keys.in_files())?;
            self.count(&group.id);
            self.settle(&group.id, chunks)?;
        }
        self.make_room(0, chunks)
    }

    fn flush(&mut self, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        for id in self.ids() {
            self.relieve(&id, chunks)?;
        }
        // What files have in their buffers.
        while self.held > self.limit / 8 {
            let Some((id, _)) = self.open.iter().max_by_key(|(_, partition)| partition.counted) else {
                break;
            };
            let id = id.clone();
            self.complete(&id, chunks)?;
        }
        Ok(())
    }

    fn finish(&mut self, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        self.ids().iter().try_for_each(|id| self.complete(id, chunks))
    }

    /// Rows of a partition are no neighbours anyway. But where an order is declared, rows of another place
    /// begin anew.
    fn jump(&mut self, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        if !self.shared.is_sorted {
            return Ok(());
        }
        for id in self.ids() {
            let has_file = self.open.get(&id).is_some_and(|partition| partition.file.is_some());
            if !has_file {
                self.complete(&id, chunks)?;
            } else if let Some(mut partition) = self.open.remove(&id) {
                self.write_gathered(&mut partition)?;
                partition.file.as_mut().map_or(Ok(()), OpenFile::jump)?;
                self.open.insert(id.clone(), partition);
                self.count(&id);
            }
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.held
    }

    /// Its rows once more, what the format takes for them, and what it may hold besides.
    fn working_bytes(&self, batch_bytes: usize) -> usize {
        let room = if self.limit == usize::MAX { 0 } else { self.limit.saturating_sub(self.held) };
        self.shared.working_bytes(batch_bytes).saturating_add(batch_bytes).saturating_add(room)
    }

    /// Half of it is for what comes while a batch is cut up, so that the caller need not end files early.
    fn set_share(&mut self, bytes: usize) {
        self.limit = bytes / 2;
        self.gathered_max = self.gathered_max.min((self.limit / 4).max(GATHERED_BYTES));
    }
}
