//! Finds rows that cannot be loaded, leaves them out, and hands them out with the reason.
//!
//! ```text
//!  batches ─▶ rows, encoded ─▶ 4,096 of them: SAVEPOINT, COPY ─▶ loaded
//!               │                    └ refused: ROLLBACK TO, halves, … ─▶ single rows
//!               └ a value that its column cannot hold ─────────────────────┴▶ rejects, in the data's order
//! ```
//!
//! One bad row costs two COPYs per halving. Halves keep their order, so of two rows with one key the first
//! is loaded.

mod reason;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::interleave::interleave_record_batch;
use pgarrow_encode::ValueError;
use pgarrow_protocol::{ServerError, Session};
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::message;
use pgarrow_types::option::{CONVERSIONS, REJECT_LIMIT};

use crate::copied::{Copied, Failed};
use crate::pipe::{Pipe, ended_before};
use crate::plan::{LoadPlan, STAGING};
use crate::progress::LoadProgress;
use crate::queue::Buffer;
use crate::transaction::{server_error_after, with_outcome};
use reason::{is_about_data, reason, reject_schema};

/// The most rows of one COPY.
const ROWS_MAX: usize = 4096;

/// Bytes of rows that also start a COPY.
const BYTES_MAX: usize = 4 << 20;

/// A load without a limit gives up if each of its first rows, this many, is bad.
const FIRST_ROWS: u64 = 1000;

/// Who receives rejected rows.
pub(crate) type Receiver = Box<dyn FnMut(&RecordBatch) -> Result<()> + Send>;

/// Rows that wait to be loaded, and rows that were rejected.
pub(crate) struct Sieve {
    plan: Arc<LoadPlan>,
    target: String,
    /// A trigger or ON CONFLICT may leave rows out.
    pub(crate) may_leave_out: bool,
    schema: SchemaRef,
    receiver: Option<Receiver>,
    limit: Option<u64>,
    batches: Vec<Gathered>,
    bytes: Vec<u8>,
    rows: Vec<Row>,
    rejects: Vec<Reject>,
    /// Rows rejected so far.
    pub(crate) rejected: u64,
    /// Rows of the data that are committed.
    pub(crate) committed: u64,
    /// Rows of the data that earlier loads have finished.
    skipped: u64,
    /// Rejected rows among the first `FIRST_ROWS` after the skipped ones.
    first_bad: u64,
    pub(crate) progress: Arc<LoadProgress>,
}

/// A batch with rows that wait.
struct Gathered {
    batch: RecordBatch,
    /// Rows of the data before the batch.
    rows_before: u64,
}

/// An encoded row.
#[derive(Clone, Copy)]
struct Row {
    place: Place,
    /// The row's end in `bytes`.
    end: usize,
}

/// Index of the batch, and of the row in it.
type Place = (usize, usize);

struct Reject {
    place: Place,
    sqlstate: Option<String>,
    reason: String,
}

/// The result of a flush.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Rows that the server counted.
    pub(crate) rows: u64,
    pub(crate) sent: u64,
    pub(crate) bytes: u64,
    pub(crate) copied: Copied,
}

/// Prints no rows, because they are table data.
impl fmt::Debug for Sieve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sieve of {}: {} rows wait, {} were rejected", self.target, self.rows.len(), self.rejected)
    }
}

impl Sieve {
    pub(crate) fn new(
        plan: Arc<LoadPlan>,
        target: String,
        may_leave_out: bool,
        schema: &Schema,
        limit: Option<u64>,
        skipped: u64,
    ) -> Self {
        Self {
            plan,
            target,
            may_leave_out,
            schema: reject_schema(schema),
            receiver: None,
            limit,
            batches: Vec::new(),
            bytes: Vec::new(),
            rows: Vec::new(),
            rejects: Vec::new(),
            rejected: 0,
            committed: skipped,
            skipped,
            first_bad: 0,
            progress: Arc::default(),
        }
    }

    /// The schema of rejected rows.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Sets where the number of rejected rows is reported.
    pub(crate) fn tell(&mut self, progress: &Arc<LoadProgress>) {
        self.progress = Arc::clone(progress);
    }

    pub(crate) fn set_receiver(&mut self, receiver: Receiver) {
        self.receiver = Some(receiver);
    }

