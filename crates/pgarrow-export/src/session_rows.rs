//! Rows of a statement that a caller runs in a session of its own: whatever the statement is, in whatever
//! transaction. Nothing is planned, locked, or made read-only, and the statement is not changed.
//!
//! ```text
//!  Description ──ResultColumns::of──▶ columns as choices have them, schema, formats for Bind
//!  Portal ──SessionRows::next_batch──▶ RecordBatch
//! ```
//!
//! What an export asks for as the server's text with a cast, comes here in the format text.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use pgarrow_catalog::{KnownTypes, RelationName, table_columns};
use pgarrow_column::make_column;
use pgarrow_decode::{BatchLimits, CopyDecoder, LargeError, LargeSource, StopReason};
use pgarrow_protocol::{ColumnDescription, CopyOutStep, Portal, RowStream, Session};
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::{Hint, PgColumn, PgType, Structure, message};

use crate::choose::{Chosen, all_exist, choose};
use crate::open::known;
use crate::options::ExportOptions;
use crate::plan::{Plan, arrow_schema};
use crate::planner::Slices;
use crate::planner::select::Selection;
use crate::refusal::decode_error;

const SUBJECT: &str = "the result";

/// The bytes of a part of the rows, where they come in parts, about: what a reader that leaves has to wait
/// for at most.
const PART_BYTES: u64 = 16 << 20;
/// The rows of the first part, and the fewest and most of any other.
const FIRST_PART_ROWS: u32 = 4096;
const PART_ROWS: (u64, u64) = (64, 1 << 20);

/// What the rows of a statement become.
#[derive(Clone, Debug)]
pub struct ResultColumns {
    plan: Arc<Plan>,
    text_columns: Vec<bool>,
    limits: BatchLimits,
    memory: Option<usize>,
    has_asked: bool,
}

impl ResultColumns {
    /// The columns of a statement's rows, with the choices of `options` about types, batches and memory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for choices that the columns do not have; errors of the server.
    pub fn of(
        session: &mut Session,
        described: &[ColumnDescription],
        types: &mut KnownTypes,
        options: &ExportOptions,
    ) -> Result<Self> {
        if options.scans_numerics() {
            let text = "a decimal that is found by reading everything first (scan) is for exports";
            let advice = message!["give its digits, as in decimal(38,10)"];
            return Err(Error::new(ErrorKind::Options, text).advice(advice));
        }
        all_exist(options, SUBJECT, described.iter().map(|column| column.name.as_str()))?;
        let (resolved, mut has_asked) = types.columns(session, described)?;
        // The choice of an array's depth asks the server about its elements.
        has_asked |= !options.columns.is_empty();
        let mut chosen = choose(session, SUBJECT, resolved, options)?;
        chosen.columns.iter_mut().for_each(as_it_comes);
        let is_text = |column: &PgColumn| matches!(column.pg_type, PgType::ServerText { .. });
        let text_columns = chosen.columns.iter().map(is_text).collect();
        let version = session.parameter("server_version").unwrap_or_default().to_owned();
        let schema = Arc::new(arrow_schema(&chosen.columns, None, &version, false));
        let memory = options.memory;
        let mut limits = options.limits;
        if let Some(memory) = memory {
            // A batch that is being built beside one that is being used, each with room to grow.
            limits.bytes = limits.bytes.min(memory / 4).max(1);
        }
        let plan = Arc::new(plan_of(chosen, schema));
        Ok(Self { plan, text_columns, limits, memory, has_asked })
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        self.plan.schema()
    }

    /// Which columns must come in the format text.
    pub fn text_columns(&self) -> &[bool] {
        &self.text_columns
    }

    /// Whether the catalog was asked, and so the unnamed statement is another one.
    pub fn has_asked(&self) -> bool {
        self.has_asked
    }

    /// A reader of such rows.
    pub fn rows(&self) -> SessionRows {
        let columns =
            self.plan.columns.iter().map(|column| make_column(&column.pg_type, &column.options, 0)).collect();
        let decoder = CopyDecoder::for_rows(Arc::clone(self.schema()), columns, self.limits);
        SessionRows { columns: self.clone(), decoder, rows_before: 0, bytes: 0, bytes_before: 0 }
    }
}

/// Without a cast, an array of a type that is not decoded comes as one text.
fn as_it_comes(column: &mut PgColumn) {
    if column.pg_type.server_cast().is_some() && matches!(column.pg_type.structure(), Structure::Array(_)) {
        column.pg_type = PgType::ServerText { warn: true };
    }
}

/// For errors about values, which name what is read.
fn plan_of(chosen: Chosen, schema: SchemaRef) -> Plan {
    let selection = Selection::of_query("", &chosen.columns);
    Plan::new(SUBJECT.to_owned(), None, chosen, schema, selection, Slices::one(Vec::new(), "one statement"))
}

