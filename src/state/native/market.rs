//! `ohlc(price, ts)` and `vwap(price, volume)`, made of the accumulators of other functions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StructArray};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{Fields, Float64Type};

use super::ordered::whole_rows;
use super::sums::{FloatSums, Sums};
use crate::error::{Result, from_arrow};
use crate::state::accumulator::{GroupAccumulator, Update};

/// Several accumulators of the same rows as one, each with the number of its state's columns.
struct Parts<const N: usize>([(Box<dyn GroupAccumulator>, usize); N]);

impl<const N: usize> Parts<N> {
    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let mut rest = states;
        for (part, columns) in &mut self.0 {
            let (own, others) = rest.split_at(*columns);
            part.merge(own, groups, total)?;
            rest = others;
        }
        Ok(())
    }

    fn take_state(&mut self) -> Result<Vec<ArrayRef>> {
        let states = self.0.iter_mut().map(|(part, _)| part.take_state());
        Ok(states.collect::<Result<Vec<_>>>()?.concat())
    }

    fn states_of(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>> {
        let states = self.0.iter_mut().map(|(part, _)| part.states_of(groups));
        Ok(states.collect::<Result<Vec<_>>>()?.concat())
    }

    fn values(
        &mut self,
        of: impl Fn(&mut Box<dyn GroupAccumulator>) -> Result<ArrayRef>,
    ) -> Result<Vec<ArrayRef>> {
        self.0.iter_mut().map(|(part, _)| of(part)).collect()
    }

    fn fold(&mut self, from: usize, into: usize) -> Result<()> {
        let mut parts = self.0.iter_mut();
        parts.try_for_each(|(part, _)| part.fold(from, into))
    }

    fn release(&mut self, groups: &[usize]) -> Result<()> {
        let mut parts = self.0.iter_mut();
        parts.try_for_each(|(part, _)| part.release(groups))
    }

    fn size_bytes(&self) -> usize {
        self.0.iter().map(|(part, _)| part.size_bytes()).sum()
    }
}

/// Open, high, low and close as a row; NULL before the first price.
pub(super) struct Candles {
    fields: Fields,
    parts: Parts<4>,
}

impl Candles {
    /// Open and close have two columns of state, high and low one.
    pub(super) fn new(fields: Fields, parts: [Box<dyn GroupAccumulator>; 4]) -> Self {
        let [open, high, low, close] = parts;
        Self {
            fields,
            parts: Parts([(open, 2), (high, 1), (low, 1), (close, 2)]),
        }
    }

    fn row(&self, columns: Vec<ArrayRef>) -> Result<ArrayRef> {
        let nulls = columns[0].nulls().cloned();
        let rows = StructArray::try_new(self.fields.clone(), columns, nulls).map_err(from_arrow)?;
        Ok(Arc::new(rows))
    }
}

impl GroupAccumulator for Candles {
    fn update(&mut self, rows: Update<'_>) -> Result<()> {
        let keep = whole_rows(rows.arguments, rows.keep);
        let rows = Update {
            keep: Some(&keep),
            ..rows
        };
        let mut parts = self.parts.0.iter_mut();
        parts.try_for_each(|(part, _)| part.update(rows))
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.parts.merge(states, groups, total)
    }

    fn take_state(&mut self) -> Result<Vec<ArrayRef>> {
        self.parts.take_state()
    }

    fn states_of(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>> {
        self.parts.states_of(groups)
    }

    fn take_values(&mut self, total: usize) -> Result<ArrayRef> {
        let columns = self.parts.values(|part| part.take_values(total))?;
        self.row(columns)
    }

    fn read(&mut self, groups: &[usize]) -> Result<ArrayRef> {
        let columns = self.parts.values(|part| part.read(groups))?;
        self.row(columns)
    }

    fn fold(&mut self, from: usize, into: usize) -> Result<()> {
        self.parts.fold(from, into)
    }

    fn release(&mut self, groups: &[usize]) -> Result<()> {
        self.parts.release(groups)
    }

    fn can_read(&self) -> bool {
        true
    }

    fn size_bytes(&self) -> usize {
        self.parts.size_bytes()
    }
}

/// Turnover divided by volume; NULL when the volume is 0.
pub(super) struct WeightedMean {
    /// The sums of turnover and of volume.
    parts: Parts<2>,
}

impl WeightedMean {
    pub(super) fn new() -> Self {
        let sum = || -> Box<dyn GroupAccumulator> {
            Box::new(Sums::new(FloatSums { is_average: false }))
        };
        Self {
            parts: Parts([(sum(), 2), (sum(), 2)]),
        }
    }

    fn means(columns: &[ArrayRef]) -> ArrayRef {
        let turnovers = columns[0].as_primitive::<Float64Type>();
        let volumes = columns[1].as_primitive::<Float64Type>();
        let means = turnovers.iter().zip(volumes).map(|(turnover, volume)| {
            let volume = volume.filter(|volume| *volume != 0.0)?;
            Some(turnover? / volume)
        });
        Arc::new(means.collect::<Float64Array>())
    }
}

impl GroupAccumulator for WeightedMean {
    fn update(&mut self, rows: Update<'_>) -> Result<()> {
        let keep = whole_rows(rows.arguments, rows.keep);
        let [prices, volumes] = &rows.arguments[..2] else {
            unreachable!("vwap has two arguments");
        };
        let turnovers = numeric::mul(prices, volumes).map_err(from_arrow)?;
        let columns = [turnovers, Arc::clone(volumes)];
        for ((part, _), column) in self.parts.0.iter_mut().zip(&columns) {
            part.update(Update {
                arguments: std::slice::from_ref(column),
                keep: Some(&keep),
                ..rows
            })?;
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.parts.merge(states, groups, total)
    }

    fn take_state(&mut self) -> Result<Vec<ArrayRef>> {
        self.parts.take_state()
    }

    fn states_of(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>> {
        self.parts.states_of(groups)
    }

    fn take_values(&mut self, total: usize) -> Result<ArrayRef> {
        let columns = self.parts.values(|part| part.take_values(total))?;
        Ok(Self::means(&columns))
    }

    fn read(&mut self, groups: &[usize]) -> Result<ArrayRef> {
        let columns = self.parts.values(|part| part.read(groups))?;
        Ok(Self::means(&columns))
    }

    fn fold(&mut self, from: usize, into: usize) -> Result<()> {
        self.parts.fold(from, into)
    }

    fn release(&mut self, groups: &[usize]) -> Result<()> {
        self.parts.release(groups)
    }

    fn can_read(&self) -> bool {
        true
    }

    fn size_bytes(&self) -> usize {
        self.parts.size_bytes()
    }
}
