//! Rows to the server's log: a line a row, with the row as a JSON object, at level `info` under target
//! `sink`, which is shown whatever the level of the rest is.
//!
//! Rows are written as they are staged, so that those of an epoch that is run again come twice.

use arrow::datatypes::SchemaRef;

use super::{Outside, Sink};
use crate::error::Result;
use crate::format::JsonEncoder;
use crate::telemetry::PRINT_TARGET;
use crate::types::{ChangeBatch, ProcessingTime};

/// Writes rows to the log.
#[derive(Debug)]
pub struct PrintSink {
    name: String,
    rows: JsonEncoder,
}

impl PrintSink {
    /// A sink of that name for rows of this schema.
    ///
    /// # Errors
    /// When a column has no form in JSON.
    pub fn try_new(name: &str, schema: SchemaRef) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            rows: JsonEncoder::try_new(schema)?,
        })
    }
}

impl Sink for PrintSink {
    fn committed(&mut self) -> Result<Outside> {
        Ok(Outside::Unknown)
    }

    fn stage(&mut self, rows: &ChangeBatch, _at: ProcessingTime) -> Result<()> {
        let encoded = self.rows.encode(rows.rows())?;
        for (number, row) in encoded.rows().enumerate() {
            let (op, row) = (rows.op(number).name(), String::from_utf8_lossy(row));
            tracing::info!(target: PRINT_TARGET, sink = %self.name, %op, "{row}");
        }
        Ok(())
    }

    fn commit(&mut self, _epoch: u64) -> Result<()> {
        Ok(())
    }

    fn abort(&mut self) -> Result<()> {
        Ok(())
    }

    fn backlog(&self) -> u64 {
        0
    }
}
