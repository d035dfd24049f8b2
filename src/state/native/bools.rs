//! `bool_and` and `bool_or`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};

use super::rows::each_row;
use crate::error::Result;
use crate::state::accumulator::{GroupAccumulator, Update};

/// Whether all values, or any of them, are true; NULL before the first one.
pub(super) struct Bools {
    /// True for "all of them".
    all: bool,
    values: Vec<Option<bool>>,
}

impl Bools {
    pub(super) fn new(all: bool) -> Self {
        Self {
            all,
            values: Vec::new(),
        }
    }

    fn take_in(&mut self, column: &BooleanArray, rows: Update<'_>) {
        self.values.resize(rows.total, None);
        let bits = column.values();
        each_row(rows.groups, rows.keep, column.nulls(), |group, row| {
            self.add(group, bits.value(row));
        });
    }

    fn add(&mut self, group: usize, new: bool) {
        let value = &mut self.values[group];
        *value = Some(match (*value, self.all) {
            (None, _) => new,
            (Some(old), true) => old && new,
            (Some(old), false) => old || new,
        });
    }
}

impl GroupAccumulator for Bools {
    fn update(&mut self, rows: Update<'_>) -> Result<()> {
        self.take_in(rows.arguments[0].as_boolean(), rows);
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let rows = Update {
            arguments: states,
            groups,
            keep: None,
            total,
        };
        self.update(rows)
    }

    fn take_state(&mut self) -> Result<Vec<ArrayRef>> {
        let total = self.values.len();
        Ok(vec![self.take_values(total)?])
    }

    fn states_of(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.read(groups)?])
    }

    fn take_values(&mut self, total: usize) -> Result<ArrayRef> {
        self.values.resize(total, None);
        Ok(Arc::new(BooleanArray::from(std::mem::take(
            &mut self.values,
        ))))
    }

    fn read(&mut self, groups: &[usize]) -> Result<ArrayRef> {
        let values: BooleanArray = groups.iter().map(|&group| self.values[group]).collect();
        Ok(Arc::new(values))
    }

    fn fold(&mut self, from: usize, into: usize) -> Result<()> {
        if let Some(value) = self.values[from].take() {
            self.add(into, value);
        }
        Ok(())
    }

    fn release(&mut self, groups: &[usize]) -> Result<()> {
        for &group in groups {
            self.values[group] = None;
        }
        Ok(())
    }

    fn can_read(&self) -> bool {
        true
    }

    fn size_bytes(&self) -> usize {
        self.values.capacity() * size_of::<Option<bool>>()
    }
}
