//! Compiled expressions as SQL, for people: columns by their names, constants as they are written.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal,
    NegativeExpr, NotExpr, TryCastExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::scalar::ScalarValue;

use super::AggregateCall;
use crate::error::sql_name;
use crate::types::length;

/// The SQL of an expression over columns of these names.
pub(super) fn text(expr: &Arc<dyn PhysicalExpr>, names: &[String]) -> String {
    let of = |inner: &Arc<dyn PhysicalExpr>| text(inner, names);
    if let Some(column) = expr.downcast_ref::<Column>() {
        let name = names.get(column.index());
        return name.map_or(column.name(), String::as_str).to_owned();
    }
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        return constant(literal.value());
    }
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        let side = |side| within(side, *binary.op(), names);
        let (left, right) = (side(binary.left()), side(binary.right()));
        return format!("{left} {} {right}", binary.op());
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        let name = sql_name(&cast.cast_type().to_string());
        return format!("{}::{name}", grouped(cast.expr(), names));
    }
    if let Some(cast) = expr.downcast_ref::<TryCastExpr>() {
        let name = sql_name(&cast.cast_type().to_string());
        return format!("try_cast({} as {name})", of(cast.expr()));
    }
    if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
        let args: Vec<String> = call.args().iter().map(of).collect();
        return function(call.name(), &args);
    }
    if let Some(test) = expr.downcast_ref::<IsNullExpr>() {
        return format!("{} IS NULL", grouped(test.arg(), names));
    }
    if let Some(test) = expr.downcast_ref::<IsNotNullExpr>() {
        return format!("{} IS NOT NULL", grouped(test.arg(), names));
    }
    if let Some(not) = expr.downcast_ref::<NotExpr>() {
        return format!("NOT {}", grouped(not.arg(), names));
    }
    if let Some(negative) = expr.downcast_ref::<NegativeExpr>() {
        return format!("-{}", grouped(negative.arg(), names));
    }
    if let Some(list) = expr.downcast_ref::<InListExpr>() {
        let values: Vec<String> = list.list().iter().map(of).collect();
        let not = if list.negated() { "NOT " } else { "" };
        let value = grouped(list.expr(), names);
        return format!("{value} {not}IN ({})", values.join(", "));
    }
    if let Some(like) = expr.downcast_ref::<LikeExpr>() {
        let not = if like.negated() { "NOT " } else { "" };
        let value = grouped(like.expr(), names);
        return format!("{value} {not}LIKE {}", of(like.pattern()));
    }
    without_places(&expr.to_string())
}

/// The SQL of an aggregate over columns of these names.
pub(super) fn aggregate(call: &AggregateCall, names: &[String]) -> String {
    let function = &call.function;
    let name = function.fun().name();
    let args: Vec<String> = function
        .expressions()
        .iter()
        .map(|argument| text(argument, names))
        .collect();
    let args = match (name, args.join(", ")) {
        ("count", args) if args == "1" => "*".to_owned(),
        (_, args) if function.is_distinct() => format!("DISTINCT {args}"),
        (_, args) => args,
    };
    let order: Vec<String> = function
        .order_bys()
        .iter()
        .map(|sort| {
            let direction = if sort.options.descending { " DESC" } else { "" };
            format!("{}{direction}", text(&sort.expr, names))
        })
        .collect();
    let order = match order.as_slice() {
        [] => String::new(),
        order => format!(" ORDER BY {}", order.join(", ")),
    };
    let filter = call.filter.as_ref().map_or_else(String::new, |filter| {
        format!(" FILTER (WHERE {})", text(filter, names))
    });
    format!("{name}({args}{order}){filter}")
}

/// An operand, in parentheses where it binds less than its operator.
fn within(expr: &Arc<dyn PhysicalExpr>, operator: Operator, names: &[String]) -> String {
    let text = text(expr, names);
    match expr.downcast_ref::<BinaryExpr>() {
        Some(inner)
            if inner.op().precedence() < operator.precedence()
                || (inner.op() != &operator
                    && inner.op().precedence() == operator.precedence()) =>
        {
            format!("({text})")
        }
        _ => text,
    }
}

