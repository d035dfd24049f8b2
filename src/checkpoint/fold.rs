//! Changes laid over each other: of the rows of a key the last one counts.
//!
//! Knows nothing of files. Invariant: the rows that are left stand in the order in which they came.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::RandomState;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::error::{Error, Result};
use crate::types::{TableId, TableRows};

/// A table of fewer segments is left as it is.
const SEGMENTS_MAX: usize = 8;

/// Batches are put together until they are as large as this.
const BATCH_ROWS: usize = 1 << 16;
const BATCH_BYTES: usize = 64 << 20;

/// From which of a table's segments on they are to be made one, given the rows of each.
///
/// ```text
/// 1000 200 3 1 1 1 1 1 1   →   1000 200 9
/// ```
/// An older segment takes part when it has at most twice as many rows as all that are younger: so
/// there are never many segments, their rows are never many more than the table's, and a row is
/// written again as often as the logarithm of the table's size.
pub(super) fn merge_from(rows: &[u64]) -> Option<usize> {
    if rows.len() <= SEGMENTS_MAX {
        return None;
    }
    let mut from = rows.len() - 1;
    let mut merged = rows[from];
    while from > 0 && rows[from - 1] <= merged.saturating_mul(2) {
        from -= 1;
        merged = merged.saturating_add(rows[from]);
    }
    (from + 1 < rows.len()).then_some(from)
}

/// What becomes of the rows that say that a key is there no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// Nothing older lies below: they have done their work.
    Drop,
    /// An older row of the key may lie below.
    Keep,
}

/// The changed rows of each table, in a form that can be laid over that of other images.
pub(super) fn by_table(rows: &[TableRows]) -> Result<BTreeMap<TableId, (usize, Vec<RecordBatch>)>> {
    let mut tables: BTreeMap<TableId, (usize, Vec<RecordBatch>)> = BTreeMap::new();
    for TableRows {
        table,
        rows,
        key_columns,
    } in rows
    {
        let wrong = |what: &str| Error::internal(format!("rows of the state {table:?}: {what}"));
        // Whether a column may be NULL differs between images.
        let fields = rows.schema_ref().fields().iter();
        let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let rows = RecordBatch::try_new(schema, rows.columns().to_vec())?;
        check_shape(&rows, *key_columns).map_err(|what| wrong(&what))?;
        let (keys, batches) = tables.entry(*table).or_insert((*key_columns, Vec::new()));
        let alike = batches.first().is_none_or(|first| same_types(first, &rows));
        if *keys != *key_columns || !alike {
            return Err(wrong("they are not of one shape"));
        }
        if rows.num_rows() > 0 {
            batches.push(rows);
        }
    }
    Ok(tables)
}

/// What is wrong with the columns of a table's rows.
pub(super) fn check_shape(rows: &RecordBatch, key_columns: usize) -> Result<(), String> {
    if rows.columns().first().map(|gone| gone.data_type()) != Some(&DataType::Boolean) {
        return Err("the first column must be a boolean".to_owned());
    }
    if key_columns >= rows.num_columns() {
        return Err(format!("there are no {key_columns} columns of a key"));
    }
    if !RowConverter::supports_fields(&sort_fields(rows, key_columns)) {
        return Err("its keys cannot be compared".to_owned());
    }
    Ok(())
}

/// True when the columns of two batches have the same types.
pub(super) fn same_types(one: &RecordBatch, other: &RecordBatch) -> bool {
    let types = |batch: &RecordBatch| -> Vec<DataType> {
        let columns = batch.columns().iter();
        columns.map(|column| column.data_type().clone()).collect()
    };
    types(one) == types(other)
}

/// The last row of each key; batches of one table, oldest first, of the same types.
pub(super) fn fold(
    batches: &[RecordBatch],
    key_columns: usize,
    gone: Gone,
) -> Result<Vec<RecordBatch>> {
    let Some(first) = batches.first() else {
        return Ok(Vec::new());
    };
    let mut seen = Seen::new(first, key_columns)?;
    let mut kept = Vec::with_capacity(batches.len());
    for batch in batches.iter().rev() {
        let mut keep = seen.news(batch)?;
        if gone == Gone::Drop {
            let gone = batch.column(0).as_boolean();
            for (row, keep) in keep.iter_mut().enumerate() {
                *keep &= !(gone.is_valid(row) && gone.value(row));
            }
        }
        let batch = only(batch, keep)?;
        if batch.num_rows() > 0 {
            kept.push(batch);
        }
    }
    kept.reverse();
    Ok(kept)
}