    /// Takes rows of the batch, from `first` on, until the sieve is full. Returns the index after the last
    /// row taken.
    ///
    /// `rows_before`: rows of the data before the batch.
    pub(crate) fn gather(&mut self, batch: &RecordBatch, first: usize, rows_before: u64) -> Result<usize> {
        let plan = Arc::clone(&self.plan);
        let refuse = |error| {
            Error::new(ErrorKind::Value, format!("{}, {}: {}", self.target, plan.place(&error), error.cause))
        };
        let bound = plan.encoder.bind(batch).map_err(refuse)?;
        let index = self.batches.len();
        self.batches.push(Gathered { batch: batch.clone(), rows_before });
        let mut row = first;
        while row < bound.rows() && !self.is_full() {
            let place = (index, row);
            match bound.write_row(row, &mut self.bytes) {
                Ok(()) => self.rows.push(Row { place, end: self.bytes.len() }),
                Err(error) => {
                    let advice = match error.cause {
                        ValueError::LostDigits => format!("; {} rounds them away", CONVERSIONS.to("round")),
                        ValueError::LostBlanks => format!("; {} lets it", CONVERSIONS.to("round")),
                        _ => String::new(),
                    };
                    let reason = format!("{}: {}{advice}", plan.place(&error), error.cause);
                    self.reject(Reject { place, sqlstate: None, reason })?;
                }
            }
            row += 1;
        }
        Ok(row)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() + self.rejects.len() >= ROWS_MAX || self.bytes.len() >= BYTES_MAX
    }