/// An expression in parentheses if it is an operation.
fn grouped(expr: &Arc<dyn PhysicalExpr>, names: &[String]) -> String {
    let text = text(expr, names);
    match expr.downcast_ref::<BinaryExpr>() {
        Some(_) => format!("({text})"),
        None => text,
    }
}

/// Functions that stand for operators, or for what a text means, by what they stand for.
fn function(name: &str, args: &[String]) -> String {
    match (name, args) {
        ("add", [left, right]) => format!("({left} + {right})"),
        ("subtract", [left, right]) => format!("({left} - {right})"),
        ("multiply" | "interval_mul", [left, right]) => format!("({left} * {right})"),
        ("interval_div", [left, right]) => format!("({left} / {right})"),
        ("json_get", [json, key]) => format!("{json} -> {key}"),
        ("json_get_text", [json, key]) => format!("{json} ->> {key}"),
        ("get_field", [row, field]) => format!("({row})[{field}]"),
        ("with_seconds" | "bytes_of_text", [inner]) => inner.clone(),
        _ => format!("{name}({})", args.join(", ")),
    }
}

fn constant(value: &ScalarValue) -> String {
    if value.is_null() {
        return "NULL".to_owned();
    }
    match value {
        ScalarValue::IntervalMonthDayNano(Some(interval)) => {
            let days = i64::from(interval.days).saturating_mul(86_400_000_000);
            let micros = days.saturating_add(interval.nanoseconds / 1_000);
            match interval.months {
                0 => format!("INTERVAL '{}'", length(micros)),
                months => format!("INTERVAL '{months} months {}'", length(micros)),
            }
        }
        ScalarValue::DurationMicrosecond(Some(micros)) => format!("INTERVAL '{}'", length(*micros)),
        ScalarValue::TimestampMicrosecond(Some(micros), _) => {
            let time = chrono::DateTime::from_timestamp_micros(*micros);
            let time = time.map(|time| time.format("%Y-%m-%d %H:%M:%S%.f").to_string());
            format!("'{}'", time.unwrap_or_else(|| micros.to_string()))
        }
        value if value.data_type().is_string() => {
            let text = value.try_as_str().flatten().unwrap_or_default();
            format!("'{}'", text.replace('\'', "''"))
        }
        value if matches!(value.data_type(), DataType::Date32 | DataType::Date64) => {
            format!("'{value}'")
        }
        value => value.to_string(),
    }
}

/// Another expression's own text, without the places of its columns: `price@2` is `price`.
fn without_places(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('@') {
        kept.push_str(before);
        rest = after.trim_start_matches(|letter: char| letter.is_ascii_digit());
        if rest.len() == after.len() {
            kept.push('@');
        }
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use datafusion::physical_expr::expressions::{binary, col, lit};

    use super::*;

    #[test]
    fn an_expression_is_told_as_it_would_be_written() {
        let schema = arrow::datatypes::Schema::new(vec![
            arrow::datatypes::Field::new("a", DataType::Int64, true),
            arrow::datatypes::Field::new("b", DataType::Int64, true),
        ]);
        let names = ["price".to_owned(), "count(*)".to_owned()];
        let column = |name| col(name, &schema).unwrap();
        let of = |left, op, right| binary(left, op, right, &schema).unwrap();
        let sum = of(column("a"), Operator::Plus, column("b"));
        let more = of(sum, Operator::Multiply, lit(2_i64));
        let test = of(more, Operator::Gt, lit(7_i64));
        assert_eq!(text(&test, &names), "(price + count(*)) * 2 > 7");
        assert_eq!(text(&lit("it's"), &names), "'it''s'");
        assert_eq!(
            without_places("CASE x@12 WHEN 1 THEN y@0 END"),
            "CASE x WHEN 1 THEN y END"
        );
        assert_eq!(without_places("a@b"), "a@b");
    }
}