/// The Arrow schema of a table, view or other relation, as an export has it.
///
/// # Errors
///
/// The relation does not exist; [`ErrorKind::Options`] for choices that its columns do not have.
pub fn relation_schema(
    session: &mut Session,
    name: &RelationName,
    options: &ExportOptions,
) -> Result<Schema> {
    let relation = known(session, name)?;
    let columns = table_columns(session, &relation, false)?;
    let chosen = choose(session, &relation.to_string(), columns, options)?;
    let version = session.parameter("server_version").unwrap_or_default().to_owned();
    Ok(arrow_schema(&chosen.columns, Some(&relation), &version, false))
}

/// The rows of one statement, or of several executions of it, one behind the other.
#[derive(Debug)]
pub struct SessionRows {
    columns: ResultColumns,
    decoder: CopyDecoder,
    /// Rows of earlier executions.
    rows_before: u64,
    bytes: u64,
    bytes_before: u64,
}

impl SessionRows {
    /// Rows decoded so far.
    pub fn rows(&self) -> u64 {
        self.decoder.rows()
    }

    /// Bytes received so far.
    pub fn bytes(&self) -> u64 {
        self.bytes_before + self.bytes
    }

    /// The rows of the first part, for [`Execution::part_rows`](pgarrow_protocol::Execution::part_rows).
    pub fn first_part_rows() -> u32 {
        FIRST_PART_ROWS
    }

    /// Begins another execution. Its rows follow the present ones, in the same batch if there is room.
    pub fn continue_with_execution(&mut self) {
        self.decoder.continue_with_stream();
        (self.rows_before, self.bytes_before) = (self.decoder.rows(), self.bytes());
        self.bytes = 0;
    }

    /// Receives rows until a batch is full (true), or the execution is over (false). Then
    /// [`take_batch`](Self::take_batch).
    ///
    /// # Errors
    ///
    /// A value that Arrow cannot hold: the portal is then to be abandoned. Errors of the server. A row that
    /// needs more memory than there is.
    pub fn receive(&mut self, session: &mut Session, portal: &mut Portal) -> Result<bool> {
        let Self { columns, decoder, rows_before, .. } = self;
        let average = self.bytes / (decoder.rows() - *rows_before).max(1);
        if let Some(rows) = PART_BYTES.checked_div(average) {
            let rows = rows.clamp(PART_ROWS.0, PART_ROWS.1);
            portal.set_part_rows(u32::try_from(rows).unwrap_or(FIRST_PART_ROWS));
        }
        let mut stream = portal.rows(session);
        loop {
            let decoded = decoder.decode(stream.buffered());
            let decoded = decoded.map_err(|error| decode_error(&columns.plan, None, error))?;
            stream.consume(decoded.used_bytes);
            match decoded.stop {
                StopReason::BatchFull => {
                    self.bytes = stream.bytes_received();
                    return Ok(true);
                }
                StopReason::LargeRow { bytes } => {
                    check_room(columns.memory, bytes)?;
                    receive_large(&columns.plan, &mut stream, decoder)?;
                    continue;
                }
                StopReason::NeedMore | StopReason::OtherMessage => {}
            }
            if let CopyOutStep::Done { rows } = stream.advance().map_err(Error::without_advice)? {
                self.bytes = stream.bytes_received();
                let n_rows = decoder.rows() - *rows_before;
                // Some commands, such as SHOW, count no rows.
                if portal.counted().is_some() && n_rows != rows {
                    let text = format!("{n_rows} rows were decoded, but the server sent {rows}");
                    return Err(Error::new(ErrorKind::Protocol, text));
                }
                return Ok(false);
            }
        }
    }

    /// The rows that were received, as a batch; `None` if there are none.
    ///
    /// # Errors
    ///
    /// Text that is not UTF-8.
    pub fn take_batch(&mut self) -> Result<Option<RecordBatch>> {
        self.decoder.flush().map_err(|error| decode_error(&self.columns.plan, None, error))
    }
}

/// Refuses a row that needs more than the memory that was allowed.
fn check_room(memory: Option<usize>, row_bytes: usize) -> Result<()> {
    let needed = row_bytes.saturating_add(row_bytes / 8);
    match memory {
        Some(memory) if needed > memory => {
            let mib = |bytes: usize| bytes.div_ceil(1 << 20);
            let text = format!(
                "{SUBJECT}: the next row needs {} MiB of memory at once, and the limit is {} MiB",
                mib(needed),
                mib(memory)
            );
            let advice = message!["allow more memory (", Hint::memory(needed), ")"];
            Err(Error::new(ErrorKind::Options, text).advice(advice))
        }
        _ => Ok(()),
    }
}

fn receive_large(plan: &Plan, stream: &mut dyn RowStream, decoder: &mut CopyDecoder) -> Result<()> {
    decoder.decode_large(&mut ValueSource(stream)).map_err(|error| match error {
        LargeError::Decode(error) => decode_error(plan, None, error),
        LargeError::Source(error) => Error::without_advice(error),
    })
}

/// Bytes that are received straight into their column.
struct ValueSource<'a>(&'a mut dyn RowStream);

impl LargeSource for ValueSource<'_> {
    type Error = pgarrow_protocol::Error;

    fn receive(&mut self, target: &mut [u8]) -> Result<(), Self::Error> {
        self.0.receive(target)
    }
}
