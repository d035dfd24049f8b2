//! Accumulators of ours: a vector of values, one a group, that can be read at any time.
//!
//! Each gives what DataFusion's function of that name gives, to the type and to the NULL; a test
//! compares them. They know nothing of keys.

mod bools;
mod count;
mod extreme;
mod market;
mod ordered;
mod rows;
mod sums;
mod text;

use std::sync::Arc;

use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::accumulator::GroupAccumulator;
use crate::error::{Result, from_datafusion};
use crate::types::{ExactSum, float_is_less};
use bools::Bools;
use count::Count;
use extreme::Extreme;
use market::{Candles, WeightedMean};
use ordered::{Nulls, Order, Ordered};
use sums::{DecimalSums, FloatSums, IntegerSums, Sums};
use text::TextExtreme;

/// The accumulator of ours for a function, if there is one. Tables that need not be readable take
/// DataFusion's vectorised ones where it has such as do not walk over all groups.
pub(super) fn native(
    function: &AggregateFunctionExpr,
    readable: bool,
) -> Result<Option<Box<dyn GroupAccumulator>>> {
    let field = function.field();
    let result = field.data_type();
    let of_all = !function.is_distinct();
    Ok(match function.fun().name() {
        "sum" if of_all => sum(result, function.name()),
        "avg" if of_all => average(function)?,
        "first_value" | "last_value" | "arg_min" | "arg_max" => ordered(function)?,
        "ohlc" => candles(function)?,
        "vwap" if result == &DataType::Float64 => Some(Box::new(WeightedMean::new())),
        _ if !readable => None,
        "min" => extreme(result, false),
        "max" => extreme(result, true),
        "bool_and" => Some(Box::new(Bools::new(true))),
        "bool_or" => Some(Box::new(Bools::new(false))),
        "count" if of_all && function.expressions().len() == 1 => Some(Box::new(Count::default())),
        _ => None,
    })
}

fn sum(result: &DataType, name: &str) -> Option<Box<dyn GroupAccumulator>> {
    let name: Arc<str> = name.into();
    Some(match (ExactSum::for_sum(result), result) {
        (Some(kind), DataType::Int64) => Box::new(Sums::new(IntegerSums { kind, name })),
        (Some(kind), _) => Box::new(Sums::new(DecimalSums {
            kind,
            result: result.clone(),
            name,
        })),
        (None, DataType::Float64) => Box::new(Sums::new(FloatSums { is_average: false })),
        (None, _) => return None,
    })
}

/// The sum of an average of numerics has, as a part of its state, the scale of its numbers.
fn average(function: &AggregateFunctionExpr) -> Result<Option<Box<dyn GroupAccumulator>>> {
    let field = function.field();
    let result = field.data_type();
    if result == &DataType::Float64 {
        return Ok(Some(Box::new(Sums::new(FloatSums { is_average: true }))));
    }
    let states = function.state_fields().map_err(from_datafusion)?;
    let scale = states.iter().find_map(|state| match state.data_type() {
        DataType::Decimal128(_, scale) => Some(*scale),
        _ => None,
    });
    let kind = scale.and_then(|scale| ExactSum::for_average(scale, result));
    Ok(kind.map(|kind| -> Box<dyn GroupAccumulator> {
        Box::new(Sums::new(DecimalSums {
            kind,
            result: result.clone(),
            name: function.name().into(),
        }))
    }))
}

/// `$make!(type)` for the type of a column of numbers or times.
macro_rules! by_type {
    ($of:expr, $make:ident, $make_float:ident) => {
        match $of {
            DataType::Int8 => Some($make!(Int8Type)),
            DataType::Int16 => Some($make!(Int16Type)),
            DataType::Int32 => Some($make!(Int32Type)),
            DataType::Int64 => Some($make!(Int64Type)),
            DataType::UInt8 => Some($make!(UInt8Type)),
            DataType::UInt16 => Some($make!(UInt16Type)),
            DataType::UInt32 => Some($make!(UInt32Type)),
            DataType::UInt64 => Some($make!(UInt64Type)),
            DataType::Float32 => Some($make_float!(Float32Type)),
            DataType::Float64 => Some($make_float!(Float64Type)),
            DataType::Decimal128(..) => Some($make!(Decimal128Type)),
            DataType::Date32 => Some($make!(Date32Type)),
            DataType::Time64(TimeUnit::Microsecond) => Some($make!(Time64MicrosecondType)),
            DataType::Timestamp(unit, _) => Some(match unit {
                TimeUnit::Second => $make!(TimestampSecondType),
                TimeUnit::Millisecond => $make!(TimestampMillisecondType),
                TimeUnit::Microsecond => $make!(TimestampMicrosecondType),
                TimeUnit::Nanosecond => $make!(TimestampNanosecondType),
            }),
            _ => None,
        }
    };
}

