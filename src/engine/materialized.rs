//! A materialized view's rows, kept to be asked for while the query runs, and followed.
//!
//! Three forms: rows that are only added, rows that replace others by key, and whole rows that are
//! counted because nothing in them tells them apart.
//! Invariants: a reader sees whole micro-batches only; a subscriber sees the rows as of one of them
//! and then each later change, once.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};

use super::output::{Emitted, Moment};
use super::subscription::{Subscriber, Subscription, began_anew, subscription};
use crate::error::{Error, Result, SqlState, from_arrow};
use crate::types::{ChangeBatch, Op, ProcessingTime};

/// Batches with fewer rows are put together.
const ROWS_MIN: usize = 4_096;
/// What a kept row costs beside its bytes.
const ROW_OVERHEAD: u64 = 48;

/// What is known of a view's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// None ever changes.
    Added,
    /// These columns tell them apart.
    ByKey(Vec<usize>),
    /// They change, and nothing tells them apart.
    Counted,
}

/// The rows of a materialized view.
#[derive(Debug)]
pub struct Materialized {
    schema: SchemaRef,
    bytes_max: u64,
    form: Form,
    held: RwLock<Held>,
}

#[derive(Debug)]
struct Held {
    rows: Kept,
    subscribers: Vec<Subscriber>,
    /// The query has ended; with its error if it failed.
    ended: Option<Option<Error>>,
}

#[derive(Debug)]
enum Kept {
    /// In the order in which they came.
    Added(Vec<RecordBatch>),
    /// By key; the values are whole rows.
    Latest(BTreeMap<OwnedRow, OwnedRow>, u64),
    /// Whole rows, and how often each is there.
    Counted(BTreeMap<OwnedRow, u64>, u64),
}

