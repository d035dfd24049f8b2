//! `date_bin` that keeps the type of its time, and is exact over the whole range of microseconds.
//!
//! DataFusion's own takes a `timestamptz` as nanoseconds. It still bins by months, and times of day.

use std::sync::Arc;

use arrow::array::{Array, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion::error::Result;
use datafusion::functions::datetime;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::delegated::coerced;

/// `date_bin(stride, time [, origin])`.
pub(super) fn date_bin() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(DateBin {
        others: datetime::date_bin(),
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateBin {
    /// DataFusion's, for what is not ours.
    others: Arc<ScalarUDF>,
    signature: Signature,
}

const DAY: i64 = 86_400_000_000;

impl ScalarUDFImpl for DateBin {
    fn name(&self) -> &'static str {
        "date_bin"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [stride, DataType::Timestamp(_, zone), origin @ ..] = arguments else {
            return coerced(&self.others, arguments);
        };
        let binnable = |stride: &DataType| {
            stride.is_null() || stride.is_string() || matches!(stride, DataType::Interval(_))
        };
        let is_time = |origin: &DataType| {
            origin.is_null()
                || origin.is_string()
                || matches!(origin, DataType::Timestamp(..) | DataType::Date32)
        };
        if !binnable(stride) || origin.len() > 1 || !origin.iter().all(is_time) {
            return coerced(&self.others, arguments);
        }
        let time = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
        let mut types = vec![DataType::Interval(IntervalUnit::MonthDayNano)];
        types.resize(arguments.len(), time);
        Ok(types)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.others.return_type(arguments)
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ours = match arguments.args.as_slice() {
            [stride, time, origin @ ..] => {
                let binned = micros(stride).zip(start(origin));
                binned.and_then(|(stride, origin)| bin(stride, time, origin))
            }
            _ => None,
        };
        if let Some(bins) = ours {
            return Ok(bins);
        }
        if let [_, time, origin] = arguments.args.as_mut_slice()
            && let DataType::Timestamp(_, zone) = time.data_type()
        {
            *origin = origin.cast_to(&DataType::Timestamp(TimeUnit::Nanosecond, zone), None)?;
        }
        self.others.invoke_with_args(arguments)
    }
}

/// A stride of fixed length, in whole microseconds.
fn micros(stride: &ColumnarValue) -> Option<i64> {
    let ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(stride))) = stride else {
        return None;
    };
    let IntervalMonthDayNano {
        months: 0,
        days,
        nanoseconds,
    } = *stride
    else {
        return None;
    };
    let micros = i64::from(days)
        .checked_mul(DAY)?
        .checked_add(nanoseconds / 1_000)?;
    (nanoseconds % 1_000 == 0 && micros > 0).then_some(micros)
}

/// Where bins are counted from.
fn start(origin: &[ColumnarValue]) -> Option<i64> {
    match origin {
        [] => Some(0),
        [ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(origin, _))] => *origin,
        _ => None,
    }
}

/// The bins of times; a time whose bin cannot be told has none.
fn bin(stride: i64, time: &ColumnarValue, origin: i64) -> Option<ColumnarValue> {
    let start_of = |time: i64| {
        let within = (i128::from(time) - i128::from(origin)).rem_euclid(i128::from(stride));
        i64::try_from(i128::from(time) - within).ok()
    };
    match time {
        ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(time, zone)) => {
            let bin = ScalarValue::TimestampMicrosecond(time.and_then(start_of), zone.clone());
            Some(ColumnarValue::Scalar(bin))
        }
        ColumnarValue::Array(times) => {
            let zone = match times.data_type() {
                DataType::Timestamp(_, zone) => zone.clone(),
                _ => return None,
            };
            let times = times.as_primitive_opt::<TimestampMicrosecondType>()?;
            let bins: TimestampMicrosecondArray = times.unary_opt(start_of);
            Some(ColumnarValue::Array(Arc::new(bins.with_timezone_opt(zone))))
        }
        ColumnarValue::Scalar(_) => None,
    }
}
