//! How long an interval is, so that intervals compare as in PostgreSQL: a month is 30 days then, a day 24 hours.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

const DAY_NANOS: i128 = 86_400_000_000_000;
const MONTH_DAYS: i128 = 30;
/// Digits of a length in nanoseconds.
const DIGITS: u8 = 38;

/// The length of an interval in nanoseconds.
pub fn interval_length(interval: Expr) -> Expr {
    let function = ScalarUDF::from(IntervalLength {
        signature: Signature::any(1, Volatility::Immutable),
    });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![interval]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalLength {
    signature: Signature,
}

impl ScalarUDFImpl for IntervalLength {
    fn name(&self) -> &'static str {
        "interval_length"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(DIGITS, 0))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = matches!(&arguments.args[0], ColumnarValue::Scalar(_));
        let rows = if is_constant {
            1
        } else {
            arguments.number_rows
        };
        let intervals = arguments.args[0].to_array(rows)?;
        let intervals = cast(&intervals, &DataType::Interval(IntervalUnit::MonthDayNano))?;
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>().iter();
        let lengths: Decimal128Array = intervals.map(|interval| interval.map(length)).collect();
        let lengths: ArrayRef = Arc::new(lengths.with_precision_and_scale(DIGITS, 0)?);
        Ok(match is_constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&lengths, 0)?),
            false => ColumnarValue::Array(lengths),
        })
    }
}

fn length(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * MONTH_DAYS + i128::from(interval.days);
    days * DAY_NANOS + i128::from(interval.nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_as_long_as_thirty_days_and_a_day_as_twenty_four_hours() {
        let of = |months, days, hours: i64| {
            let nanoseconds = hours * 3_600_000_000_000;
            length(IntervalMonthDayNano::new(months, days, nanoseconds))
        };
        assert_eq!(of(1, 0, 0), of(0, 30, 0));
        assert_eq!(of(0, 1, 0), of(0, 0, 24));
        assert!(of(0, 0, 100) > of(0, 3, 0));
        assert!(of(i32::MAX, i32::MAX, 0) < 10_i128.pow(u32::from(DIGITS)));
        assert!(of(0, 1, -25) < 0);
    }
}