    /// Loads the waiting rows. After an error that ends the load, the caller rolls the session back.
    pub(crate) fn flush(&mut self, session: &mut Option<Session>) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        if !self.rows.is_empty() {
            self.sift(session, 0..self.rows.len(), false, &mut loaded)?;
        }
        self.hand_out()?;
        self.batches.clear();
        self.bytes.clear();
        self.rows.clear();
        Ok(loaded)
    }

    /// Loads these rows, or their halves one after the other. Returns whether any row was rejected.
    ///
    /// `is_bad`: at least one of these rows is known to be bad.
    fn sift(
        &mut self,
        session: &mut Option<Session>,
        range: Range<usize>,
        is_bad: bool,
        loaded: &mut Loaded,
    ) -> Result<bool> {
        let n_rows = range.len();
        if n_rows == 1 || !is_bad {
            match self.attempt(session, range.clone(), loaded)? {
                None => return Ok(false),
                Some(refused) if n_rows == 1 => {
                    let row = self.rows.get(range.start).ok_or_else(ended_before)?;
                    let reason = reason(&refused);
                    self.reject(Reject { place: row.place, sqlstate: Some(refused.sqlstate), reason })?;
                    return Ok(true);
                }
                Some(_) => {}
            }
        }
        let middle = range.start + n_rows / 2;
        let is_left_bad = self.sift(session, range.start..middle, false, loaded)?;
        let is_right_bad = self.sift(session, middle..range.end, !is_left_bad, loaded)?;
        Ok(is_left_bad || is_right_bad)
    }

    /// Loads these rows under a savepoint. Returns the server's error if it is about their data.
    fn attempt(
        &self,
        session: &mut Option<Session>,
        range: Range<usize>,
        loaded: &mut Loaded,
    ) -> Result<Option<ServerError>> {
        let sent = range.len() as u64;
        let mut own = session.take().ok_or_else(ended_before)?;
        let begun = own.execute("SAVEPOINT pgarrow_load");
        if let Err(error) = begun {
            *session = Some(own);
            return Err(self.failed(error, &range));
        }
        let pipe = Pipe::start(own, self.plan.transfer(), self.target.clone())?;
        let rows = self.bytes_of(&range);
        let bytes = rows.len() as u64;
        let (own, result) = pipe.run(Buffer::of(rows)).ok_or_else(ended_before)?;
        let own = session.insert(own);
        let result = match result {
            Ok(copied) => self.insert_from_staging(own, sent, copied.rows).map(|rows| (rows, copied)),
            Err(Failed::Refused { error, .. }) => Err(error),
            Err(Failed::Unexpected(what)) => {
                return Err(Error::new(ErrorKind::Protocol, format!("{}: {what}", self.target)));
            }
        };
        match result {
            Ok((rows, copied)) => {
                if rows != sent && !(self.may_leave_out && rows < sent) {
                    let text =
                        format!("{}: {sent} rows were sent, and the server has counted {rows}", self.target);
                    return Err(Error::new(ErrorKind::Protocol, text));
                }
                loaded.rows += rows;
                loaded.sent += sent;
                loaded.bytes += bytes;
                loaded.copied.send += copied.send;
                loaded.copied.blocked += copied.blocked;
                loaded.copied.wait += copied.wait;
                Ok(None)
            }
            Err(error) if error.server_error().is_some_and(is_about_data) => {
                let undo = "ROLLBACK TO SAVEPOINT pgarrow_load; RELEASE SAVEPOINT pgarrow_load";
                own.execute(undo).map_err(|error| self.failed(error, &range))?;
                Ok(error.server_error().cloned())
            }
            Err(error) => Err(self.failed(error, &range)),
        }
    }

    /// Inserts the rows from the staging table, if there is one, into the target, and empties it. Returns
    /// the server's count.
    fn insert_from_staging(
        &self,
        session: &mut Session,
        sent: u64,
        copied: u64,
    ) -> std::result::Result<u64, pgarrow_protocol::Error> {
        let release = "RELEASE SAVEPOINT pgarrow_load";
        match &self.plan.staging {
            // Rows are missing already; the caller notices by the count.
            Some(_) if copied != sent => Ok(copied),
            Some(staging) => {
                let rows = staging.insert_from_staging(session)?;
                session.execute(&format!("TRUNCATE TABLE {STAGING}; {release}"))?;
                Ok(rows)
            }
            None => session.execute(release).map(|()| copied),
        }
    }

    fn bytes_of(&self, range: &Range<usize>) -> &[u8] {
        let end_of = |index: usize| self.rows.get(index).map_or(0, |row| row.end);
        let start = range.start.checked_sub(1).map_or(0, end_of);
        let end = range.end.checked_sub(1).map_or(0, end_of);
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// An error that is not about a row's data.
    fn failed(&self, error: pgarrow_protocol::Error, range: &Range<usize>) -> Error {
        let number = |index: usize| self.rows.get(index).map_or(0, |row| self.number(row.place));
        let (first, last) = (number(range.start), number(range.end.saturating_sub(1)));
        let place = format!("{}, rows {first} to {last} of the data", self.target);
        server_error_after(error, &place, None, self.committed)
    }

    /// The row's number in the data, from 1.
    fn number(&self, (batch, row): Place) -> u64 {
        self.batches.get(batch).map_or(0, |gathered| gathered.rows_before) + row as u64 + 1
    }

    fn reject(&mut self, reject: Reject) -> Result<()> {
        self.rejected += 1;
        if let Some(limit) = self.limit.filter(|limit| self.rejected > *limit) {
            let row = self.number(reject.place);
            let text = format!(
                "{}: more than {limit} rows cannot be loaded; row {row} of the data is the next",
                self.target
            );
            let mut error = Error::new(ErrorKind::Value, text);
            if let Some(sqlstate) = &reject.sqlstate {
                error = error.advice(format_args!("SQLSTATE {sqlstate}"));
            }
            return Err(error);
        }
        let number = self.number(reject.place);
        let why = match &reject.sqlstate {
            Some(sqlstate) => format!("SQLSTATE {sqlstate}"),
            // If the row was not sent, the reason contains no values.
            None => reject.reason.clone(),
        };
        self.rejects.push(reject);
        self.progress.set_rejected(self.rejected);
        self.first_bad += u64::from(number <= self.skipped + FIRST_ROWS);
        if self.limit.is_none() && self.first_bad == FIRST_ROWS && number <= self.skipped + FIRST_ROWS {
            return Err(self.give_up(number, &why));
        }
        Ok(())
    }

    /// Gives up, so that a user who loads a file of bad rows learns this before each of them is tried. The
    /// rejected rows are handed out first.
    fn give_up(&mut self, number: u64, why: &str) -> Error {
        if let Err(error) = self.hand_out() {
            return error;
        }
        self.progress.give_up();
        let behind = match self.skipped {
            0 => String::new(),
            skipped => format!(" behind row {skipped}"),
        };
        let text = format!(
            "{}: none of the first {FIRST_ROWS} rows{behind} could be loaded (row {number}: {why})",
            self.target
        );
        Error::new(ErrorKind::Server, text).advice(message![
            "with ",
            REJECT_LIMIT.to("ROWS"),
            ", a load goes on until so many are bad"
        ])
    }

    /// Gives the rejected rows to the receiver, in the order of the data.
    fn hand_out(&mut self) -> Result<()> {
        let mut rejects = std::mem::take(&mut self.rejects);
        let Some(receiver) = self.receiver.as_mut().filter(|_| !rejects.is_empty()) else { return Ok(()) };
        rejects.sort_by_key(|reject| reject.place);
        let batches: Vec<&RecordBatch> = self.batches.iter().map(|gathered| &gathered.batch).collect();
        let places: Vec<Place> = rejects.iter().map(|reject| reject.place).collect();
        let number = |&(batch, row): &Place| {
            self.batches.get(batch).map_or(0, |gathered| gathered.rows_before) + row as u64 + 1
        };
        let numbers = UInt64Array::from_iter_values(places.iter().map(number));
        let sqlstates: StringArray = rejects.iter().map(|reject| reject.sqlstate.as_deref()).collect();
        let reasons = StringArray::from_iter_values(rejects.iter().map(|reject| &reject.reason));
        let rows = interleave_record_batch(&batches, &places).and_then(|rows| {
            let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
            columns.extend([Arc::new(numbers) as ArrayRef, Arc::new(sqlstates), Arc::new(reasons)]);
            RecordBatch::try_new(Arc::clone(&self.schema), columns)
        });
        let rows = rows.map_err(|error| {
            Error::new(
                ErrorKind::Value,
                format!("{}: rejected rows cannot be gathered: {error}", self.target),
            )
        })?;
        receiver(&rows)
    }
}

/// Adds to a failed load's error that rejected rows are not final.
pub(crate) fn not_final(error: Error, committed: u64) -> Error {
    with_outcome(error, committed)
        .advice("of the rows that were handed out as rejected, those behind are not final")
}
