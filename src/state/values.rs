//! The values of some aggregate functions by number: readable while they live, each number to be
//! emptied and used again.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::accumulator::{GroupAccumulator, Refused, Update};
use super::group_table::{TableUse, accumulator, read, restore_states};
use crate::error::Result;

/// One vector of values a function.
pub struct Values {
    accumulators: Vec<Box<dyn GroupAccumulator>>,
}

impl Values {
    /// No values yet.
    ///
    /// # Errors
    /// When a function has no accumulator.
    pub fn try_new(functions: &[Arc<AggregateFunctionExpr>]) -> Result<Self> {
        let wanted = TableUse {
            readable: true,
            durable: false,
        };
        let accumulators = functions.iter().map(|f| accumulator(f, wanted));
        Ok(Self {
            accumulators: accumulators.collect::<Result<_>>()?,
        })
    }

    /// Takes in rows, each with its number; there are `total` numbers.
    ///
    /// # Errors
    /// When a function refuses a value.
    pub fn update(
        &mut self,
        arguments: &[Vec<ArrayRef>],
        filters: &[Option<BooleanArray>],
        numbers: &[usize],
        total: usize,
    ) -> Result<()> {
        let columns = arguments.iter().zip(filters);
        for (accumulator, (arguments, keep)) in self.accumulators.iter_mut().zip(columns) {
            accumulator.update(Update {
                arguments,
                groups: numbers,
                keep: keep.as_ref(),
                total,
            })?;
        }
        Ok(())
    }

    /// Adds one number's values to another's and empties it.
    ///
    /// # Errors
    /// When a function refuses to merge.
    pub fn fold(&mut self, from: usize, into: usize) -> Result<()> {
        let mut all = self.accumulators.iter_mut();
        all.try_for_each(|accumulator| accumulator.fold(from, into))
    }

    /// The values of some numbers, which stay, and which of these have none that there could be.
    ///
    /// # Errors
    /// When a function cannot give its value.
    pub fn read(&mut self, numbers: &[usize]) -> Result<(Vec<ArrayRef>, Refused)> {
        read(&mut self.accumulators, numbers)
    }

    /// The partial states of some numbers, one function's columns after the other's.
    ///
    /// # Errors
    /// When a function cannot give its state.
    pub fn states_of(&mut self, numbers: &[usize]) -> Result<Vec<ArrayRef>> {
        let all = self.accumulators.iter_mut();
        let states = all.map(|accumulator| accumulator.states_of(numbers));
        Ok(states.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Takes in states as [`Self::states_of`] gave them; there are `total` numbers. Gives the columns
    /// that are left.
    ///
    /// # Errors
    /// When the columns are not those of the functions.
    pub fn restore<'a>(
        &mut self,
        states: &'a [ArrayRef],
        numbers: &[usize],
        total: usize,
    ) -> Result<&'a [ArrayRef]> {
        restore_states(&mut self.accumulators, states, numbers, total)
    }

    /// Empties some numbers.
    ///
    /// # Errors
    /// When a function has no new accumulator.
    pub fn release(&mut self, numbers: &[usize]) -> Result<()> {
        let mut all = self.accumulators.iter_mut();
        all.try_for_each(|accumulator| accumulator.release(numbers))
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.accumulators.iter().map(|a| a.size_bytes()).sum()
    }
}
