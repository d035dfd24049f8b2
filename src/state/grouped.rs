//! DataFusion's vectorised accumulators: fast, but reading them empties them.

use arrow::array::ArrayRef;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::accumulator::{GroupAccumulator, Update};
use crate::error::{Result, from_datafusion};

/// A `GroupsAccumulator` of DataFusion.
pub(super) struct Grouped {
    inner: Box<dyn GroupsAccumulator>,
}

impl Grouped {
    pub(super) fn new(inner: Box<dyn GroupsAccumulator>) -> Self {
        Self { inner }
    }
}

impl GroupAccumulator for Grouped {
    fn update(&mut self, rows: Update<'_>) -> Result<()> {
        self.inner
            .update_batch(rows.arguments, rows.groups, rows.keep, rows.total)
            .map_err(from_datafusion)
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.inner
            .merge_batch(states, groups, total)
            .map_err(from_datafusion)
    }

    fn take_state(&mut self) -> Result<Vec<ArrayRef>> {
        self.inner.state(EmitTo::All).map_err(from_datafusion)
    }

    fn take_values(&mut self, _total: usize) -> Result<ArrayRef> {
        self.inner.evaluate(EmitTo::All).map_err(from_datafusion)
    }

    fn read(&mut self, _groups: &[usize]) -> Result<ArrayRef> {
        unreachable!("the group table asks can_read first")
    }

    fn fold(&mut self, _from: usize, _into: usize) -> Result<()> {
        unreachable!("the group table asks can_read first")
    }

    fn release(&mut self, _groups: &[usize]) -> Result<()> {
        unreachable!("the group table asks can_read first")
    }

    fn can_read(&self) -> bool {
        false
    }

    fn size_bytes(&self) -> usize {
        self.inner.size()
    }
}
