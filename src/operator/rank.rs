//! Numbering and ordering the rows of one closed window.
//!
//! All rows of a window come in one batch, so that this is a sort; equal rows keep their order.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array, UInt64Array};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, partition, take_record_batch};
use arrow::record_batch::RecordBatch;
use datafusion::physical_expr::PhysicalExpr;

use super::row_pipeline::{batch, evaluate};
use crate::error::{Result, from_arrow};
use crate::plan::{Numbering, RankPlan, TopPlan};

/// The rows in order, with their numbers.
pub(super) fn number(plan: &RankPlan, rows: &RecordBatch) -> Result<RecordBatch> {
    let by_default = SortOptions::default();
    let partition = plan.partition.iter().map(|expr| (expr, by_default));
    let order = plan.order.iter().map(|(expr, options)| (expr, *options));
    let keys: Vec<_> = partition.chain(order).collect();
    let sorted = sort(rows, &keys, None)?;
    let values = |exprs: &[(&Arc<dyn PhysicalExpr>, SortOptions)]| -> Result<Vec<ArrayRef>> {
        exprs.iter().map(|(e, _)| evaluate(e, &sorted)).collect()
    };
    let count = sorted.num_rows();
    let partitions = equal_runs(&values(&keys[..plan.partition.len()])?, count)?;
    let peers = equal_runs(&values(&keys)?, count)?;
    let mut columns = sorted.columns().to_vec();
    for numbering in &plan.numbers {
        let numbers = numbers(*numbering, &partitions, &peers, count);
        columns.push(Arc::new(UInt64Array::from(numbers)));
    }
    batch(&plan.schema, columns, count)
}

/// The first rows in order.
pub(super) fn top(plan: &TopPlan, rows: &RecordBatch) -> Result<RecordBatch> {
    let keys: Vec<_> = plan.order.iter().map(|(expr, o)| (expr, *o)).collect();
    sort(rows, &keys, plan.limit)
}

fn sort(
    rows: &RecordBatch,
    keys: &[(&Arc<dyn PhysicalExpr>, SortOptions)],
    limit: Option<usize>,
) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(keys.len() + 1);
    for (expr, options) in keys {
        columns.push(SortColumn {
            values: evaluate(expr, rows)?,
            options: Some(*options),
        });
    }
    let rows_max = u32::try_from(rows.num_rows()).unwrap_or(u32::MAX);
    columns.push(SortColumn {
        values: Arc::new(UInt32Array::from_iter_values(0..rows_max)),
        options: None,
    });
    let order = lexsort_to_indices(&columns, limit).map_err(from_arrow)?;
    take_record_batch(rows, &order).map_err(from_arrow)
}

/// Runs of rows that are equal in all columns.
fn equal_runs(columns: &[ArrayRef], count: usize) -> Result<Vec<Range<usize>>> {
    if columns.is_empty() || count == 0 {
        return Ok((count > 0).then_some(0..count).into_iter().collect());
    }
    Ok(partition(columns).map_err(from_arrow)?.ranges())
}

fn numbers(
    numbering: Numbering,
    partitions: &[Range<usize>],
    peers: &[Range<usize>],
    count: usize,
) -> Vec<u64> {
    let mut numbers = Vec::with_capacity(count);
    let mut peers = peers.iter().peekable();
    for partition in partitions {
        let mut dense = 0;
        while let Some(run) = peers.next_if(|run| run.start < partition.end) {
            dense += 1;
            for row in run.clone() {
                let place = match numbering {
                    Numbering::RowNumber => row - partition.start + 1,
                    Numbering::Rank => run.start - partition.start + 1,
                    Numbering::DenseRank => dense,
                };
                numbers.push(place as u64);
            }
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_are_numbered_as_their_function_says() {
        let (partitions, peers) = ([0..4, 4..5], [0..2, 2..3, 3..4, 4..5]);
        let check = |numbering, expected: [u64; 5]| {
            assert_eq!(numbers(numbering, &partitions, &peers, 5), expected);
        };
        check(Numbering::RowNumber, [1, 2, 3, 4, 1]);
        check(Numbering::Rank, [1, 1, 3, 4, 1]);
        check(Numbering::DenseRank, [1, 1, 2, 3, 1]);
    }
}
