//! The rows of an indicator in their order, and the formula that goes through them.
//!
//! ```text
//! pairs   (09:00, 7.1) (09:01, 7.3) .. (09:58, 7.2) | (09:59, 7.4) (10:00, 7.4)
//!         gone through once: `kept`                 | gone through for each answer
//! ```
//! Rows that come in order cost the same however many there are: the formula has been kept as it was some rows before
//! the end. One that comes further back than that lets it begin anew.
//! Invariant: between calls `pairs` is sorted, and `kept` has gone through its first `kept.0` pairs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Field;
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use super::folds::Fold;
use super::pair::{Pair, Places};

/// How many rows before the end the formula is kept: rows may come so late without going through all of them again.
const KEPT_BEFORE_END: usize = 256;

/// All rows, or the newest from which the result follows.
#[derive(Debug)]
pub(super) struct Series<F> {
    places: Places,
    pairs: Vec<Pair>,
    /// Memory of the keys, in bytes.
    keys_bytes: usize,
    /// The formula before the first value.
    begin: F,
    kept: (usize, F),
}

impl<F: Fold> Series<F> {
    pub(super) fn new(places: Places, begin: F) -> Self {
        Self {
            places,
            pairs: Vec::new(),
            keys_bytes: 0,
            begin,
            kept: (0, begin),
        }
    }

    fn add(&mut self, pairs: Vec<Pair>) {
        self.keys_bytes += pairs.iter().map(Pair::key_bytes).sum::<usize>();
        let first = self.pairs.len();
        self.pairs.extend(pairs);
        if self.places.are_ordered() {
            self.sort_from(first);
        }
        // Only now and then: each time costs as much as all that are left.
        let most = self.begin.values_max();
        if self.pairs.len() > most.saturating_mul(2) {
            self.forget_old(most);
        }
    }

    /// Puts the pairs from `first` on in their place; those before are sorted.
    fn sort_from(&mut self, first: usize) {
        let (sorted, new) = self.pairs.split_at_mut(first);
        new.sort_by(Pair::order);
        let Some(least) = new.first() else { return };
        let place = sorted.partition_point(|pair| pair.order(least).is_le());
        if place < first {
            // Two sorted runs: this merges them.
            self.pairs[place..].sort_by(Pair::order);
        }
        if place < self.kept.0 {
            self.kept = (0, self.begin);
        }
    }

    fn forget_old(&mut self, most: usize) {
        let old = self.pairs.len().saturating_sub(most);
        if old > 0 {
            let forgotten = self.pairs.drain(..old).map(|pair| pair.key_bytes());
            self.keys_bytes -= forgotten.sum::<usize>();
            self.kept = (0, self.begin);
        }
    }

    fn result(&mut self) -> Option<f64> {
        let len = self.pairs.len();
        let first = len.saturating_sub(self.begin.values_max());
        let (start, mut fold) = if first == 0 {
            self.kept
        } else {
            (first, self.begin)
        };
        let keep_at = len.saturating_sub(KEPT_BEFORE_END);
        for (place, pair) in self.pairs.iter().enumerate().skip(start) {
            if place == keep_at && first == 0 {
                self.kept = (place, fold);
            }
            fold.take(pair.value);
        }
        fold.result()
    }
}

impl<F: Fold> Accumulator for Series<F> {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let mut pairs = Vec::with_capacity(columns[0].len());
        self.places.each(columns, |pair| pairs.push(pair))?;
        self.add(pairs);
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let values = states[0].as_list::<i32>().iter().flatten();
        let keys = states[1].as_list::<i32>().iter().flatten();
        for (values, keys) in values.zip(keys) {
            let mut pairs = Vec::with_capacity(values.len());
            Pair::each(&values, &keys, |pair| pairs.push(pair))?;
            self.add(pairs);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.result()))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.forget_old(self.begin.values_max());
        let values = Float64Array::from_iter_values(self.pairs.iter().map(|pair| pair.value));
        let keys = BinaryArray::from_iter_values(self.pairs.iter().map(|pair| &pair.key));
        Ok(vec![list(Arc::new(values))?, list(Arc::new(keys))?])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.pairs.capacity() * size_of::<Pair>() + self.keys_bytes
    }
}

fn list(values: ArrayRef) -> Result<ScalarValue> {
    let list = ListArray::try_new(
        Arc::new(Field::new_list_field(values.data_type().clone(), true)),
        OffsetBuffer::from_lengths([values.len()]),
        values,
        None,
    )?;
    Ok(ScalarValue::List(Arc::new(list)))
}
