//! One of DataFusion's row accumulators a group: works for every function, and can be read.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow::compute::take;
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::scalar::ScalarValue;

use super::accumulator::{GroupAccumulator, Update};
use crate::error::{Result, from_arrow, from_datafusion};

/// A row accumulator for each group.
pub(super) struct PerGroup {
    function: Arc<AggregateFunctionExpr>,
    groups: Vec<Box<dyn Accumulator>>,
    /// The memory of `groups`, kept up to date as they change.
    size_bytes: usize,
}

impl PerGroup {
    pub(super) fn new(function: Arc<AggregateFunctionExpr>) -> Self {
        Self {
            function,
            groups: Vec::new(),
            size_bytes: 0,
        }
    }

    fn grow(&mut self, total: usize) -> Result<()> {
        while self.groups.len() < total {
            let group = self
                .function
                .create_accumulator()
                .map_err(from_datafusion)?;
            self.size_bytes += group.size();
            self.groups.push(group);
        }
        Ok(())
    }

    /// Hands each group its rows, in their order.
    fn feed(
        &mut self,
        columns: &[ArrayRef],
        by_group: &[(usize, u32)],
        each: fn(&mut dyn Accumulator, &[ArrayRef]) -> datafusion::error::Result<()>,
    ) -> Result<()> {
        let rows = UInt32Array::from_iter_values(by_group.iter().map(|(_, row)| *row));
        let columns: Vec<ArrayRef> = columns
            .iter()
            .map(|column| take(column, &rows, None).map_err(from_arrow))
            .collect::<Result<_>>()?;
        let mut start = 0;
        for run in by_group.chunk_by(|left, right| left.0 == right.0) {
            let part: Vec<ArrayRef> = columns.iter().map(|c| c.slice(start, run.len())).collect();
            let group = &mut self.groups[run[0].0];
            let before = group.size();
            each(group.as_mut(), &part).map_err(from_datafusion)?;
            self.size_bytes = (self.size_bytes + group.size()).saturating_sub(before);
            start += run.len();
        }
        Ok(())
    }

    fn values(&mut self, groups: impl Iterator<Item = usize>) -> Result<ArrayRef> {
        let values: Vec<ScalarValue> = groups
            .map(|group| self.groups[group].evaluate().map_err(from_datafusion))
            .collect::<Result<_>>()?;
        to_array(values, self.function.field().data_type())
    }

    fn clear(&mut self) {
        self.groups.clear();
        self.size_bytes = 0;
    }
}

impl GroupAccumulator for PerGroup {
    fn update(&mut self, rows: Update<'_>) -> Result<()> {
        self.grow(rows.total)?;
        let by_group = rows_by_group(rows.groups, rows.keep);
        self.feed(rows.arguments, &by_group, |group, columns| {
            group.update_batch(columns)
        })
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total)?;
        let by_group = rows_by_group(groups, None);
        self.feed(states, &by_group, |group, columns| {
            group.merge_batch(columns)
        })
    }

    fn take_state(&mut self) -> Result<Vec<ArrayRef>> {
        let fields = self.function.state_fields().map_err(from_datafusion)?;
        let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::new(); fields.len()];
        for group in &mut self.groups {
            for (column, value) in columns
                .iter_mut()
                .zip(group.state().map_err(from_datafusion)?)
            {
                column.push(value);
            }
        }
        self.clear();
        columns
            .into_iter()
            .zip(&fields)
            .map(|(values, field)| to_array(values, field.data_type()))
            .collect()
    }

    fn take_values(&mut self, total: usize) -> Result<ArrayRef> {
        self.grow(total)?;
        let values = self.values(0..total)?;
        self.clear();
        Ok(values)
    }

    fn read(&mut self, groups: &[usize]) -> Result<ArrayRef> {
        self.values(groups.iter().copied())
    }

    fn fold(&mut self, from: usize, into: usize) -> Result<()> {
        let state = self.groups[from].state().map_err(from_datafusion)?;
        let columns: Vec<ArrayRef> = state
            .into_iter()
            .map(|value| value.to_array().map_err(from_datafusion))
            .collect::<Result<_>>()?;
        let group = &mut self.groups[into];
        let before = group.size();
        group.merge_batch(&columns).map_err(from_datafusion)?;
        self.size_bytes = (self.size_bytes + group.size()).saturating_sub(before);
        self.release(&[from])
    }

    fn release(&mut self, groups: &[usize]) -> Result<()> {
        for &group in groups {
            let empty = self
                .function
                .create_accumulator()
                .map_err(from_datafusion)?;
            let before = self.groups[group].size();
            self.size_bytes = (self.size_bytes + empty.size()).saturating_sub(before);
            self.groups[group] = empty;
        }
        Ok(())
    }

    fn can_read(&self) -> bool {
        true
    }

    fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}

fn to_array(values: Vec<ScalarValue>, data_type: &arrow::datatypes::DataType) -> Result<ArrayRef> {
    if values.is_empty() {
        return Ok(arrow::array::new_empty_array(data_type));
    }
    ScalarValue::iter_to_array(values).map_err(from_datafusion)
}

/// The rows that count, by group, each group's rows in their order.
fn rows_by_group(groups: &[usize], keep: Option<&BooleanArray>) -> Vec<(usize, u32)> {
    let counts = |row: usize| keep.is_none_or(|keep| keep.is_valid(row) && keep.value(row));
    let mut rows: Vec<(usize, u32)> = (0u32..)
        .zip(groups)
        .filter(|(row, _)| counts(*row as usize))
        .map(|(row, group)| (*group, row))
        .collect();
    rows.sort_by_key(|(group, _)| *group);
    rows
}
