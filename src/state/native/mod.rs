//! Accumulators of ours: a vector of values, one a group, that can be read at any time.
//!
//! Each gives what DataFusion's function of that name gives, to the type and to the NULL; a test
//! compares them. They know nothing of keys.

mod bools;
mod count;
mod extreme;
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
use sums::{DecimalSums, FloatSums, IntegerSums, Sums};
use text::TextExtreme;

/// The accumulator of ours for a function, if there is one. Tables that need not be readable take
/// DataFusion's vectorised ones, but for exact sums.
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
    Some(match of {
        DataType::Int8 => ordered!(Int8Type),
        DataType::Int16 => ordered!(Int16Type),
        DataType::Int32 => ordered!(Int32Type),
        DataType::Int64 => ordered!(Int64Type),
        DataType::UInt8 => ordered!(UInt8Type),
        DataType::UInt16 => ordered!(UInt16Type),
        DataType::UInt32 => ordered!(UInt32Type),
        DataType::UInt64 => ordered!(UInt64Type),
        DataType::Float32 => float!(Float32Type),
        DataType::Float64 => float!(Float64Type),
        DataType::Decimal128(..) => ordered!(Decimal128Type),
        DataType::Date32 => ordered!(Date32Type),
        DataType::Time64(TimeUnit::Microsecond) => ordered!(Time64MicrosecondType),
        DataType::Timestamp(TimeUnit::Second, _) => ordered!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => ordered!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => ordered!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => ordered!(TimestampNanosecondType),
        DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 => {
            Box::new(TextExtreme::new(of.clone(), greatest))
        }
        _ => return None,
    })
}
