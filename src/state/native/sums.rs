//! `sum` and `avg`.
//!
//! Integers and numerics are added up in 128 bits, so that the order of the rows, and which lane
//! they came through, decides neither the sum nor whether it overflows: only the result must fit.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, Int64Array, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};

use super::rows::each_value;
use crate::error::{Error, Result};
use crate::state::accumulator::{GroupAccumulator, Refused, Update};
use crate::types::ExactSum;

/// How numbers of a type are added up, and what is given of them.
pub(super) trait Adding: Send {
    /// The type of the argument.
    type Input: ArrowPrimitiveType;
    /// The type in which sums are held.
    type Sum: ArrowPrimitiveType;
    /// The type of the result.
    type Output: ArrowPrimitiveType;

    fn widen(
        value: <Self::Input as ArrowPrimitiveType>::Native,
    ) -> <Self::Sum as ArrowPrimitiveType>::Native;

    /// `None`: the type of sums does not hold it.
    fn add(
        &self,
        left: <Self::Sum as ArrowPrimitiveType>::Native,
        right: <Self::Sum as ArrowPrimitiveType>::Native,
    ) -> Option<<Self::Sum as ArrowPrimitiveType>::Native>;

    /// Why there is no result where sums did not fit.
    fn overflow(&self) -> Error;

    /// The result of at least one number.
    fn finish(
        &self,
        sum: <Self::Sum as ArrowPrimitiveType>::Native,
        count: i64,
    ) -> Result<<Self::Output as ArrowPrimitiveType>::Native>;

    /// The type of the result, with precision and scale.
    fn result(&self) -> DataType;
}

/// A sum and a count a group; the result is NULL as long as the count is 0.
pub(super) struct Sums<A: Adding> {
    adding: A,
    sums: Vec<(<A::Sum as ArrowPrimitiveType>::Native, i64)>,
    /// Values of the column given last that there are none of.
    refused: Refused,
}

/// The count of a sum that 128 bits did not hold: it stays one, whatever comes.
const LOST: i64 = i64::MIN;

impl<A: Adding> Sums<A> {
    pub(super) fn new(adding: A) -> Self {
        Self {
            adding,
            sums: Vec::new(),
            refused: Refused::new(),
        }
    }

    fn empty() -> (<A::Sum as ArrowPrimitiveType>::Native, i64) {
        (A::Sum::default_value(), 0)
    }

    fn states(
        sums: impl Iterator<Item = (<A::Sum as ArrowPrimitiveType>::Native, i64)>,
    ) -> Vec<ArrayRef> {
        let (sums, counts): (Vec<_>, Vec<_>) = sums.unzip();
        vec![
            Arc::new(PrimitiveArray::<A::Sum>::new(sums.into(), None)),
            Arc::new(Int64Array::from(counts)),
        ]
    }

    /// The column of results, and those of them that there are none of.
    fn array(
        adding: &A,
        sums: impl Iterator<Item = (<A::Sum as ArrowPrimitiveType>::Native, i64)>,
    ) -> (ArrayRef, Refused) {
        let room = sums.size_hint().0;
        let mut values = Vec::with_capacity(room);
        let mut seen = Vec::with_capacity(room);
        let mut refused = Refused::new();
        for (place, (sum, count)) in sums.enumerate() {
            let value = match count {
                0 => None,
                LOST => {
                    refused.insert(place, adding.overflow());
                    None
                }
                count => {
                    let value = adding.finish(sum, count);
                    value.map_err(|error| refused.insert(place, error)).ok()
                }
            };
            seen.push(value.is_some());
            values.push(value.unwrap_or_default());
        }
        let nulls = Some(NullBuffer::from(seen)).filter(|nulls| nulls.null_count() > 0);
        let values = PrimitiveArray::<A::Output>::new(values.into(), nulls);
        let values = Arc::new(values.with_data_type(adding.result()));
        (values, refused)
    }

    /// Adds what some numbers add up to, and how many they are.
    fn put(
        adding: &A,
        into: &mut (<A::Sum as ArrowPrimitiveType>::Native, i64),
        (sum, count): (<A::Sum as ArrowPrimitiveType>::Native, i64),
    ) {
        match adding
            .add(into.0, sum)
            .filter(|_| count != LOST && into.1 != LOST)
        {
            Some(sum) => *into = (sum, into.1 + count),
            None => into.1 = LOST,
        }
    }
}

