//! Texts that are written down in a query and stand beside a value of another type: they are of that type, as
//! PostgreSQL reads them (its rules for "unknown" literals): `paid = 'true'`, `now() - ts > '1 hour'`, `n + '1'`.
//!
//! Only where DataFusion would refuse them; it gives the others the type itself.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, IntervalUnit};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Between, Expr, ExprSchemable, LogicalPlan, cast};
use datafusion::scalar::ScalarValue;
use sqlparser::ast::BinaryOperator;

use super::rewriting::rewrite_expressions;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// Plans operators one of whose sides is a text that is written down.
#[derive(Debug)]
pub(super) struct TypedLiterals;

impl ExprPlanner for TypedLiterals {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let (literal, other) = match (text(&expr.left), text(&expr.right)) {
            (Some(_), None) => (&mut expr.left, &expr.right),
            (None, Some(_)) => (&mut expr.right, &expr.left),
            _ => return Ok(PlannerResult::Original(expr)),
        };
        if let Ok(beside) = other.get_type(schema)
            && let Some(data_type) = type_beside(&expr.op, &beside)
        {
            let data_type = match (text(literal), &expr.op) {
                (Some(length), BinaryOperator::Minus) if is_length(length) => INTERVAL,
                (Some(digits), _) if beside.is_decimal() => decimal_of(digits).unwrap_or(data_type),
                _ => data_type,
            };
            *literal = cast(literal.clone(), data_type);
        }
        Ok(PlannerResult::Original(expr))
    }
}

/// Gives the texts of `IN (..)` and of `BETWEEN` the type of what they are compared with.
///
/// # Errors
/// When a node of the plan cannot be made anew.
pub(super) fn typed_lists(plan: LogicalPlan) -> Result<LogicalPlan> {
    let typed = plan.transform_up_with_subqueries(|node| rewrite_expressions(node, typed_list))?;
    Ok(typed.data)
}

fn typed_list(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (Expr::InList(InList { expr: of, .. }) | Expr::Between(Between { expr: of, .. })) = &expr
    else {
        return Ok(Transformed::no(expr));
    };
    let beside = of.get_type(schema).ok();
    let Some(data_type) = beside.and_then(|of| type_beside(&BinaryOperator::Eq, &of)) else {
        return Ok(Transformed::no(expr));
    };
    let typed = |item: Expr| match text(&item) {
        Some(_) => cast(item, data_type.clone()),
        None => item,
    };
    Ok(Transformed::yes(match expr {
        Expr::InList(InList {
            expr,
            list,
            negated,
        }) => Expr::InList(InList {
            expr,
            list: list.into_iter().map(typed).collect(),
            negated,
        }),
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) => Expr::Between(Between {
            expr,
            negated,
            low: Box::new(typed(*low)),
            high: Box::new(typed(*high)),
        }),
        other => other,
    }))
}

/// What a text beside a value of this type is; `None` where it needs nothing from us.
fn type_beside(operator: &BinaryOperator, beside: &DataType) -> Option<DataType> {
    use BinaryOperator::{
        And, Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Modulo, Multiply, NotEq, Or, Plus,
    };
    match (operator, beside) {
        (Eq | NotEq | Lt | LtEq | Gt | GtEq | And | Or, DataType::Boolean) => {
            Some(DataType::Boolean)
        }
        (
            Eq | NotEq | Lt | LtEq | Gt | GtEq | Plus | Minus,
            DataType::Interval(_) | DataType::Duration(_),
        )
        | (Plus, DataType::Timestamp(..)) => Some(INTERVAL),
        (Minus, DataType::Timestamp(..) | DataType::Date32) => Some(beside.clone()),
        (Plus | Minus | Multiply | Divide | Modulo, number) if number.is_numeric() => {
            Some(number.clone())
        }
        _ => None,
    }
}

/// A text that is written down.
fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// True for `1 hour`: a time less such a text is a time, which PostgreSQL refuses, and can mean nothing else.
fn is_length(text: &str) -> bool {
    let has_units = text.contains(|letter: char| letter.is_ascii_alphabetic());
    has_units && ScalarValue::from(text).cast_to(&INTERVAL).is_ok()
}

/// The numeric that has the digits of a text.
fn decimal_of(text: &str) -> Option<DataType> {
    let unsigned = text.trim().trim_start_matches(['+', '-']);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let digits = whole.len() + fraction.len();
    let fits = (1..=usize::from(DECIMAL128_MAX_PRECISION)).contains(&digits);
    if !fits || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let scale = i8::try_from(fraction.len()).ok()?;
    Some(DataType::Decimal128(u8::try_from(digits).ok()?, scale))
}
