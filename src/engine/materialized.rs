//! A materialized view's rows, kept to be asked for while the query runs, and followed.
//!
//! Three forms: rows that are only added, rows that replace others by key, and whole rows that are
//! counted because nothing in them tells them apart.
//! Invariants: a reader sees whole micro-batches only; a subscriber sees the rows as of one of them
//! and then each later change, once; one whose view goes back to a checkpoint is cut off.

mod image;
mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};

use super::output::{Emitted, Moment};
use super::subscription::{Subscriber, Subscription, subscription, went_back};
use crate::error::{Error, Result, SqlState, from_arrow};
use crate::plan::{Changelog, StreamPlan};
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

impl Form {
    /// What the rows of a plan's view have.
    pub(super) fn of(plan: &StreamPlan) -> Self {
        match (plan.changelog(), &plan.key) {
            (Changelog::Append, _) => Self::Added,
            (Changelog::Update, Some(key)) if !key.is_empty() => Self::ByKey(key.clone()),
            // The one row of an aggregate without a group has a key without columns.
            (Changelog::Update, Some(_) | None) => Self::Counted,
        }
    }
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
    /// The epoch whose checkpoint has exactly these rows.
    epoch: Option<u64>,
    /// True when the last image of the state has exactly these rows.
    is_imaged: bool,
    /// False until the query has looked for rows of an earlier run.
    is_there: bool,
    subscribers: Vec<Subscriber>,
    /// The query has ended; with its error if it failed.
    ended: Option<Option<Error>>,
}

#[derive(Debug)]
enum Kept {
    Added(Added),
    /// By key; the values are whole rows.
    Latest(ByKey<OwnedRow>),
    /// Whole rows, and how often each is there.
    Counted(ByKey<u64>),
}

/// Rows in the order in which they came.
#[derive(Debug, Default)]
struct Added {
    batches: Vec<RecordBatch>,
    /// What they hold.
    bytes: u64,
    /// So many rows are in images of the state.
    imaged: usize,
}

#[derive(Debug)]
struct ByKey<V> {
    rows: BTreeMap<OwnedRow, V>,
    bytes: u64,
    /// Keys whose rows changed, came or went since the last image of the state.
    changed: BTreeSet<OwnedRow>,
}

