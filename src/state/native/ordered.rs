//! The value of the row that is first or last by a column: `first_value`, `last_value`, `arg_min`,
//! `arg_max`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, PrimitiveArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};

use super::rows::each_row;
use crate::error::{Error, Result, from_arrow};
use crate::state::accumulator::{GroupAccumulator, Update};

/// Where rows without an order stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    First,
    Last,
    /// Nowhere: they do not count.
    Ignored,
}

/// By what rows are ordered, and which of them is wanted.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// The type of the column; `None` for the order in which the rows came.
    pub(super) by: Option<DataType>,
    pub(super) descending: bool,
    pub(super) nulls: Nulls,
    /// True for the last row, of equal ones the last that came; else the first.
    pub(super) last: bool,
}

impl Order {
    /// Whether rows can be ordered by columns of that type.
    pub(super) fn supports(by: &DataType) -> bool {
        let whole = by.is_integer() && by != &DataType::UInt64;
        let time = matches!(by, DataType::Timestamp(..) | DataType::Date32);
        whole
            || time
            || matches!(
                by,
                DataType::Float32 | DataType::Float64 | DataType::Decimal128(..)
            )
    }

    /// A number for each row; the numbers are in the order of the rows.
    fn keys(&self, columns: &[ArrayRef]) -> Result<Vec<i128>> {
        let Some(by) = &self.by else {
            return Ok(vec![0; columns[0].len()]);
        };
        let column = &columns[1];
        let mut keys: Vec<i128> = match by {
            DataType::Decimal128(..) => {
                let numbers = column.as_primitive_opt::<Decimal128Type>();
                numbers.ok_or_else(|| odd(column))?.values().to_vec()
            }
            DataType::Float32 | DataType::Float64 => {
                let numbers = cast(column, &DataType::Float64).map_err(from_arrow)?;
                let numbers = numbers.as_primitive::<Float64Type>().values();
                numbers.iter().map(|number| float_key(*number)).collect()
            }
            _ => {
                let numbers = cast(column, &DataType::Int64).map_err(from_arrow)?;
                let numbers = numbers.as_primitive::<Int64Type>().values();
                numbers.iter().map(|number| i128::from(*number)).collect()
            }
        };
        if self.descending {
            keys.iter_mut().for_each(|key| *key = !*key);
        }
        if let Some(nulls) = column.nulls() {
            let key_of_null = match self.nulls {
                Nulls::First => i128::MIN,
                Nulls::Last | Nulls::Ignored => i128::MAX,
            };
            for (key, is_valid) in keys.iter_mut().zip(nulls) {
                if !is_valid {
                    *key = key_of_null;
                }
            }
        }
        Ok(keys)
    }

    /// The rows that are ordered by nothing and therefore do not count.
    fn left_out<'a>(&self, columns: &'a [ArrayRef]) -> Option<&'a NullBuffer> {
        let by = self.by.as_ref().and(columns.get(1));
        by.filter(|_| self.nulls == Nulls::Ignored)?.nulls()
    }
}

/// A number in the order of the floating-point ones, NaN last.
fn float_key(number: f64) -> i128 {
    if number.is_nan() {
        return i128::from(i64::MAX);
    }
    let bits = number.to_bits().cast_signed();
    i128::from(if bits < 0 { bits ^ i64::MAX } else { bits })
}

fn odd(column: &ArrayRef) -> Error {
    Error::internal(format!("an order came as {}", column.data_type()))
}

/// The value of the wanted row; NULL before the first one.
pub(super) struct Ordered<T: ArrowPrimitiveType> {
    data_type: DataType,
    order: Order,
    values: Vec<Value<T::Native>>,
}

#[derive(Clone, Copy)]
struct Value<N> {
    key: i128,
    value: N,
    is_null: bool,
    /// False before the first row.
    seen: bool,
}

impl<T: ArrowPrimitiveType> Ordered<T> {
    pub(super) fn new(data_type: &DataType, order: Order) -> Self {
        Self {
            data_type: data_type.clone(),
            order,
            values: Vec::new(),
        }
    }