/// The same rows in fewer batches.
pub(super) fn together(batches: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let mut groups = Vec::new();
    let (mut from, mut rows, mut bytes) = (0, 0, 0);
    for (place, batch) in batches.iter().enumerate() {
        rows += batch.num_rows();
        bytes += batch.get_array_memory_size();
        if rows >= BATCH_ROWS || bytes >= BATCH_BYTES || place + 1 == batches.len() {
            groups.push(&batches[from..=place]);
            (from, rows, bytes) = (place + 1, 0, 0);
        }
    }
    let joined = groups.into_iter().map(|group| match group {
        [one] => Ok(one.clone()),
        more => Ok(concat_batches(&more[0].schema(), more)?),
    });
    joined.collect()
}

/// The keys of the rows that were looked at.
struct Seen {
    /// `None`: the key has no columns, so that all rows are of one.
    converter: Option<RowConverter>,
    keys: Vec<Rows>,
    /// Places of keys: of the batch, of the row.
    table: HashTable<(usize, usize)>,
    hasher: RandomState,
    key_columns: usize,
    is_empty: bool,
}

impl Seen {
    fn new(batch: &RecordBatch, key_columns: usize) -> Result<Self> {
        let fields = sort_fields(batch, key_columns);
        let converter = (key_columns > 0).then(|| RowConverter::new(fields));
        Ok(Self {
            converter: converter.transpose()?,
            keys: Vec::new(),
            table: HashTable::new(),
            hasher: RandomState::with_seeds(1, 2, 3, 4),
            key_columns,
            is_empty: true,
        })
    }

    /// For each row whether its key is new, counted from the last row on.
    fn news(&mut self, batch: &RecordBatch) -> Result<Vec<bool>> {
        let mut news = vec![false; batch.num_rows()];
        let Some(converter) = &self.converter else {
            if let Some(last) = news.last_mut() {
                *last = std::mem::take(&mut self.is_empty);
            }
            return Ok(news);
        };
        let keys = batch.columns()[1..=self.key_columns].to_vec();
        self.keys.push(converter.convert_columns(&keys)?);
        let (keys, hasher) = (&self.keys, &self.hasher);
        let number = keys.len() - 1;
        for (row, is_new) in news.iter_mut().enumerate().rev() {
            let key = keys[number].row(row);
            let same = |(batch, row): &(usize, usize)| keys[*batch].row(*row) == key;
            let hash =
                |(batch, row): &(usize, usize)| hasher.hash_one(keys[*batch].row(*row).as_ref());
            if let Entry::Vacant(place) = self.table.entry(hash(&(number, row)), same, hash) {
                place.insert((number, row));
                *is_new = true;
            }
        }
        Ok(news)
    }
}

fn sort_fields(rows: &RecordBatch, key_columns: usize) -> Vec<SortField> {
    let keys = rows.columns().iter().skip(1).take(key_columns);
    keys.map(|key| SortField::new(key.data_type().clone()))
        .collect()
}

fn only(batch: &RecordBatch, keep: Vec<bool>) -> Result<RecordBatch> {
    if keep.iter().all(|keep| *keep) {
        return Ok(batch.clone());
    }
    let batch = filter_record_batch(batch, &BooleanArray::from(keep))?;
    let columns = batch.columns().iter().map(without_unused).collect();
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// A filtered view still holds the bytes of the rows that are not there.
fn without_unused(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn young_segments_are_merged_and_large_old_ones_left() {
        let cases: &[(&[u64], Option<usize>)] = &[
            (&[], None),
            (&[5; 8], None),
            (&[5; 9], Some(0)),
            (&[1000, 200, 3, 1, 1, 1, 1, 1, 1], Some(2)),
            (&[1000, 1, 1, 1, 1, 1, 1, 1, 1], Some(1)),
            (&[1000, 500, 8, 1, 1, 1, 1, 1, 1, 1], Some(2)),
            (&[2000, 1000, 400, 150, 60, 25, 10, 4, 1], None),
            (&[u64::MAX; 9], Some(0)),
        ];
        for (rows, from) in cases {
            assert_eq!(merge_from(rows), *from, "{rows:?}");
        }
    }

    #[test]
    fn segments_stay_few_and_a_row_is_seldom_written_again() {
        let (mut rows, mut written) = (vec![10_000_u64], 0);
        for _ in 0..20_000 {
            rows.push(1);
            written += 1;
            if let Some(from) = merge_from(&rows) {
                let merged: u64 = rows.drain(from..).sum();
                rows.push(merged);
                written += merged;
            }
            assert!(rows.len() <= SEGMENTS_MAX + 16, "{rows:?}");
        }
        assert!(written < 20_000 * 16, "{written} rows written");
    }
}
