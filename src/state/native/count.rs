//! `count(*)` and `count(x)`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;

use super::rows::{each_row, each_value};
use crate::error::Result;
use crate::state::accumulator::{GroupAccumulator, Update};

/// The number of rows whose argument is not NULL.
#[derive(Default)]
pub(super) struct Count {
    counts: Vec<i64>,
}

impl GroupAccumulator for Count {
    fn update(&mut self, rows: Update<'_>) -> Result<()> {
        self.counts.resize(rows.total, 0);
        let nulls = rows.arguments[0].logical_nulls();
        each_row(rows.groups, rows.keep, nulls.as_ref(), |group, _| {
            self.counts[group] += 1;
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.counts.resize(total, 0);
        let counts = states[0].as_primitive::<Int64Type>();
        each_value(groups, None, counts, |group, count| {
            self.counts[group] += count;
        });
        Ok(())
    }

    fn take_state(&mut self) -> Result<Vec<ArrayRef>> {
        let total = self.counts.len();
        Ok(vec![self.take_values(total)?])
    }

    fn states_of(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.read(groups)?])
    }

    fn take_values(&mut self, total: usize) -> Result<ArrayRef> {
        self.counts.resize(total, 0);
        Ok(Arc::new(Int64Array::from(std::mem::take(&mut self.counts))))
    }

    fn read(&mut self, groups: &[usize]) -> Result<ArrayRef> {
        let counts = groups.iter().map(|&group| self.counts[group]);
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }

    fn fold(&mut self, from: usize, into: usize) -> Result<()> {
        let count = std::mem::take(&mut self.counts[from]);
        self.counts[into] += count;
        Ok(())
    }

    fn release(&mut self, groups: &[usize]) -> Result<()> {
        for &group in groups {
            self.counts[group] = 0;
        }
        Ok(())
    }

    fn can_read(&self) -> bool {
        true
    }

    fn size_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }
}
