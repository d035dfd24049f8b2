//! A materialized view's rows, kept to be asked for while the query runs.
//!
//! Two forms: rows that are only added, and rows that replace others by key.
//! Invariant: a reader sees whole micro-batches only.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, SortField};

use crate::error::{Error, Result, SqlState, from_arrow};
use crate::types::ChangeBatch;

/// Batches with fewer rows are put together.
const ROWS_MIN: usize = 4_096;

/// The rows of a materialized view.
#[derive(Debug)]
pub struct Materialized {
    schema: SchemaRef,
    bytes_max: u64,
    /// The key's columns, if rows replace others.
    key: Option<Vec<usize>>,
    rows: RwLock<Kept>,
}

#[derive(Debug)]
enum Kept {
    /// In the order in which they came.
    Added(Vec<RecordBatch>),
    /// By key; the values are whole rows.
    Latest(BTreeMap<OwnedRow, OwnedRow>, u64),
}

impl Materialized {
    pub(super) fn new(schema: SchemaRef, key: Option<Vec<usize>>, bytes_max: u64) -> Self {
        let rows = RwLock::new(Kept::empty(key.as_ref()));
        Self {
            schema,
            bytes_max,
            key,
            rows,
        }
    }

    /// What its rows look like.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// All rows as of now.
    ///
    /// # Errors
    /// When rows cannot be turned back into columns, which is a mistake of ours.
    pub fn rows(&self) -> Result<Vec<RecordBatch>> {
        match &*self.read() {
            Kept::Added(batches) => Ok(batches.clone()),
            Kept::Latest(rows, _) => {
                let all = converter(&self.schema, None)?;
                let parser = all.parser();
                let rows = rows.values().map(|row| parser.parse(row.as_ref()));
                let columns = all.convert_rows(rows).map_err(from_arrow)?;
                let batch = RecordBatch::try_new(SchemaRef::clone(&self.schema), columns);
                Ok(vec![batch.map_err(from_arrow)?])
            }
        }
    }

    /// Begins again without rows.
    pub(super) fn clear(&self) {
        *self.write() = Kept::empty(self.key.as_ref());
    }

    /// Takes the rows of a micro-batch.
    pub(super) fn apply(&self, batches: &[ChangeBatch]) -> Result<()> {
        if batches.is_empty() {
            return Ok(());
        }
        let mut kept = self.write();
        let held = match (&mut *kept, &self.key) {
            (Kept::Latest(rows, bytes), Some(key)) => {
                for batch in batches {
                    replace(rows, bytes, batch.rows(), key)?;
                }
                *bytes
            }
            (Kept::Added(rows), _) => {
                for batch in batches {
                    add(rows, batch.rows())?;
                }
                rows.iter()
                    .map(|batch| batch.get_array_memory_size() as u64)
                    .sum()
            }
            (Kept::Latest(..), None) => return Err(Error::internal("rows by key without a key")),
        };
        if held <= self.bytes_max {
            return Ok(());
        }
        let budget = self.bytes_max;
        Err(Error::user(
            SqlState::ConfigurationLimitExceeded,
            format!("the materialized view holds {held} bytes, more than its budget of {budget}"),
        )
        .hint("Keep fewer rows: filter them, use larger windows, or raise limits.query_bytes_max."))
    }

    fn read(&self) -> RwLockReadGuard<'_, Kept> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn empty(key: Option<&Vec<usize>>) -> Self {
        match key {
            Some(_) => Self::Latest(BTreeMap::new(), 0),
            None => Self::Added(Vec::new()),
        }
    }
}

fn add(rows: &mut Vec<RecordBatch>, batch: &RecordBatch) -> Result<()> {
    // Copied in any case, so that no fetched buffer is kept alive by a few rows.
    match rows.last_mut() {
        Some(last) if last.num_rows() < ROWS_MIN => {
            *last = concat_batches(&batch.schema(), [&*last, batch]).map_err(from_arrow)?;
        }
        _ => rows.push(concat_batches(&batch.schema(), [batch]).map_err(from_arrow)?),
    }
    Ok(())
}

fn replace(
    rows: &mut BTreeMap<OwnedRow, OwnedRow>,
    bytes: &mut u64,
    batch: &RecordBatch,
    key: &[usize],
) -> Result<()> {
    let (keys, all) = (
        converter(&batch.schema(), Some(key))?,
        converter(&batch.schema(), None)?,
    );
    let key_columns: Vec<_> = key.iter().map(|c| Arc::clone(batch.column(*c))).collect();
    let keys = keys.convert_columns(&key_columns).map_err(from_arrow)?;
    let values = all.convert_columns(batch.columns()).map_err(from_arrow)?;
    let size = |row: &OwnedRow| row.row().data().len() as u64 + 48;
    for (key, value) in keys.iter().zip(values.iter()) {
        let (key, value) = (key.owned(), value.owned());
        *bytes += size(&key) + size(&value);
        let key_bytes = size(&key);
        if let Some(old) = rows.insert(key, value) {
            *bytes -= key_bytes + size(&old);
        }
    }
    Ok(())
}

fn converter(schema: &SchemaRef, columns: Option<&[usize]>) -> Result<RowConverter> {
    let field = |index: usize| SortField::new(schema.field(index).data_type().clone());
    let fields = match columns {
        Some(columns) => columns.iter().map(|c| field(*c)).collect(),
        None => (0..schema.fields().len()).map(field).collect(),
    };
    RowConverter::new(fields).map_err(from_arrow)
}
