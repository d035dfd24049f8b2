//! What passes the conditions with which queries begin, gathered once for each column, whatever other
//! columns each of them reads.
//!
//! Invariant: arrays are told apart by where they lie. They are columns of the batch that this belongs to,
//! so that none of them goes before it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::selection::{Comparison, Constant};
use crate::operator::Rows;

/// What was gathered of a batch so far.
#[derive(Debug, Default)]
pub(in crate::engine) struct Gathered(Mutex<Vec<(Condition, Arc<Passing>)>>);

/// Where the column lies that is compared, and with what.
type Condition = (usize, Constant);

/// The rows that pass a condition.
#[derive(Debug, Default)]
struct Passing {
    /// Their numbers; `None`: that cannot be told of all of them.
    numbers: OnceLock<Option<UInt32Array>>,
    /// What they have of each column that was asked for, by where that lies.
    columns: Mutex<Vec<(usize, ArrayRef)>>,
}

impl Gathered {
    /// The rows of a batch that pass; `batch` has some of the columns of the batch that this belongs to.
    /// `passing` tells their numbers, if nobody has told them yet.
    pub(super) fn rows(
        &self,
        batch: &RecordBatch,
        comparison: &Comparison,
        passing: impl FnOnce() -> Option<UInt32Array>,
    ) -> Option<Rows> {
        let column = batch.column(comparison.column);
        let condition = (place(column), comparison.with.clone());
        let rows = self.of(condition);
        let numbers = rows.numbers.get_or_init(passing).as_ref()?;
        if numbers.len() == batch.num_rows() {
            return Some(Rows::all(batch.clone()));
        }
        let columns = batch.columns().iter();
        let columns = columns.map(|column| rows.column(column, numbers));
        let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
        let columns = columns.collect::<Option<_>>()?;
        let batch = RecordBatch::try_new_with_options(batch.schema(), columns, &options);
        Some(Rows {
            batch: batch.ok()?,
            origin: Some(numbers.clone()),
        })
    }

    fn of(&self, condition: Condition) -> Arc<Passing> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rows)) = all.iter().find(|(other, _)| *other == condition) {
            return Arc::clone(rows);
        }
        let rows = Arc::default();
        all.push((condition, Arc::clone(&rows)));
        rows
    }
}

impl Passing {
    fn column(&self, column: &ArrayRef, numbers: &UInt32Array) -> Option<ArrayRef> {
        let place = place(column);
        let mut columns = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, gathered)) = columns.iter().find(|(other, _)| *other == place) {
            return Some(Arc::clone(gathered));
        }
        let gathered = take(column, numbers, None).ok()?;
        columns.push((place, Arc::clone(&gathered)));
        Some(gathered)
    }
}

fn place(column: &ArrayRef) -> usize {
    Arc::as_ptr(column).cast::<()>().addr()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use arrow::record_batch::RecordBatch;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::PhysicalExpr;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};

    use super::{Comparison, Gathered};
    use crate::operator::passing;

    #[test]
    fn columns_that_several_read_are_gathered_once_for_each_condition() {
        let numbers =
            |values: [i64; 4]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
        let all = [
            numbers([1, 2, 3, 4]),
            numbers([5, 6, 7, 8]),
            numbers([4, 3, 2, 1]),
        ];
        let of = |places: &[usize]| {
            let columns = places.iter().map(|place| ("x", Arc::clone(&all[*place])));
            RecordBatch::try_from_iter(columns).expect("columns of four rows")
        };
        let gathered = Gathered::default();
        let rows = |places: &[usize], column: usize, op: Operator| {
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("x", column));
            let condition: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(column, op, lit(2i64)));
            let comparison = Comparison::of(&condition).expect("a column and a constant");
            let batch = of(places);
            let passing = || passing(&condition, &batch).ok();
            let rows = gathered
                .rows(&batch, &comparison, passing)
                .expect("numbers compare");
            rows.batch.columns().to_vec()
        };
        let values = |columns: &[ArrayRef]| -> Vec<Vec<i64>> {
            let values = columns.iter().map(|column| {
                let column = column.as_primitive::<Int64Type>();
                column.values().to_vec()
            });
            values.collect()
        };
        let one = rows(&[0, 1], 0, Operator::Gt);
        assert_eq!(values(&one), [vec![3, 4], vec![7, 8]]);
        let other = rows(&[2, 0], 1, Operator::Gt);
        assert_eq!(
            values(&other),
            [vec![2, 1], vec![3, 4]],
            "the same rows, other columns"
        );
        assert!(Arc::ptr_eq(&one[0], &other[1]), "gathered once");
        let every = rows(&[0, 1], 1, Operator::Gt);
        assert!(
            Arc::ptr_eq(&every[0], &all[0]),
            "all pass: nothing to gather"
        );
        let less = rows(&[0, 1], 0, Operator::Lt);
        assert_eq!(values(&less), [vec![1], vec![5]], "another condition");
        let of_other_column = rows(&[2, 0], 0, Operator::Gt);
        assert_eq!(
            values(&of_other_column),
            [vec![4, 3], vec![1, 2]],
            "another column"
        );
    }
}