impl Materialized {
    pub(super) fn new(schema: SchemaRef, form: Form, bytes_max: u64) -> Self {
        let held = RwLock::new(Held {
            rows: Kept::empty(&form),
            subscribers: Vec::new(),
            ended: None,
        });
        Self {
            schema,
            bytes_max,
            form,
            held,
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
        self.rows_of(&self.read().rows)
    }

    /// Follows the view: its rows as of now if `snapshot` says so, then each change. `progress`:
    /// also how the watermark moves.
    ///
    /// # Errors
    /// As [`Self::rows`]; and the error with which the view's query has failed.
    pub fn subscribe(
        &self,
        snapshot: bool,
        progress: bool,
        at: ProcessingTime,
    ) -> Result<Subscription> {
        let mut held = self.write();
        if let Some(Some(error)) = &held.ended {
            return Err(error.clone());
        }
        let first = match snapshot {
            true => self.rows_of(&held.rows)?,
            false => Vec::new(),
        };
        let first = first.into_iter().map(|rows| Emitted::Changes {
            changes: ChangeBatch::inserts(rows),
            at,
        });
        let (subscriber, subscription) = subscription(self.schema(), first.collect(), progress);
        held.subscribers.retain(|other| !other.is_gone());
        match held.ended {
            Some(_) => subscriber.end(None),
            None => held.subscribers.push(subscriber),
        }
        Ok(subscription)
    }

    /// Begins again without rows.
    pub(super) fn clear(&self) {
        let mut held = self.write();
        if !held.rows.is_empty() {
            for subscriber in held.subscribers.drain(..) {
                subscriber.end(Some(began_anew()));
            }
        }
        held.rows = Kept::empty(&self.form);
        held.ended = None;
    }

    /// The view's query has ended, with an error if it failed.
    pub(super) fn end(&self, error: Option<&Error>) {
        let mut held = self.write();
        for subscriber in held.subscribers.drain(..) {
            subscriber.end(error.cloned());
        }
        held.ended = Some(error.cloned());
    }

    /// Takes the changes of a micro-batch and hands them on.
    pub(super) fn apply(&self, batches: &[ChangeBatch], moment: Moment) -> Result<()> {
        if batches.is_empty() && self.read().subscribers.is_empty() {
            return Ok(());
        }
        let mut held = self.write();
        let bytes = match (&mut held.rows, &self.form) {
            (Kept::Latest(rows, bytes), Form::ByKey(key)) => {
                for batch in batches {
                    replace(rows, bytes, batch, key)?;
                }
                *bytes
            }
            (Kept::Counted(rows, bytes), _) => {
                for batch in batches {
                    count(rows, bytes, batch)?;
                }
                *bytes
            }
            (Kept::Added(rows), _) => {
                for batch in batches {
                    add(rows, batch)?;
                }
                rows.iter()
                    .map(|batch| batch.get_array_memory_size() as u64)
                    .sum()
            }
            (Kept::Latest(..), _) => return Err(Error::internal("rows by key without a key")),
        };
        held.subscribers
            .retain_mut(|subscriber| subscriber.send(batches, moment));
        drop(held);
        if bytes <= self.bytes_max {
            return Ok(());
        }
        let budget = self.bytes_max;
        Err(Error::user(
            SqlState::ConfigurationLimitExceeded,
            format!("the materialized view holds {bytes} bytes, more than its budget of {budget}"),
        )
        .hint("Keep fewer rows: filter them, use larger windows, or raise limits.query_bytes_max."))
    }

    fn rows_of(&self, kept: &Kept) -> Result<Vec<RecordBatch>> {
        match kept {
            Kept::Added(batches) => Ok(batches.clone()),
            Kept::Latest(rows, _) => self.columns(rows.values()),
            Kept::Counted(rows, _) => self.columns(rows.iter().flat_map(|(row, count)| {
                let count = usize::try_from(*count).unwrap_or(usize::MAX);
                std::iter::repeat_n(row, count)
            })),
        }
    }

    fn columns<'a>(&self, rows: impl Iterator<Item = &'a OwnedRow>) -> Result<Vec<RecordBatch>> {
        let all = converter(&self.schema, None)?;
        let parser = all.parser();
        let rows = rows.map(|row| parser.parse(row.as_ref()));
        let columns = all.convert_rows(rows).map_err(from_arrow)?;
        let batch = RecordBatch::try_new(SchemaRef::clone(&self.schema), columns);
        Ok(vec![batch.map_err(from_arrow)?])
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn empty(form: &Form) -> Self {
        match form {
            Form::Added => Self::Added(Vec::new()),
            Form::ByKey(_) => Self::Latest(BTreeMap::new(), 0),
            Form::Counted => Self::Counted(BTreeMap::new(), 0),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Added(rows) => rows.is_empty(),
            Self::Latest(rows, _) => rows.is_empty(),
            Self::Counted(rows, _) => rows.is_empty(),
        }
    }
}

fn add(rows: &mut Vec<RecordBatch>, changes: &ChangeBatch) -> Result<()> {
    if !changes.only_inserts() {
        return Err(Error::internal("a row changes where rows are only added"));
    }
    let batch = changes.rows();
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
    changes: &ChangeBatch,
    key: &[usize],
) -> Result<()> {
    let batch = changes.rows();
    let (keys, values) = (encoded(batch, Some(key))?, encoded(batch, None)?);
    for (row, (key, value)) in keys.iter().zip(values.iter()).enumerate() {
        match changes.op(row) {
            Op::Insert | Op::UpdateAfter => {
                let (key, value) = (key.owned(), value.owned());
                let key_bytes = size(&key);
                *bytes += key_bytes + size(&value);
                if let Some(old) = rows.insert(key, value) {
                    *bytes -= key_bytes + size(&old);
                }
            }
            // The row's new form follows at once and takes its place.
            Op::UpdateBefore => {}
            Op::Delete => {
                if let Some((key, old)) = rows.remove_entry(&key.owned()) {
                    *bytes -= size(&key) + size(&old);
                }
            }
        }
    }
    Ok(())
}

fn count(rows: &mut BTreeMap<OwnedRow, u64>, bytes: &mut u64, changes: &ChangeBatch) -> Result<()> {
    for (row, value) in encoded(changes.rows(), None)?.iter().enumerate() {
        let value = value.owned();
        let size = size(&value);
        if changes.op(row).adds() {
            let count = rows.entry(value).or_default();
            *bytes += if *count == 0 { size } else { 0 };
            *count += 1;
            continue;
        }
        match rows.get_mut(&value) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => {
                rows.remove(&value);
                *bytes -= size;
            }
            None => return Err(Error::internal("a row goes away that is not there")),
        }
    }
    Ok(())
}

fn size(row: &OwnedRow) -> u64 {
    row.row().data().len() as u64 + ROW_OVERHEAD
}

/// The rows of a batch, or some columns of them, as bytes that compare.
fn encoded(batch: &RecordBatch, columns: Option<&[usize]>) -> Result<Rows> {
    let converter = converter(&batch.schema(), columns)?;
    let rows = match columns {
        Some(columns) => {
            let columns: Vec<_> = columns
                .iter()
                .map(|column| Arc::clone(batch.column(*column)))
                .collect();
            converter.convert_columns(&columns)
        }
        None => converter.convert_columns(batch.columns()),
    };
    rows.map_err(from_arrow)
}

fn converter(schema: &SchemaRef, columns: Option<&[usize]>) -> Result<RowConverter> {
    let field = |index: usize| SortField::new(schema.field(index).data_type().clone());
    let fields = match columns {
        Some(columns) => columns.iter().map(|c| field(*c)).collect(),
        None => (0..schema.fields().len()).map(field).collect(),
    };
    RowConverter::new(fields).map_err(from_arrow)
}

#[cfg(test)]
#[path = "materialized/tests.rs"]
mod tests;