/// `min` or `max`.
fn extreme(of: &DataType, greatest: bool) -> Option<Box<dyn GroupAccumulator>> {
    macro_rules! ordered {
        ($type:ty) => {
            if greatest {
                Box::new(Extreme::<$type, _>::new(of, |new, old| old < new))
            } else {
                Box::new(Extreme::<$type, _>::new(of, |new, old| new < old))
            }
        };
    }
    macro_rules! float {
        ($type:ty) => {
            if greatest {
                let is_better = |new, old| float_is_less(f64::from(old), f64::from(new));
                Box::new(Extreme::<$type, _>::new(of, is_better))
            } else {
                let is_better = |new, old| float_is_less(f64::from(new), f64::from(old));
                Box::new(Extreme::<$type, _>::new(of, is_better))
            }
        };
    }
    let numbers: Option<Box<dyn GroupAccumulator>> = by_type!(of, ordered, float);
    let is_text = matches!(
        of,
        DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8
    );
    match numbers {
        None if is_text => Some(Box::new(TextExtreme::new(of.clone(), greatest))),
        numbers => numbers,
    }
}

/// The value of a row that is first or last by at most one column. The state of these functions of
/// DataFusion's and ours has the order's column after the value.
fn ordered(function: &AggregateFunctionExpr) -> Result<Option<Box<dyn GroupAccumulator>>> {
    let states = function.state_fields().map_err(from_datafusion)?;
    let by = || states[1].data_type().clone();
    let order = match (function.fun().name(), function.order_bys()) {
        ("first_value" | "last_value", _) if function.ignore_nulls() => return Ok(None),
        (name @ ("first_value" | "last_value"), []) => Order {
            by: None,
            descending: false,
            nulls: Nulls::Last,
            last: name == "last_value",
        },
        (name @ ("first_value" | "last_value"), [sort]) => Order {
            by: Some(by()),
            descending: sort.options.descending,
            nulls: if sort.options.nulls_first {
                Nulls::First
            } else {
                Nulls::Last
            },
            last: name == "last_value",
        },
        (name @ ("arg_min" | "arg_max"), _) => Order {
            by: Some(by()),
            descending: name == "arg_max",
            nulls: Nulls::Ignored,
            last: false,
        },
        _ => return Ok(None),
    };
    Ok(ordered_by(function.field().data_type(), order))
}

fn ordered_by(of: &DataType, order: Order) -> Option<Box<dyn GroupAccumulator>> {
    macro_rules! make {
        ($type:ty) => {
            Box::new(Ordered::<$type>::new(of, order))
        };
    }
    if order.by.as_ref().is_some_and(|by| !Order::supports(by)) {
        return None;
    }
    by_type!(of, make, make)
}

/// `ohlc`, whose state has the time of the opening after the opening price.
fn candles(function: &AggregateFunctionExpr) -> Result<Option<Box<dyn GroupAccumulator>>> {
    let field = function.field();
    let DataType::Struct(fields) = field.data_type() else {
        return Ok(None);
    };
    let states = function.state_fields().map_err(from_datafusion)?;
    let price = fields[0].data_type();
    let by_time = |last| {
        let order = Order {
            by: Some(states[1].data_type().clone()),
            descending: false,
            nulls: Nulls::Ignored,
            last,
        };
        ordered_by(price, order)
    };
    let parts = by_time(false).zip(by_time(true));
    let extremes = extreme(price, true).zip(extreme(price, false));
    Ok(parts.zip(extremes).map(
        |((open, close), (high, low))| -> Box<dyn GroupAccumulator> {
            Box::new(Candles::new(fields.clone(), [open, high, low, close]))
        },
    ))
}
