//! A view's rows on their way to a checkpoint and back.
//!
//! ```text
//! added     gone │ number of the row │ its columns
//! by key    gone │ key..             │ the other columns
//! counted   gone │ all columns       │ how often it is there
//! ```
//! Invariant: an image has only what changed since the image before, unless it stands for itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt64Array};
use arrow::datatypes::{SchemaRef, UInt64Type};
use arrow::record_batch::RecordBatch;
use arrow::row::OwnedRow;

use super::{Added, ByKey, Form, Kept, Materialized, converter, encoded, memory};
use crate::error::{Error, Result, from_arrow};
use crate::operator::Imaging;
use crate::types::{ChangeBatch, StateImage, TableId, TablePlace};

impl Materialized {
    /// Takes down what of the rows has changed since it was last taken down.
    pub(in crate::engine) fn image(&self, image: &mut StateImage) -> Result<()> {
        let is_whole = image.is_whole;
        let mut to = Imaging::new(image, TableId::VIEW.operator, TableId::VIEW.lane);
        to.holds(TablePlace::View);
        let mut held = self.write();
        if is_whole {
            held.rows.none_imaged();
        }
        self.image_of(&mut held.rows, &mut to)?;
        held.is_imaged = true;
        Ok(())
    }

    /// The same ahead of the end of an epoch, as far as there is room.
    pub(in crate::engine) fn image_ahead(
        &self,
        image: &mut StateImage,
        room: &mut usize,
    ) -> Result<()> {
        let place = (TableId::VIEW.operator, TableId::VIEW.lane);
        let mut to = Imaging::ahead(image, place, room);
        self.image_of(&mut self.write().rows, &mut to)
    }

    fn image_of(&self, kept: &mut Kept, to: &mut Imaging<'_>) -> Result<()> {
        match (kept, &self.form) {
            (Kept::Added(added), _) => image_of_added(added, to),
            (Kept::Latest(latest), Form::ByKey(key)) => self.image_of_latest(latest, key, to),
            (Kept::Counted(counted), _) => self.image_of_counted(counted, to),
            (Kept::Latest(_), _) => Err(Error::internal("rows by key without a key")),
        }
    }

    fn image_of_latest(
        &self,
        latest: &mut ByKey<OwnedRow>,
        key: &[usize],
        to: &mut Imaging<'_>,
    ) -> Result<()> {
        let changed = latest.take_changed(to.room());
        let (gone, live) = latest.news(&changed);
        if gone.is_empty() && live.is_empty() {
            return Ok(());
        }
        let gone_keys = self.keys_of(&gone, Some(key))?;
        let rows = self.columns(live.iter().map(|(_, row)| *row))?;
        let keys = key.iter().map(|c| Arc::clone(rows.column(*c))).collect();
        let behind = others(key, rows.num_columns()).map(|c| Arc::clone(rows.column(c)));
        let (gone, live) = ((gone.len(), gone_keys), (live.len(), keys));
        to.rows(TablePlace::View, gone, live, behind.collect())
    }

    fn image_of_counted(&self, counted: &mut ByKey<u64>, to: &mut Imaging<'_>) -> Result<()> {
        let changed = counted.take_changed(to.room());
        let (gone, live) = counted.news(&changed);
        if gone.is_empty() && live.is_empty() {
            return Ok(());
        }
        let gone_rows = self.keys_of(&gone, None)?;
        let rows = self.columns(live.iter().map(|(row, _)| *row))?;
        let counts = UInt64Array::from_iter_values(live.iter().map(|(_, count)| **count));
        let (gone, live) = (
            (gone.len(), gone_rows),
            (live.len(), rows.columns().to_vec()),
        );
        to.rows(TablePlace::View, gone, live, vec![Arc::new(counts)])
    }

    /// The columns of keys that are there no more.
    fn keys_of(&self, keys: &[&OwnedRow], columns: Option<&[usize]>) -> Result<Vec<ArrayRef>> {
        let all = converter(&self.schema, columns)?;
        let parser = all.parser();
        let keys = keys.iter().map(|key| parser.parse(key.as_ref()));
        all.convert_rows(keys).map_err(from_arrow)
    }

    /// Has the rows of an epoch's checkpoint, whatever it had before.
    pub(in crate::engine) fn restore(&self, epoch: u64, image: &StateImage) -> Result<()> {
        if self.read().epoch == Some(epoch) {
            self.write().ended = None;
            return Ok(());
        }
        let mut kept = Kept::empty(&self.form);
        let own = image.rows.iter().filter(|rows| rows.table == TableId::VIEW);
        for rows in own {
            let columns = rows.rows.columns().get(1..).unwrap_or_default();
            let split = columns.split_at_checked(rows.key_columns);
            let (keys, behind) = split.ok_or_else(|| odd("there are too few columns"))?;
            self.restore_rows(&mut kept, keys, behind)?;
        }
        kept.imaged();
        self.go_back(Some(epoch), kept);
        Ok(())
    }

