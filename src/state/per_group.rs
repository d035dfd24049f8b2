//! One of DataFusion's row accumulators a group: works for every function, and can be read.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow::compute::take;
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::scalar::ScalarValue;

use super::accumulator::{GroupAccumulator, Refused, Update};
use crate::error::{Result, from_arrow, from_datafusion};

/// A row accumulator for each group.
pub(super) struct PerGroup {
    function: Arc<AggregateFunctionExpr>,
    groups: Vec<Group>,
    /// The memory of `groups` when each was last measured.
    size_bytes: usize,
    /// Values of the column given last that there are none of.
    refused: Refused,
}

struct Group {
    accumulator: Box<dyn Accumulator>,
    /// Its memory when it was last measured.
    size_bytes: usize,
    /// Rows taken in.
    rows: usize,
    /// It is measured again when it has taken in so many: measuring may cost as much as all rows
    /// of the group, so it is done each time that they have grown by a quarter.
    measure_at: usize,
}

impl Group {
    fn try_new(function: &AggregateFunctionExpr) -> Result<Self> {
        let accumulator = function.create_accumulator().map_err(from_datafusion)?;
        Ok(Self {
            size_bytes: accumulator.size(),
            accumulator,
            rows: 0,
            measure_at: 1,
        })
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.accumulator.state().map_err(from_datafusion)
    }
}

impl PerGroup {
    pub(super) fn new(function: Arc<AggregateFunctionExpr>) -> Self {
        Self {
            function,
            groups: Vec::new(),
            size_bytes: 0,
            refused: Refused::new(),
        }
    }

    fn grow(&mut self, total: usize) -> Result<()> {
        while self.groups.len() < total {
            let group = Group::try_new(&self.function)?;
            self.size_bytes += group.size_bytes;
            self.groups.push(group);
        }
        Ok(())
    }

    /// Notes that a group has taken in rows.
    fn took_in(&mut self, group: usize, rows: usize) {
        let group = &mut self.groups[group];
        group.rows += rows;
        if group.rows < group.measure_at {
            return;
        }
        group.measure_at = group.rows + group.rows / 4 + 1;
        let size = group.accumulator.size();
        self.size_bytes = (self.size_bytes + size).saturating_sub(group.size_bytes);
        group.size_bytes = size;
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
            let group = run[0].0;
            each(self.groups[group].accumulator.as_mut(), &part).map_err(from_datafusion)?;
            self.took_in(group, run.len());
            start += run.len();
        }
        Ok(())
    }

    fn values(&mut self, groups: impl Iterator<Item = usize>) -> Result<ArrayRef> {
        let field = self.function.field();
        let none = ScalarValue::try_from(field.data_type()).map_err(from_datafusion)?;
        self.refused.clear();
        let mut values = Vec::with_capacity(groups.size_hint().0);
        for (place, group) in groups.enumerate() {
            let accumulator = &mut self.groups[group].accumulator;
            values.push(match accumulator.evaluate().map_err(from_datafusion) {
                Err(error) if error.is_of_data() => {
                    self.refused.insert(place, error);
                    none.clone()
                }
                value => value?,
            });
        }
        to_array(values, field.data_type())
    }

    /// One column of state after the other.
    fn columns(&self, states: Result<Vec<Vec<ScalarValue>>>) -> Result<Vec<ArrayRef>> {
        let fields = self.function.state_fields().map_err(from_datafusion)?;
        let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::new(); fields.len()];
        for state in states? {
            for (column, value) in columns.iter_mut().zip(state) {
                column.push(value);
            }
        }
        let columns = columns.into_iter().zip(&fields);
        columns
            .map(|(values, field)| to_array(values, field.data_type()))
            .collect()
    }

    /// A group's state; giving it may empty the accumulator, so a new one takes it in again.
    fn keep_state(&mut self, group: usize) -> Result<Vec<ScalarValue>> {
        let state = self.groups[group].state()?;
        let mut fresh = self
            .function
            .create_accumulator()
            .map_err(from_datafusion)?;
        let columns = state.iter().map(ScalarValue::to_array);
        let columns = columns.collect::<datafusion::error::Result<Vec<_>>>();
        let merged = columns.and_then(|columns| fresh.merge_batch(&columns));
        merged.map_err(from_datafusion)?;
        self.groups[group].accumulator = fresh;
        Ok(state)
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
        let states = self.groups.iter_mut().map(Group::state).collect();
        self.clear();
        self.columns(states)
    }

    fn states_of(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>> {
        let mut states = Vec::with_capacity(groups.len());
        for &group in groups {
            states.push(self.keep_state(group));
        }
        self.columns(states.into_iter().collect())
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

    fn take_refused(&mut self) -> Refused {
        std::mem::take(&mut self.refused)
    }

    fn fold(&mut self, from: usize, into: usize) -> Result<()> {
        let columns: Vec<ArrayRef> = self.groups[from]
            .state()?
            .into_iter()
            .map(|value| value.to_array().map_err(from_datafusion))
            .collect::<Result<_>>()?;
        let merged = self.groups[into].accumulator.merge_batch(&columns);
        merged.map_err(from_datafusion)?;
        self.took_in(into, self.groups[from].rows);
        self.release(&[from])
    }

    fn release(&mut self, groups: &[usize]) -> Result<()> {
        for &group in groups {
            let empty = Group::try_new(&self.function)?;
            let before = self.groups[group].size_bytes;
            self.size_bytes = (self.size_bytes + empty.size_bytes).saturating_sub(before);
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