    fn empty() -> Value<T::Native> {
        Value {
            key: 0,
            value: T::default_value(),
            is_null: true,
            seen: false,
        }
    }

    fn offer(held: &mut Value<T::Native>, new: Value<T::Native>, last: bool) {
        let takes_place = if last {
            new.key >= held.key
        } else {
            new.key < held.key
        };
        if !held.seen || takes_place {
            *held = new;
        }
    }

    fn states(&self, values: Vec<Value<T::Native>>) -> Vec<ArrayRef> {
        let keys: Decimal128Array = values.iter().map(|v| v.seen.then_some(v.key)).collect();
        vec![self.array(values.into_iter()), Arc::new(keys)]
    }

    fn array(&self, values: impl Iterator<Item = Value<T::Native>>) -> ArrayRef {
        let (values, valid): (Vec<_>, Vec<_>) = values.map(|v| (v.value, !v.is_null)).unzip();
        let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
        let values = PrimitiveArray::<T>::new(values.into(), nulls);
        Arc::new(values.with_data_type(self.data_type.clone()))
    }
}

impl<T: ArrowPrimitiveType> GroupAccumulator for Ordered<T> {
    fn update(&mut self, rows: Update<'_>) -> Result<()> {
        self.values.resize(rows.total, Self::empty());
        let keys = self.order.keys(rows.arguments)?;
        let column = rows.arguments[0].as_primitive::<T>();
        let left_out = self.order.left_out(rows.arguments);
        each_row(rows.groups, rows.keep, left_out, |group, row| {
            let new = Value {
                key: keys[row],
                value: column.values()[row],
                is_null: column.is_null(row),
                seen: true,
            };
            Self::offer(&mut self.values[group], new, self.order.last);
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.values.resize(total, Self::empty());
        let column = states[0].as_primitive::<T>();
        let keys = states[1].as_primitive::<Decimal128Type>();
        each_row(groups, None, keys.nulls(), |group, row| {
            let new = Value {
                key: keys.value(row),
                value: column.values()[row],
                is_null: column.is_null(row),
                seen: true,
            };
            Self::offer(&mut self.values[group], new, self.order.last);
        });
        Ok(())
    }

    fn take_state(&mut self) -> Result<Vec<ArrayRef>> {
        let values = std::mem::take(&mut self.values);
        Ok(self.states(values))
    }

    fn states_of(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>> {
        Ok(self.states(groups.iter().map(|&group| self.values[group]).collect()))
    }

    fn take_values(&mut self, total: usize) -> Result<ArrayRef> {
        self.values.resize(total, Self::empty());
        let values = std::mem::take(&mut self.values);
        Ok(self.array(values.into_iter()))
    }

    fn read(&mut self, groups: &[usize]) -> Result<ArrayRef> {
        Ok(self.array(groups.iter().map(|&group| self.values[group])))
    }

    fn fold(&mut self, from: usize, into: usize) -> Result<()> {
        let value = std::mem::replace(&mut self.values[from], Self::empty());
        if value.seen {
            Self::offer(&mut self.values[into], value, self.order.last);
        }
        Ok(())
    }

    fn release(&mut self, groups: &[usize]) -> Result<()> {
        for &group in groups {
            self.values[group] = Self::empty();
        }
        Ok(())
    }

    fn can_read(&self) -> bool {
        true
    }

    fn size_bytes(&self) -> usize {
        self.values.capacity() * size_of::<Value<T::Native>>()
    }
}

/// The rows that the filter keeps and that have no NULL in either column.
pub(super) fn whole_rows(columns: &[ArrayRef], keep: Option<&BooleanArray>) -> BooleanArray {
    let kept = keep.map(|keep| match keep.nulls() {
        Some(valid) => NullBuffer::new(keep.values() & valid.inner()),
        None => NullBuffer::new(keep.values().clone()),
    });
    let valid = NullBuffer::union(columns[0].nulls(), columns[1].nulls());
    let whole = NullBuffer::union(kept.as_ref(), valid.as_ref());
    let whole = whole.unwrap_or_else(|| NullBuffer::new_valid(columns[0].len()));
    BooleanArray::new(whole.into_inner(), None)
}
