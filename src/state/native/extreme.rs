//! `min` and `max` of numbers and times.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use super::rows::each_value;
use crate::error::Result;
use crate::state::accumulator::{GroupAccumulator, Update};

/// The value that is better than all others; NULL before the first one.
pub(super) struct Extreme<T: ArrowPrimitiveType, F> {
    data_type: DataType,
    /// Says whether its first argument is to take the place of its second.
    is_better: F,
    values: Vec<T::Native>,
    /// Whether a group has a value.
    seen: Vec<bool>,
}

impl<T, F> Extreme<T, F>
where
    T: ArrowPrimitiveType,
    F: Fn(T::Native, T::Native) -> bool + Send,
{
    pub(super) fn new(data_type: &DataType, is_better: F) -> Self {
        Self {
            data_type: data_type.clone(),
            is_better,
            values: Vec::new(),
            seen: Vec::new(),
        }
    }

    fn grow(&mut self, total: usize) {
        self.values.resize(total, T::default_value());
        self.seen.resize(total, false);
    }

    fn take_in(&mut self, column: &ArrayRef, groups: &[usize], keep: Option<&BooleanArray>) {
        let (values, seen) = (&mut self.values, &mut self.seen);
        each_value(groups, keep, column.as_primitive::<T>(), |group, new| {
            if !seen[group] || (self.is_better)(new, values[group]) {
                values[group] = new;
                seen[group] = true;
            }
        });
    }

    fn array(&self, values: Vec<T::Native>, seen: Vec<bool>) -> ArrayRef {
        let nulls = Some(NullBuffer::from(seen)).filter(|nulls| nulls.null_count() > 0);
        let values = PrimitiveArray::<T>::new(values.into(), nulls);
        Arc::new(values.with_data_type(self.data_type.clone()))
    }
}

impl<T, F> GroupAccumulator for Extreme<T, F>
where
    T: ArrowPrimitiveType,
    F: Fn(T::Native, T::Native) -> bool + Send,
{
    fn update(&mut self, rows: Update<'_>) -> Result<()> {
        self.grow(rows.total);
        self.take_in(&rows.arguments[0], rows.groups, rows.keep);
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        self.take_in(&states[0], groups, None);
        Ok(())
    }

    fn take_state(&mut self) -> Result<Vec<ArrayRef>> {
        let total = self.values.len();
        Ok(vec![self.take_values(total)?])
    }

    fn states_of(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.read(groups)?])
    }

    fn take_values(&mut self, total: usize) -> Result<ArrayRef> {
        self.grow(total);
        let values = std::mem::take(&mut self.values);
        let seen = std::mem::take(&mut self.seen);
        Ok(self.array(values, seen))
    }

    fn read(&mut self, groups: &[usize]) -> Result<ArrayRef> {
        let values = groups.iter().map(|&group| self.values[group]).collect();
        let seen = groups.iter().map(|&group| self.seen[group]).collect();
        Ok(self.array(values, seen))
    }

    fn fold(&mut self, from: usize, into: usize) -> Result<()> {
        let value = self.values[from];
        let is_better = !self.seen[into] || (self.is_better)(value, self.values[into]);
        if self.seen[from] && is_better {
            self.values[into] = value;
            self.seen[into] = true;
        }
        self.seen[from] = false;
        Ok(())
    }

    fn release(&mut self, groups: &[usize]) -> Result<()> {
        for &group in groups {
            self.seen[group] = false;
        }
        Ok(())
    }

    fn can_read(&self) -> bool {
        true
    }

    fn size_bytes(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.seen.capacity()
    }
}