impl Materialized {
    pub(super) fn new(schema: SchemaRef, form: Form, bytes_max: u64) -> Self {
        let held = RwLock::new(Held {
            rows: Kept::empty(&form),
            epoch: None,
            is_imaged: false,
            is_there: false,
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

    /// Bytes that its rows hold.
    pub(super) fn held_bytes(&self) -> u64 {
        self.read().rows.bytes()
    }

    /// What its rows look like.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// All rows as of now.
    ///
    /// # Errors
    /// When its query has failed before it could bring back the rows of an earlier run: that there are none
    /// would be no answer. When rows cannot be turned back into columns, which is a mistake of ours.
    pub fn rows(&self) -> Result<Vec<RecordBatch>> {
        let held = self.read();
        match &held.ended {
            Some(Some(error)) if !held.is_there => Err(error.clone()),
            _ => self.rows_of(&held.rows),
        }
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

    /// Whether the query has looked for rows of an earlier run.
    pub(super) fn is_there(&self) -> bool {
        self.read().is_there
    }

    /// Begins without rows.
    pub(super) fn clear(&self) {
        self.go_back(None, Kept::empty(&self.form));
    }

    /// The checkpoint of an epoch lasts that was made of the last image.
    pub(super) fn committed(&self, epoch: u64) {
        let mut held = self.write();
        if held.is_imaged {
            held.epoch = Some(epoch);
        }
    }

    /// Has other rows than those that subscribers know.
    fn go_back(&self, epoch: Option<u64>, rows: Kept) {
        let mut held = self.write();
        if !(held.rows.is_empty() && rows.is_empty()) {
            for subscriber in held.subscribers.drain(..) {
                subscriber.end(Some(went_back()));
            }
        }
        (held.rows, held.epoch, held.is_there) = (rows, epoch, true);
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
        if !batches.is_empty() {
            (held.epoch, held.is_imaged) = (None, false);
        }
        for batch in batches {
            held.rows.take(batch, &self.form)?;
        }
        let bytes = held.rows.bytes();
        held.subscribers
            .retain_mut(|subscriber| subscriber.send(batches, moment));
        drop(held);
        if bytes <= self.bytes_max {
            return Ok(());
        }
        let budget = self.bytes_max;
        Err(Error::user(
            SqlState::ConfigurationLimitExceeded,
            format!(
                "the materialized view's rows hold {bytes} bytes, more than its budget of {budget}"
            ),
        )
        .detail(format!("Its columns are {}.", self.column_names()))
        .hint(
            "Keep fewer rows: filter them, group by fewer keys or by larger windows, or send them to a \
             topic with CREATE SINK; or raise limits.query_memory_bytes_max.",
        ))
    }

    fn column_names(&self) -> String {
        let fields = self.schema.fields().iter();
        let names: Vec<&str> = fields.map(|field| field.name().as_str()).collect();
        names.join(", ")
    }

    fn rows_of(&self, kept: &Kept) -> Result<Vec<RecordBatch>> {
        match kept {
            Kept::Added(added) => Ok(added.batches.clone()),
            Kept::Latest(latest) => Ok(vec![self.columns(latest.rows.values())?]),
            Kept::Counted(counted) => {
                let rows = counted.rows.iter().flat_map(|(row, count)| {
                    let count = usize::try_from(*count).unwrap_or(usize::MAX);
                    std::iter::repeat_n(row, count)
                });
                Ok(vec![self.columns(rows)?])
            }
        }
    }

    fn columns<'a>(&self, rows: impl Iterator<Item = &'a OwnedRow>) -> Result<RecordBatch> {
        let all = converter(&self.schema, None)?;
        let parser = all.parser();
        let rows = rows.map(|row| parser.parse(row.as_ref()));
        let columns = all.convert_rows(rows).map_err(from_arrow)?;
        RecordBatch::try_new(SchemaRef::clone(&self.schema), columns).map_err(from_arrow)
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
            Form::Added => Self::Added(Added::default()),
            Form::ByKey(_) => Self::Latest(ByKey::empty()),
            Form::Counted => Self::Counted(ByKey::empty()),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Added(added) => added.batches.is_empty(),
            Self::Latest(latest) => latest.rows.is_empty(),
            Self::Counted(counted) => counted.rows.is_empty(),
        }
    }

    fn take(&mut self, changes: &ChangeBatch, form: &Form) -> Result<()> {
        match (self, form) {
            (Self::Added(added), _) => added.take(changes),
            (Self::Latest(latest), Form::ByKey(key)) => latest.replace(changes, key),
            (Self::Counted(counted), _) => counted.count(changes),
            (Self::Latest(_), _) => Err(Error::internal("rows by key without a key")),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Added(added) => added.bytes,
            Self::Latest(latest) => latest.bytes,
            Self::Counted(counted) => counted.bytes,
        }
    }
}

impl Added {
    fn take(&mut self, changes: &ChangeBatch) -> Result<()> {
        if !changes.only_inserts() {
            return Err(Error::internal("a row changes where rows are only added"));
        }
        self.push(memory::own(changes.rows())?)
    }

    /// Adds rows of our own. Small batches become larger ones by twos, as in a log-structured merge, so
    /// that a row is copied a few times and not with each of those that follow it.
    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.bytes += bytes_of(&batch);
        self.batches.push(batch);
        while let [.., before, last] = self.batches.as_slice()
            && before.num_rows() < ROWS_MIN
            && before.num_rows() <= last.num_rows() * 2
        {
            let joined = concat_batches(&last.schema(), [before, last]).map_err(from_arrow)?;
            self.bytes -= bytes_of(before) + bytes_of(last);
            self.bytes += bytes_of(&joined);
            self.batches.truncate(self.batches.len() - 2);
            self.batches.push(joined);
        }
        Ok(())
    }
}

fn bytes_of(batch: &RecordBatch) -> u64 {
    batch.get_array_memory_size() as u64
}

impl<V> ByKey<V> {
    fn empty() -> Self {
        Self {
            rows: BTreeMap::new(),
            bytes: 0,
            changed: BTreeSet::new(),
        }
    }

    fn note(&mut self, key: &OwnedRow) {
        if !self.changed.contains(key) {
            self.changed.insert(key.clone());
        }
    }
}

impl ByKey<OwnedRow> {
    fn replace(&mut self, changes: &ChangeBatch, key: &[usize]) -> Result<()> {
        let batch = changes.rows();
        let (keys, values) = (encoded(batch, Some(key))?, encoded(batch, None)?);
        for (row, (key, value)) in keys.iter().zip(values.iter()).enumerate() {
            let key = key.owned();
            match changes.op(row) {
                Op::Insert | Op::UpdateAfter => {
                    self.note(&key);
                    self.put(key, value.owned());
                }
                // The row's new form follows at once and takes its place.
                Op::UpdateBefore => {}
                Op::Delete => {
                    if let Some(old) = self.rows.remove(&key) {
                        self.bytes -= size(&key) + size(&old);
                        self.note(&key);
                    }
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, key: OwnedRow, value: OwnedRow) {
        let key_bytes = size(&key);
        self.bytes += key_bytes + size(&value);
        if let Some(old) = self.rows.insert(key, value) {
            self.bytes -= key_bytes + size(&old);
        }
    }
}

impl ByKey<u64> {
    fn count(&mut self, changes: &ChangeBatch) -> Result<()> {
        for (row, value) in encoded(changes.rows(), None)?.iter().enumerate() {
            let value = value.owned();
            self.note(&value);
            if changes.op(row).adds() {
                self.add(value, 1);
                continue;
            }
            match self.rows.get_mut(&value) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) => {
                    self.rows.remove(&value);
                    self.bytes -= size(&value);
                }
                None => return Err(Error::internal("a row goes away that is not there")),
            }
        }
        Ok(())
    }

    fn add(&mut self, value: OwnedRow, count: u64) {
        let size = size(&value);
        let before = self.rows.entry(value).or_default();
        self.bytes += if *before == 0 { size } else { 0 };
        *before += count;
    }
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
