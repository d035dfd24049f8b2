//! The indicators that need the first and the last row alone: they keep no others.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use super::moments::Moments;
use super::pair::{Pair, Places};

/// `pct_change`: `last / first - 1`.
#[derive(Debug)]
pub(super) struct Change {
    places: Places,
    first: Option<Pair>,
    last: Option<Pair>,
}

impl Change {
    pub(super) fn new(places: Places) -> Self {
        Self {
            places,
            first: None,
            last: None,
        }
    }
}

/// Takes in a row that may be the first one.
fn offer_first(held: &mut Option<Pair>, new: &Pair, ordered: bool) {
    let is_first = |held: &Pair| ordered && new.order(held).is_lt();
    if held.as_ref().is_none_or(is_first) {
        *held = Some(new.clone());
    }
}

/// Takes in a row that may be the last one.
fn offer_last(held: &mut Option<Pair>, new: Pair, ordered: bool) {
    let is_last = |held: &Pair| !ordered || new.order(held).is_ge();
    if held.as_ref().is_none_or(is_last) {
        *held = Some(new);
    }
}

fn pair_size(pair: Option<&Pair>) -> usize {
    pair.map_or(0, Pair::key_bytes)
}

impl Accumulator for Change {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let ordered = self.places.are_ordered();
        let (first, last) = (&mut self.first, &mut self.last);
        self.places.each(columns, |pair| {
            offer_first(first, &pair, ordered);
            offer_last(last, pair, ordered);
        })
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let ordered = self.places.are_ordered();
        let (first, last) = (&mut self.first, &mut self.last);
        Pair::each(&states[0], &states[1], |pair| {
            offer_first(first, &pair, ordered);
        })?;
        Pair::each(&states[2], &states[3], |pair| {
            offer_last(last, pair, ordered);
        })
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let change = self.first.as_ref().zip(self.last.as_ref());
        let change = change.filter(|(first, _)| first.value != 0.0);
        Ok(ScalarValue::Float64(
            change.map(|(first, last)| last.value / first.value - 1.0),
        ))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let [first, first_key] = Pair::state(self.first.as_ref());
        let [last, last_key] = Pair::state(self.last.as_ref());
        Ok(vec![first, first_key, last, last_key])
    }

    fn size(&self) -> usize {
        size_of_val(self) + pair_size(self.first.as_ref()) + pair_size(self.last.as_ref())
    }
}

/// `zscore`: how many deviations the last value stands above the mean of all.
#[derive(Debug)]
pub(super) struct Standing {
    places: Places,
    last: Option<Pair>,
    moments: Moments,
}

impl Standing {
    pub(super) fn new(places: Places) -> Self {
        Self {
            places,
            last: None,
            moments: Moments::default(),
        }
    }
}

impl Accumulator for Standing {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let ordered = self.places.are_ordered();
        let (last, moments) = (&mut self.last, &mut self.moments);
        self.places.each(columns, |pair| {
            moments.add(pair.value);
            offer_last(last, pair, ordered);
        })
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts = states[2].as_primitive::<Int64Type>();
        let means = states[3].as_primitive::<Float64Type>();
        let squares = states[4].as_primitive::<Float64Type>();
        for row in (0..counts.len()).filter(|row| counts.is_valid(*row)) {
            self.moments.merge(Moments {
                count: counts.value(row),
                mean: means.value(row),
                squares: squares.value(row),
            });
        }
        let (last, ordered) = (&mut self.last, self.places.are_ordered());
        Pair::each(&states[0], &states[1], |pair| {
            offer_last(last, pair, ordered);
        })
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let deviation = self.moments.deviation();
        let standing = self.last.as_ref().zip(deviation.filter(|one| *one != 0.0));
        let mean = self.moments.mean;
        Ok(ScalarValue::Float64(
            standing.map(|(last, deviation)| (last.value - mean) / deviation),
        ))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let [last, last_key] = Pair::state(self.last.as_ref());
        Ok(vec![
            last,
            last_key,
            ScalarValue::Int64(Some(self.moments.count)),
            ScalarValue::Float64(Some(self.moments.mean)),
            ScalarValue::Float64(Some(self.moments.squares)),
        ])
    }

    fn size(&self) -> usize {
        size_of_val(self) + pair_size(self.last.as_ref())
    }
}
