//! Arguments that are written down in the query and can never work: told when it is planned, not
//! when the first row comes.

use arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::scalar::ScalarValue;

use super::operands;
use crate::catalog::sql_type_name;
use crate::error::{Culprit, Error, SqlState, nearest};
use crate::functions::{IndicatorCall, check_indicator};

/// What `date_trunc` cuts a time to.
const UNITS: [&str; 10] = [
    "microsecond",
    "millisecond",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
];
/// How many values `approx_top_k` gives at the most, and how far `nth_value` looks.
const TOP_MAX: i64 = 1_000;
const NTH_MAX: i64 = 10_000;

/// Checks the constants of a plan, and what is compared with what.
///
/// # Errors
/// The first that cannot be, as an error of ours about its function or its operands.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                check_call(part, &schema)?;
                operands::check(part, &schema)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

fn check_call(expr: &Expr, schema: &DFSchema) -> Result<(), Error> {
    let (name, checked) = match expr {
        Expr::AggregateFunction(call) => {
            let name = call.func.name();
            let filter = call.params.filter.as_deref();
            let checked = check_filter(filter, schema);
            let indicator = IndicatorCall {
                is_ordered: !call.params.order_by.is_empty(),
                is_distinct: call.params.distinct,
                parameter: call.params.args.get(1).and_then(number),
            };
            let checked = checked.and_then(|()| aggregate(name, &call.params.args));
            let checked = checked.and_then(|()| extremum(name, &call.params.args, schema));
            (
                name,
                checked.and_then(|()| check_indicator(name, indicator)),
            )
        }
        Expr::ScalarFunction(call) => (call.func.name(), scalar(call.func.name(), &call.args)),
        _ => return Ok(()),
    };
    checked.map_err(|error| error.about(Culprit::Function(name.to_owned())))
}

fn check_filter(filter: Option<&Expr>, schema: &DFSchema) -> Result<(), Error> {
    let data_type = filter.and_then(|filter| filter.get_type(schema).ok());
    match data_type {
        None | Some(DataType::Boolean | DataType::Null) => Ok(()),
        Some(other) => Err(Error::user(
            SqlState::DatatypeMismatch,
            format!(
                "argument of FILTER must be type boolean, not type {}",
                sql_type_name(&Field::new("", other, true))
            ),
        )
        .hint("Compare it with something: FILTER (WHERE x > 0).")),
    }
}

fn aggregate(name: &str, args: &[Expr]) -> Result<(), Error> {
    match (name, args) {
        ("percentile_cont" | "approx_percentile_cont", [_, share, ..])
        | ("approx_percentile_cont_with_weight", [_, _, share, ..]) => match number(share) {
            Some(value) if !(0.0..=1.0).contains(&value) => Err(Error::user(
                SqlState::NumericValueOutOfRange,
                format!("percentile value {value} is not between 0 and 1"),
            )
            .hint("The median is 0.5, the value that 95 of 100 stay below is 0.95.")),
            _ => Ok(()),
        },
        ("approx_top_k", [_, count]) => {
            within(count, 1..=TOP_MAX, || {
                Error::user(
                SqlState::InvalidParameterValue,
                format!("approx_top_k(x, k) takes a number from 1 to {TOP_MAX} as its k"),
            )
            .hint("k is how many of the most frequent values are given, such as approx_top_k(x, 10).")
            })
        }
        ("nth_value", [_, place]) if integer(place) != Some(0) => {
            within(place, -NTH_MAX..=NTH_MAX, nth)
        }
        ("nth_value", [_, _]) => Err(nth()),
        _ => Ok(()),
    }
}

/// The least and the greatest interval are those by length, which these functions do not know.
fn extremum(name: &str, args: &[Expr], schema: &DFSchema) -> Result<(), Error> {
    let of = args.first().and_then(|of| of.get_type(schema).ok());
    match (name, of) {
        ("min" | "max", Some(DataType::Interval(_))) => Err(Error::user(
            SqlState::FeatureNotSupported,
            format!("{name}(interval) is not supported"),
        )
        .hint(format!(
            "Write {name}(extract(epoch FROM ..)), its seconds."
        ))),
        _ => Ok(()),
    }
}

fn nth() -> Error {
    Error::user(
        SqlState::InvalidParameterValue,
        format!("nth_value(x, n) takes a number from 1 to {NTH_MAX} as its n, or its negative"),
    )
    .hint("1 is the first value, 2 the one after it, -1 the last one.")
}

fn scalar(name: &str, args: &[Expr]) -> Result<(), Error> {
    match (name, args) {
        ("date_trunc", [unit, _]) => match text(unit) {
            Some(given) => check_unit(given),
            None => Ok(()),
        },
        ("to_char", [_, pattern]) => match text(pattern) {
            Some(given) if !given.contains('%') => Err(Error::user(
                SqlState::FeatureNotSupported,
                format!("pattern \"{given}\" of to_char is not supported"),
            )
            .hint("Its patterns are those of strftime: to_char(ts, '%Y-%m-%d %H:%M:%S').")),
            _ => Ok(()),
        },
        ("date_bin", [stride, ..]) if is_not_positive(stride) => Err(Error::user(
            SqlState::InvalidParameterValue,
            "stride must be greater than zero",
        )
        .hint("Write date_bin(INTERVAL '15 minutes', ts).")),
        _ => Ok(()),
    }
}

fn check_unit(given: &str) -> Result<(), Error> {
    let unit = given.to_ascii_lowercase();
    if UNITS.contains(&unit.as_str()) {
        return Ok(());
    }
    let error = Error::user(
        SqlState::InvalidParameterValue,
        format!("unit \"{given}\" not recognized for type timestamp"),
    );
    Err(match nearest(&unit, &UNITS) {
        Some(near) => error.hint(format!("Perhaps you meant '{near}'.")),
        None => error.hint(format!("There are {}.", UNITS.join(", "))),
    })
}

fn within(
    count: &Expr,
    range: std::ops::RangeInclusive<i64>,
    error: impl FnOnce() -> Error,
) -> Result<(), Error> {
    match integer(count) {
        Some(count) if !range.contains(&count) => Err(error()),
        _ => Ok(()),
    }
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        Expr::Alias(alias) => literal(&alias.expr),
        Expr::Cast(cast) => literal(&cast.expr),
        _ => None,
    }
}

fn number(expr: &Expr) -> Option<f64> {
    match literal(expr)?.cast_to(&DataType::Float64).ok()? {
        ScalarValue::Float64(value) => value,
        _ => None,
    }
}

fn integer(expr: &Expr) -> Option<i64> {
    match literal(expr)? {
        value if value.data_type().is_integer() => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(value) => value,
            _ => None,
        },
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<&str> {
    literal(expr)?.try_as_str().flatten()
}

/// Only for lengths without months, whose sign is not told by one number.
fn is_not_positive(stride: &Expr) -> bool {
    match literal(stride) {
        Some(ScalarValue::IntervalMonthDayNano(Some(stride))) => {
            let days = i128::from(stride.days) * 86_400_000_000_000;
            stride.months <= 0 && days + i128::from(stride.nanoseconds) <= 0
        }
        _ => false,
    }
}
