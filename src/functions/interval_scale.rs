//! An interval times a number, and divided by one, as PostgreSQL has it: what is left of a month
//! goes into its days, of 30 a month, and what is left of a day into its hours.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{
    DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::scalar::ScalarValue;
use sqlparser::ast::BinaryOperator;

use crate::error::{Culprit, Error, SqlState};

const DAY_MICROS: f64 = 86_400_000_000.0;
const MONTH_DAYS: f64 = 30.0;

/// Plans `interval * number`, `number * interval` and `interval / number`.
#[derive(Debug)]
pub struct IntervalOperators;

impl ExprPlanner for IntervalOperators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let divides = match expr.op {
            BinaryOperator::Multiply => false,
            BinaryOperator::Divide => true,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let type_of = |side: &Expr| side.get_type(schema).unwrap_or(DataType::Null);
        let (left, right) = (type_of(&expr.left), type_of(&expr.right));
        let is_interval = |side: &DataType| matches!(side, DataType::Interval(_));
        let arguments = if is_interval(&left) && right.is_numeric() {
            vec![expr.left, expr.right]
        } else if is_interval(&right) && left.is_numeric() && !divides {
            vec![expr.right, expr.left]
        } else {
            return Ok(PlannerResult::Original(expr));
        };
        Ok(PlannerResult::Planned(scaled(divides, arguments)?))
    }
}

/// The call; of constants its value, which may then be the length of a window.
fn scaled(divides: bool, arguments: Vec<Expr>) -> Result<Expr> {
    if let [
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _),
        Expr::Literal(number, _),
    ] = arguments.as_slice()
        && let ScalarValue::Float64(Some(number)) = number.cast_to(&DataType::Float64)?
    {
        let value = scale(*interval, number, divides)?;
        return Ok(Expr::Literal(
            ScalarValue::IntervalMonthDayNano(Some(value)),
            None,
        ));
    }
    let function = ScalarUDF::from(IntervalScale {
        divides,
        signature: Signature::exact(
            vec![
                DataType::Interval(IntervalUnit::MonthDayNano),
                DataType::Float64,
            ],
            Volatility::Immutable,
        ),
    });
    let call = ScalarFunction::new_udf(Arc::new(function), arguments);
    Ok(Expr::ScalarFunction(call))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalScale {
    divides: bool,
    signature: Signature,
}

impl ScalarUDFImpl for IntervalScale {
    fn name(&self) -> &'static str {
        if self.divides {
            "interval_div"
        } else {
            "interval_mul"
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let intervals = arrays[0].as_primitive::<IntervalMonthDayNanoType>();
        let numbers = arrays[1].as_primitive::<Float64Type>();
        let scaled: IntervalMonthDayNanoArray = intervals
            .iter()
            .zip(numbers)
            .map(|pair| match pair {
                (Some(interval), Some(number)) => scale(interval, number, self.divides).map(Some),
                _ => Ok(None),
            })
            .collect::<Result<_>>()?;
        let scaled: ArrayRef = Arc::new(scaled);
        let constant = arguments
            .args
            .iter()
            .all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        if constant && scaled.len() == 1 {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &scaled, 0,
            )?));
        }
        Ok(ColumnarValue::Array(scaled))
    }
}

fn scale(
    interval: IntervalMonthDayNano,
    number: f64,
    divides: bool,
) -> Result<IntervalMonthDayNano> {
    if divides && number == 0.0 {
        return Err(external(SqlState::DivisionByZero, "division by zero"));
    }
    let by = |value: f64| {
        if divides {
            value / number
        } else {
            value * number
        }
    };
    // As PostgreSQL, to a millionth: 0.1 of a month is three days, not a little less.
    let rounded = |value: f64| (value * 1e6).round() / 1e6;
    let months = by(f64::from(interval.months));
    let days = by(f64::from(interval.days));
    let days_of_months = rounded((months - months.trunc()) * MONTH_DAYS);
    let mut rest = rounded(days - days.trunc() + days_of_months - days_of_months.trunc());
    let mut whole_days = days.trunc() + days_of_months.trunc();
    if rest.abs() >= 1.0 {
        whole_days += rest.trunc();
        rest -= rest.trunc();
    }
    let micros = (by((interval.nanoseconds / 1_000) as f64) + rest * DAY_MICROS).round();
    let out_of_range = || {
        let error = Error::user(SqlState::DatetimeFieldOverflow, "interval out of range")
            .hint("Its hours, minutes and seconds may last 292 years in all.")
            .about(Culprit::Scaled);
        DataFusionError::External(Box::new(error))
    };
    let whole = |value: f64| {
        let fits = value >= f64::from(i32::MIN) && value <= f64::from(i32::MAX);
        #[expect(clippy::cast_possible_truncation, reason = "checked")]
        fits.then_some(value as i32).ok_or_else(out_of_range)
    };
    if micros.is_nan() || micros.abs() >= i64::MAX as f64 / 1_000.0 {
        return Err(out_of_range());
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked")]
    let nanoseconds = micros as i64 * 1_000;
    Ok(IntervalMonthDayNano::new(
        whole(months.trunc())?,
        whole(whole_days)?,
        nanoseconds,
    ))
}

fn external(state: SqlState, message: &str) -> DataFusionError {
    DataFusionError::External(Box::new(Error::user(state, message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(months: i32, days: i32, seconds: i64) -> IntervalMonthDayNano {
        IntervalMonthDayNano::new(months, days, seconds * 1_000_000_000)
    }

    #[track_caller]
    fn check(interval: IntervalMonthDayNano, number: f64, expected: IntervalMonthDayNano) {
        assert_eq!(scale(interval, number, false).unwrap(), expected);
    }

    #[test]
    fn what_is_left_goes_into_the_next_smaller_unit() {
        check(of(0, 0, 60), 5.0, of(0, 0, 300));
        check(of(0, 0, 60), -0.5, of(0, 0, -30));
        check(of(0, 1, 0), 1.5, of(0, 1, 43_200));
        check(of(1, 0, 0), 1.1, of(1, 3, 0));
        check(of(1, 0, 0), 0.05, of(0, 1, 43_200));
        check(of(1, 2, 3), 2.0, of(2, 4, 6));
        assert_eq!(scale(of(1, 0, 0), 2.0, true).unwrap(), of(0, 15, 0));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(scale(of(1, 0, 0), 1e10, false).is_err());
        assert!(scale(of(0, 0, 1), 1e12, false).is_err());
        assert!(scale(of(0, 0, 1), f64::NAN, false).is_err());
        assert!(scale(of(0, 0, 1), 0.0, true).is_err());
    }
}