impl<A: Adding> GroupAccumulator for Sums<A> {
    fn update(&mut self, rows: Update<'_>) -> Result<()> {
        self.sums.resize(rows.total, Self::empty());
        let column = rows.arguments[0].as_primitive::<A::Input>();
        each_value(rows.groups, rows.keep, column, |group, value| {
            Self::put(&self.adding, &mut self.sums[group], (A::widen(value), 1));
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.sums.resize(total, Self::empty());
        let sums = states[0].as_primitive::<A::Sum>();
        let counts = states[1].as_primitive::<Int64Type>();
        for ((&group, &sum), &count) in groups.iter().zip(sums.values()).zip(counts.values()) {
            Self::put(&self.adding, &mut self.sums[group], (sum, count));
        }
        Ok(())
    }

    fn take_state(&mut self) -> Result<Vec<ArrayRef>> {
        Ok(Self::states(std::mem::take(&mut self.sums).into_iter()))
    }

    fn states_of(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>> {
        let sums = groups.iter().map(|&group| self.sums[group]);
        Ok(Self::states(sums))
    }

    fn take_values(&mut self, total: usize) -> Result<ArrayRef> {
        self.sums.resize(total, Self::empty());
        let sums = std::mem::take(&mut self.sums);
        let (values, refused) = Self::array(&self.adding, sums.into_iter());
        self.refused = refused;
        Ok(values)
    }

    fn read(&mut self, groups: &[usize]) -> Result<ArrayRef> {
        let sums = groups.iter().map(|&group| self.sums[group]);
        let (values, refused) = Self::array(&self.adding, sums);
        self.refused = refused;
        Ok(values)
    }

    fn take_refused(&mut self) -> Refused {
        std::mem::take(&mut self.refused)
    }

    fn fold(&mut self, from: usize, into: usize) -> Result<()> {
        let moved = std::mem::replace(&mut self.sums[from], Self::empty());
        Self::put(&self.adding, &mut self.sums[into], moved);
        Ok(())
    }

    fn release(&mut self, groups: &[usize]) -> Result<()> {
        for &group in groups {
            self.sums[group] = Self::empty();
        }
        Ok(())
    }

    fn can_read(&self) -> bool {
        true
    }

    fn size_bytes(&self) -> usize {
        self.sums.capacity() * size_of::<(<A::Sum as ArrowPrimitiveType>::Native, i64)>()
    }
}

/// Sums of `bigint`.
pub(super) struct IntegerSums {
    pub(super) kind: ExactSum,
    /// What the function is called in an error.
    pub(super) name: Arc<str>,
}

impl Adding for IntegerSums {
    type Input = Int64Type;
    type Sum = Decimal128Type;
    type Output = Int64Type;

    fn widen(value: i64) -> i128 {
        value.into()
    }

    fn add(&self, left: i128, right: i128) -> Option<i128> {
        left.checked_add(right)
    }

    fn overflow(&self) -> Error {
        self.kind.out_of_range(&self.name)
    }

    fn finish(&self, sum: i128, count: i64) -> Result<i64> {
        let sum = self.kind.result(sum, count, &self.name)?;
        Ok(i64::try_from(sum).expect("the result was checked to be a bigint"))
    }

    fn result(&self) -> DataType {
        DataType::Int64
    }
}

/// Sums and averages of `numeric`.
pub(super) struct DecimalSums {
    pub(super) kind: ExactSum,
    pub(super) result: DataType,
    /// What the function is called in an error.
    pub(super) name: Arc<str>,
}

impl Adding for DecimalSums {
    type Input = Decimal128Type;
    type Sum = Decimal128Type;
    type Output = Decimal128Type;

    fn widen(value: i128) -> i128 {
        value
    }

    fn add(&self, left: i128, right: i128) -> Option<i128> {
        left.checked_add(right)
    }

    fn overflow(&self) -> Error {
        self.kind.out_of_range(&self.name)
    }

    fn finish(&self, sum: i128, count: i64) -> Result<i128> {
        self.kind.result(sum, count, &self.name)
    }

    fn result(&self) -> DataType {
        self.result.clone()
    }
}

/// Sums and averages of `double precision`.
pub(super) struct FloatSums {
    pub(super) is_average: bool,
}

impl Adding for FloatSums {
    type Input = Float64Type;
    type Sum = Float64Type;
    type Output = Float64Type;

    fn widen(value: f64) -> f64 {
        value
    }

    fn add(&self, left: f64, right: f64) -> Option<f64> {
        Some(left + right)
    }

    fn overflow(&self) -> Error {
        Error::internal("a double precision sum has no end")
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "nobody counts 2^53 rows, and an average is rounded anyway"
    )]
    fn finish(&self, sum: f64, count: i64) -> Result<f64> {
        Ok(if self.is_average {
            sum / count as f64
        } else {
            sum
        })
    }

    fn result(&self) -> DataType {
        DataType::Float64
    }
}
