//! A materialized view's rows, kept to be asked for while the query runs.
//!
//! Invariant: a reader sees whole micro-batches only.

use std::sync::{PoisonError, RwLock};

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result, SqlState, from_arrow};

/// Batches with fewer rows are put together.
const ROWS_MIN: usize = 4_096;

/// The rows of a materialized view.
#[derive(Debug)]
pub struct Materialized {
    schema: SchemaRef,
    bytes_max: u64,
    rows: RwLock<Vec<RecordBatch>>,
}

impl Materialized {
    pub(super) fn new(schema: SchemaRef, bytes_max: u64) -> Self {
        Self { schema, bytes_max, rows: RwLock::new(Vec::new()) }
    }

    /// What its rows look like.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// All rows as of now. Cheap: the batches are shared.
    pub fn rows(&self) -> Vec<RecordBatch> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Memory that the rows hold, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.rows().iter().map(|batch| batch.get_array_memory_size() as u64).sum()
    }

    /// Begins again without rows.
    pub(super) fn clear(&self) {
        self.rows.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Adds the rows of a micro-batch.
    pub(super) fn append(&self, batches: &[RecordBatch]) -> Result<()> {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        for batch in batches {
            match rows.last_mut() {
                Some(last) if last.num_rows() < ROWS_MIN => {
                    *last = concat_batches(&self.schema, [&*last, batch]).map_err(from_arrow)?;
                }
                _ => rows.push(concat_batches(&self.schema, [batch]).map_err(from_arrow)?),
            }
        }
        let held: u64 = rows.iter().map(|batch| batch.get_array_memory_size() as u64).sum();
        if held > self.bytes_max {
            return Err(Error::user(
                SqlState::ConfigurationLimitExceeded,
                format!("the materialized view holds {held} bytes, more than its budget of {}", self.bytes_max),
            )
            .hint("Keep fewer rows: filter them, use larger windows, or raise limits.query_bytes_max."));
        }
        Ok(())
    }
}