    fn restore_rows(&self, kept: &mut Kept, keys: &[ArrayRef], behind: &[ArrayRef]) -> Result<()> {
        match (kept, &self.form) {
            (Kept::Added(added), _) => {
                let rows = batch(&self.schema, behind.to_vec())?;
                added.push(memory::own(&rows)?)?;
            }
            (Kept::Latest(latest), Form::ByKey(key)) => {
                let columns = self.schema.fields().len();
                let mut ordered: Vec<(usize, &ArrayRef)> = key.iter().copied().zip(keys).collect();
                ordered.extend(others(key, columns).zip(behind));
                ordered.sort_by_key(|(column, _)| *column);
                let columns = ordered.into_iter().map(|(_, column)| Arc::clone(column));
                let rows = batch(&self.schema, columns.collect())?;
                latest.replace(&ChangeBatch::inserts(rows), key)?;
            }
            (Kept::Counted(counted), _) => {
                let counts = behind.first();
                let counts = counts.and_then(|counts| counts.as_primitive_opt::<UInt64Type>());
                let counts = counts.ok_or_else(|| odd("no counts"))?;
                let rows = encoded(&batch(&self.schema, keys.to_vec())?, None)?;
                for (row, count) in rows.iter().zip(counts.values()) {
                    counted.add(row.owned(), *count);
                }
            }
            (Kept::Latest(_), _) => return Err(Error::internal("rows by key without a key")),
        }
        Ok(())
    }
}

impl Kept {
    /// An image has all rows as they are.
    fn imaged(&mut self) {
        match self {
            Self::Added(added) => added.imaged = added.batches.iter().map(|b| b.num_rows()).sum(),
            Self::Latest(latest) => latest.changed.clear(),
            Self::Counted(counted) => counted.changed.clear(),
        }
    }

    /// No image has any of the rows.
    fn none_imaged(&mut self) {
        match self {
            Self::Added(added) => added.imaged = 0,
            Self::Latest(latest) => latest.all_changed(),
            Self::Counted(counted) => counted.all_changed(),
        }
    }
}

impl<V> ByKey<V> {
    /// Each row is to be told, and nothing of those that have gone.
    fn all_changed(&mut self) {
        self.changed = self.rows.keys().cloned().collect();
    }

    /// At most so many of the keys that an image must name.
    fn take_changed(&mut self, at_most: usize) -> BTreeSet<OwnedRow> {
        if self.changed.len() <= at_most {
            return std::mem::take(&mut self.changed);
        }
        std::iter::from_fn(|| self.changed.pop_first())
            .take(at_most)
            .collect()
    }

    /// Which of these keys are there no more, and the rows of the others.
    fn news<'a>(
        &'a self,
        changed: &'a BTreeSet<OwnedRow>,
    ) -> (Vec<&'a OwnedRow>, Vec<(&'a OwnedRow, &'a V)>) {
        let (mut gone, mut live) = (Vec::new(), Vec::new());
        for key in changed {
            match self.rows.get_key_value(key) {
                Some(row) => live.push(row),
                None => gone.push(key),
            }
        }
        (gone, live)
    }
}

fn image_of_added(added: &mut Added, to: &mut Imaging<'_>) -> Result<()> {
    let (from, until) = (added.imaged, added.imaged.saturating_add(to.room()));
    let mut first = 0;
    for batch in &added.batches {
        let (begin, end) = (first, first + batch.num_rows());
        first = end;
        if end <= from || begin >= until {
            continue;
        }
        let (begin_new, end) = (begin.max(from), end.min(until));
        let rows = memory::only_used(&batch.slice(begin_new - begin, end - begin_new))?;
        let numbers = UInt64Array::from_iter_values(begin_new as u64..end as u64);
        added.imaged = end;
        let keys: Vec<ArrayRef> = vec![Arc::new(numbers)];
        let live = (rows.num_rows(), keys);
        to.rows(
            TablePlace::View,
            (0, Vec::new()),
            live,
            rows.columns().to_vec(),
        )?;
    }
    Ok(())
}

/// The columns that are not among these.
fn others(key: &[usize], columns: usize) -> impl Iterator<Item = usize> {
    (0..columns).filter(move |column| !key.contains(column))
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(SchemaRef::clone(schema), columns).map_err(|error| odd(&error.to_string()))
}

fn odd(what: &str) -> Error {
    Error::internal(format!(
        "the rows of a checkpoint are not those of the view: {what}"
    ))
}
