//! Rows as text that can be compared, and what they come to.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;

use crate::types::{ChangeBatch, Op};

/// The columns of a row, timestamps as microseconds.
pub(crate) type Line = Vec<String>;

/// The rows of a batch.
pub(super) fn lines(batch: &RecordBatch) -> Vec<Line> {
    let columns: Vec<Vec<String>> = batch.columns().iter().map(|c| texts(c)).collect();
    let line = |row: usize| columns.iter().map(|column| column[row].clone()).collect();
    (0..batch.num_rows()).map(line).collect()
}

fn texts(column: &dyn Array) -> Vec<String> {
    if let DataType::Timestamp(_, zone) = column.data_type() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
        let micros = cast(column, &micros).expect("timestamps are timestamps");
        let micros = micros.as_primitive::<TimestampMicrosecondType>();
        let text = |time: Option<i64>| time.map_or(String::new(), |time| time.to_string());
        return micros.iter().map(text).collect();
    }
    let text = |row| array_value_to_string(column, row).expect("every value can be shown");
    (0..column.len()).map(text).collect()
}

/// The rows of a batch, with what each does.
pub(super) fn changes(batch: &ChangeBatch) -> Vec<(Op, Line)> {
    let lines = lines(batch.rows()).into_iter().enumerate();
    lines.map(|(row, line)| (batch.op(row), line)).collect()
}

/// A change for the trace.
pub(super) fn told((op, line): &(Op, Line)) -> String {
    format!("{} {}", op.name(), line.join("|"))
}

/// Rows, and how often each is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rows(BTreeMap<Line, usize>);

impl Rows {
    /// Takes a change.
    ///
    /// # Panics
    /// When a row goes away that is not there.
    pub(super) fn take(&mut self, (op, line): &(Op, Line)) {
        if op.adds() {
            *self.0.entry(line.clone()).or_default() += 1;
            return;
        }
        match self.0.get_mut(line) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => drop(self.0.remove(line)),
            None => panic!("a row goes away that is not there: {line:?}"),
        }
    }

    /// All rows, in the order of their text.
    pub(super) fn into_lines(self) -> Vec<Line> {
        let rows = self.0.into_iter();
        rows.flat_map(|(line, count)| std::iter::repeat_n(line, count))
            .collect()
    }
}

/// The newest row of each key.
pub(super) fn newest(changes: &[(Op, Line)], key: &[usize]) -> Vec<Line> {
    let mut rows: BTreeMap<Line, Line> = BTreeMap::new();
    for (op, line) in changes {
        let key = key.iter().map(|column| line[*column].clone()).collect();
        match op {
            Op::Insert | Op::UpdateAfter => drop(rows.insert(key, line.clone())),
            Op::Delete => drop(rows.remove(&key)),
            Op::UpdateBefore => {}
        }
    }
    let mut rows: Vec<Line> = rows.into_values().collect();
    rows.sort();
    rows
}
