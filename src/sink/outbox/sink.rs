//! A query's rows into an outbox, exactly once.
//!
//! Invariant: the outbox keeps the epoch's number in the transaction of its rows, so that a row is there once,
//! whenever the query has to go on from a checkpoint.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};

use super::message::Item;
use super::queue::Outbox;
use crate::error::{Error, Result, SqlState};
use crate::format::JsonEncoder;
use crate::sink::{Outside, Sink, Stopping};
use crate::types::{ChangeBatch, ProcessingTime};

/// How rows lie in an outbox.
pub(in crate::sink) trait Form: Send {
    /// What rows of one micro-batch become.
    ///
    /// # Errors
    /// When a row cannot be written so.
    fn items(&self, rows: &RecordBatch, at: ProcessingTime) -> Result<Vec<Item>>;
}

/// Takes the rows of one query for an outbox.
pub struct OutboxSink {
    outbox: Arc<Outbox>,
    form: Box<dyn Form>,
    writer: u64,
    stopping: Option<Stopping>,
}

impl OutboxSink {
    /// A sink for rows of this schema; what an earlier one left open is given up. `key_column`: rows bring
    /// their idempotency keys there; where that is NULL, and otherwise, they get one by epoch and row.
    ///
    /// # Errors
    /// When the column is not there, a column has no form in JSON, or what the disk says.
    pub fn open(outbox: Arc<Outbox>, schema: &SchemaRef, key_column: Option<&str>) -> Result<Self> {
        let key_column = key_column.map(|name| {
            schema.index_of(name).map_err(|_| {
                let text = format!("column \"{name}\" of key_column is not in the sink's query");
                Error::user(SqlState::UndefinedColumn, text)
            })
        });
        let form = JsonRows {
            encoder: JsonEncoder::try_new(Arc::clone(schema))?,
            key_column: key_column.transpose()?,
        };
        Self::with(outbox, Box::new(form))
    }

    /// A sink whose rows lie in the outbox in a form of their own.
    ///
    /// # Errors
    /// What the disk says.
    pub(in crate::sink) fn with(outbox: Arc<Outbox>, form: Box<dyn Form>) -> Result<Self> {
        outbox.recover()?;
        Ok(Self {
            outbox,
            form,
            writer: 0,
            stopping: None,
        })
    }
}

/// A row each, as a JSON object.
struct JsonRows {
    encoder: JsonEncoder,
    /// The column with the rows' idempotency keys.
    key_column: Option<usize>,
}

impl Form for JsonRows {
    fn items(&self, rows: &RecordBatch, at: ProcessingTime) -> Result<Vec<Item>> {
        let keys = match self.key_column {
            Some(column) => Some(cast(rows.column(column), &DataType::Utf8).map_err(|error| {
                Error::internal(format!("an idempotency key has no form as text: {error}"))
            })?),
            None => None,
        };
        let keys = keys.as_ref().map(|keys| keys.as_string::<i32>());
        let key_of = |row: usize| {
            let keys = keys.filter(|keys| keys.is_valid(row))?;
            Some(keys.value(row).to_owned()).filter(|key| !key.is_empty())
        };
        let encoded = self.encoder.encode(rows)?;
        let items = encoded.into_iter().enumerate();
        Ok(items
            .map(|(row, payload)| Item {
                at,
                key: key_of(row),
                rows: 1,
                payload,
            })
            .collect())
    }
}

impl Sink for OutboxSink {
    fn committed(&mut self) -> Result<Outside> {
        Ok(Outside::Epoch(
            self.outbox.committed().map(|(epoch, _)| epoch),
        ))
    }

    fn sign(&mut self, writer: u64) {
        self.writer = writer;
    }

    fn committed_by(&self) -> Option<u64> {
        self.outbox.committed().map(|(_, writer)| writer)
    }

    fn heed(&mut self, stopping: Stopping) {
        self.stopping = Some(stopping);
    }

    fn stage(&mut self, rows: &ChangeBatch, at: ProcessingTime) -> Result<()> {
        if !rows.only_inserts() {
            return Err(Error::internal("a row changes, and the sink only adds"));
        }
        let items = self.form.items(rows.rows(), at)?;
        let stopping = || self.stopping.as_ref().is_some_and(|stopping| stopping());
        self.outbox.stage(items, &stopping)
    }

    fn commit(&mut self, epoch: u64) -> Result<()> {
        self.outbox.commit(epoch, self.writer)
    }

    fn abort(&mut self) -> Result<()> {
        self.outbox.recover()
    }

    fn backlog(&self) -> u64 {
        self.outbox.backlog()
    }

    fn room(&self) -> Option<u64> {
        self.outbox.room()
    }
}
