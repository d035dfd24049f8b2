//! The trait behind which every aggregate function keeps its values, one a group.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::compute::take;

use crate::error::{Error, Result, from_arrow};

/// Values that cannot be given, by their place in a column, and why: a sum that does not fit its type.
pub type Refused = BTreeMap<usize, Error>;

/// One aggregate function's values for all groups of a table.
pub(super) trait GroupAccumulator: Send {
    /// Takes in rows: `groups[i]` is the group of row `i`; rows where `keep` is not true do not
    /// count. `total` is the number of groups so far, at least one more than any of `groups`.
    fn update(&mut self, rows: Update<'_>) -> Result<()>;

    /// Takes in the partial states that [`Self::take_state`] gave elsewhere.
    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()>;

    /// Gives the partial states of all groups and starts empty.
    fn take_state(&mut self) -> Result<Vec<ArrayRef>>;

    /// Gives the partial states of some groups and keeps them. Costs in proportion to those groups
    /// where [`Self::can_read`] is true, else to all.
    fn states_of(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>> {
        let all = self.take_state()?;
        let total = all.first().map_or(0, |column| column.len());
        let same: Vec<usize> = (0..total).collect();
        self.merge(&all, &same, total)?;
        let rows = UInt64Array::from_iter_values(groups.iter().map(|group| *group as u64));
        let columns = all.iter();
        columns
            .map(|column| take(column, &rows, None).map_err(from_arrow))
            .collect()
    }

    /// Gives the values of all groups and starts empty.
    fn take_values(&mut self, total: usize) -> Result<ArrayRef>;

    /// Gives the values of some groups and keeps them.
    ///
    /// # Panics
    /// If [`Self::can_read`] is false.
    fn read(&mut self, groups: &[usize]) -> Result<ArrayRef>;

    /// Which values of the column that was given last stand for none that there could be: they are
    /// NULL there.
    fn take_refused(&mut self) -> Refused {
        Refused::new()
    }

    /// Adds one group's value to another's and leaves it empty.
    ///
    /// # Panics
    /// If [`Self::can_read`] is false.
    fn fold(&mut self, from: usize, into: usize) -> Result<()>;

    /// Empties groups, so that their numbers can be used again.
    ///
    /// # Panics
    /// If [`Self::can_read`] is false.
    fn release(&mut self, groups: &[usize]) -> Result<()>;

    /// Whether values can be read and kept, and groups emptied one by one.
    fn can_read(&self) -> bool;

    /// Memory held, in bytes.
    fn size_bytes(&self) -> usize;
}

/// Rows on their way into an accumulator.
#[derive(Clone, Copy)]
pub(super) struct Update<'a> {
    /// The function's arguments, then its ordering expressions.
    pub arguments: &'a [ArrayRef],
    /// Each row's group.
    pub groups: &'a [usize],
    /// The FILTER clause.
    pub keep: Option<&'a BooleanArray>,
    /// The number of groups so far.
    pub total: usize,
}
