//! The row that is first or last by a column, and the value that stands in it.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::scalar::ScalarValue;

/// Which row is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The least; of equal ones the first seen.
    First,
    /// The greatest; of equal ones the first seen.
    Greatest,
    /// The greatest; of equal ones the last seen.
    Last,
}

impl Wanted {
    /// Whether a row that compares so with the best one before it takes its place.
    fn takes_place(self, new_to_old: Ordering) -> bool {
        match self {
            Self::First => new_to_old.is_lt(),
            Self::Greatest => new_to_old.is_gt(),
            Self::Last => new_to_old.is_ge(),
        }
    }
}

/// The best row so far. Rows whose `by` is NULL do not count.
#[derive(Debug)]
pub(super) struct Best {
    wanted: Wanted,
    /// The value in the best row; NULL before the first row.
    value: ScalarValue,
    /// By what it is the best; NULL before the first row.
    by: ScalarValue,
}

impl Best {
    pub(super) fn try_new(wanted: Wanted, value: &DataType, by: &DataType) -> Result<Self> {
        Ok(Self {
            wanted,
            value: ScalarValue::try_from(value)?,
            by: ScalarValue::try_from(by)?,
        })
    }

    /// Takes in rows in their order.
    pub(super) fn offer(&mut self, values: &ArrayRef, by: &ArrayRef) -> Result<()> {
        let compare = make_comparator(by.as_ref(), by.as_ref(), SortOptions::default())?;
        let nulls = by.logical_nulls();
        let mut best: Option<usize> = None;
        for row in 0..by.len() {
            let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            if !is_null && best.is_none_or(|best| self.wanted.takes_place(compare(row, best))) {
                best = Some(row);
            }
        }
        let Some(best) = best else { return Ok(()) };
        let new = ScalarValue::try_from_array(by, best)?.compacted();
        let is_better = self.by.is_null()
            || new
                .partial_cmp(&self.by)
                .is_some_and(|order| self.wanted.takes_place(order));
        if is_better {
            self.value = ScalarValue::try_from_array(values, best)?.compacted();
            self.by = new;
        }
        Ok(())
    }

    pub(super) fn value(&self) -> ScalarValue {
        self.value.clone()
    }

    /// True before the first row.
    pub(super) fn is_empty(&self) -> bool {
        self.by.is_null()
    }

    /// The value, and by what it is the best: two columns that [`Self::offer`] takes.
    pub(super) fn state(&self) -> [ScalarValue; 2] {
        [self.value.clone(), self.by.clone()]
    }

    pub(super) fn size(&self) -> usize {
        self.value.size() + self.by.size()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    /// The best of batches of pairs of a value and what it is ordered by.
    fn check(wanted: Wanted, batches: &[&[(i64, Option<i64>)]], expected: Option<i64>) {
        let mut best = Best::try_new(wanted, &DataType::Int64, &DataType::Int64).unwrap();
        for batch in batches {
            let values: Int64Array = batch.iter().map(|(value, _)| Some(*value)).collect();
            let by: Int64Array = batch.iter().map(|(_, by)| *by).collect();
            let (values, by): (ArrayRef, ArrayRef) = (Arc::new(values), Arc::new(by));
            best.offer(&values, &by).unwrap();
        }
        assert_eq!(best.value(), ScalarValue::Int64(expected), "{wanted:?}");
    }

    #[test]
    fn of_equal_ones_the_first_or_the_last_counts() {
        let batches: [&[_]; 3] = [
            &[(1, Some(5)), (2, Some(5)), (3, None)],
            &[(4, Some(3)), (5, Some(3))],
            &[(6, Some(5)), (7, Some(5)), (8, Some(3))],
        ];
        check(Wanted::First, &batches, Some(4));
        check(Wanted::Greatest, &batches, Some(1));
        check(Wanted::Last, &batches, Some(7));
    }

    #[test]
    fn a_row_without_an_order_does_not_count() {
        check(Wanted::First, &[&[(1, None)]], None);
        check(
            Wanted::Last,
            &[&[(1, None)], &[(2, Some(0))], &[(3, None)]],
            Some(2),
        );
    }
}
