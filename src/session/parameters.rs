//! Parameters (`$1`..) of statements: which there are, and values in their places.
//!
//! Values become typed literals in the statement itself, so that every statement takes them: a
//! snapshot, a live query, a COPY, an INSERT.

use std::ops::ControlFlow;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use sqlparser::ast::{
    self, ArrayElemTypeDef, CastKind, ExactNumberInfo, Expr, TimezoneInfo, Value, VisitorMut,
};

use crate::error::{Error, Result, SqlState};
use crate::sql::{ExplainTarget, Statement, StreamQuery, walk};

/// Puts values in the places of a statement's parameters.
///
/// # Errors
/// 42P02 for a parameter without a value, 0A000 for a value that has no literal.
pub(super) fn bind(mut statement: Statement, values: &[ScalarValue]) -> Result<Statement> {
    let mut literals = Vec::with_capacity(values.len());
    for value in values {
        literals.push(literal(value)?);
    }
    let mut binder = Replace(|index: usize, _: &Expr| {
        literals.get(index).cloned().map(Some).ok_or_else(|| {
            Error::user(
                SqlState::UndefinedParameter,
                format!("there is no parameter ${}", index + 1),
            )
        })
    });
    if let ControlFlow::Break(error) = visit_parts(&mut statement, &mut binder) {
        return Err(error);
    }
    // A live query is shown as it was written; a snapshot's text is read once more where it asks for system catalogs.
    if !values.is_empty()
        && let Some(query) = query_of(&mut statement)
        && query.emit.is_none()
    {
        query.text = query.query.to_string();
    }
    Ok(statement)
}

/// The query of a statement that has one.
fn query_of(statement: &mut Statement) -> Option<&mut StreamQuery> {
    match statement {
        Statement::Query(query) => Some(query),
        Statement::CopyOut(copy) => Some(&mut copy.query),
        Statement::Declare(declare) => Some(&mut declare.query),
        Statement::Explain(explain) => match &mut explain.target {
            ExplainTarget::Statement(inner) => query_of(inner),
            ExplainTarget::Progress(_) => None,
        },
        _ => None,
    }
}

/// Casts each parameter whose type is known to it, so that planning knows it too.
pub(super) fn cast_known(query: &mut ast::Query, types: &[Option<FieldRef>]) {
    let mut caster = Replace(|index: usize, parameter: &Expr| -> Result<Option<Expr>> {
        let known = types.get(index).and_then(Option::as_ref);
        Ok(known
            .and_then(|field| sql_type(field.data_type()))
            .map(|data_type| cast(parameter.clone(), data_type)))
    });
    let _: ControlFlow<Error> = walk::visit_mut(query, &mut caster);
}

/// One entry for each parameter that a statement has, known or not.
pub(super) fn placeholders(
    statement: &Statement,
    types: &[Option<FieldRef>],
) -> Vec<Option<FieldRef>> {
    let mut highest = types.len();
    let mut finder = Replace(|index: usize, _: &Expr| -> Result<Option<Expr>> {
        highest = highest.max(index + 1);
        Ok(None)
    });
    let _ = visit_parts(&mut statement.clone(), &mut finder);
    (0..highest)
        .map(|index| types.get(index).cloned().flatten())
        .collect()
}

/// The same for a query alone.
pub(super) fn placeholders_of_query(
    query: &ast::Query,
    types: &[Option<FieldRef>],
) -> Vec<Option<FieldRef>> {
    let mut highest = types.len();
    let mut finder = Replace(|index: usize, _: &Expr| -> Result<Option<Expr>> {
        highest = highest.max(index + 1);
        Ok(None)
    });
    let _: ControlFlow<Error> = walk::visit_mut(&mut query.clone(), &mut finder);
    (0..highest)
        .map(|index| types.get(index).cloned().flatten())
        .collect()
}

/// Turns `x = ANY($1)` into `x = $1`, so that planning infers the item's type; returns which
/// parameters are arrays of what will be inferred.
pub(super) fn unwrap_any(query: &mut ast::Query) -> Vec<usize> {
    struct Unwrap(Vec<usize>);
    impl VisitorMut for Unwrap {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::AnyOp {
                left,
                compare_op,
                right,
                ..
            } = expr
                && let Some(index) = index(right)
            {
                self.0.push(index);
                *expr = Expr::BinaryOp {
                    left: left.clone(),
                    op: compare_op.clone(),
                    right: right.clone(),
                };
            }
            ControlFlow::Continue(())
        }
    }
    let mut unwrap = Unwrap(Vec::new());
    let _: ControlFlow<()> = walk::visit_mut(query, &mut unwrap);
    unwrap.0
}

/// Visits the parts of a statement that may have parameters.
fn visit_parts<V: VisitorMut<Break = Error>>(
    statement: &mut Statement,
    visitor: &mut V,
) -> ControlFlow<Error> {
    match statement {
        Statement::Query(select) => walk::visit_mut(&mut select.query, visitor),
        Statement::CopyOut(copy) => walk::visit_mut(&mut copy.query.query, visitor),
        Statement::Declare(declare) => walk::visit_mut(&mut declare.query.query, visitor),
        Statement::Insert(insert) => walk::visit_mut(insert, visitor),
        Statement::Execute(execute) => walk::visit_mut(&mut execute.arguments, visitor),
        Statement::Explain(explain) => match &mut explain.target {
            ExplainTarget::Statement(inner) => visit_parts(inner, visitor),
            ExplainTarget::Progress(_) => ControlFlow::Continue(()),
        },
        _ => ControlFlow::Continue(()),
    }
}

/// Calls a function with each parameter's index (from 0) and puts what it returns in its place.
struct Replace<F>(F);

impl<F: FnMut(usize, &Expr) -> Result<Option<Expr>>> VisitorMut for Replace<F> {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Some(index) = index(expr) else {
            return ControlFlow::Continue(());
        };
        match (self.0)(index, expr) {
            Ok(Some(replacement)) => {
                *expr = replacement;
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// Which parameter an expression is, from 0; `None` if it is none.
pub(super) fn index(expr: &Expr) -> Option<usize> {
    let Expr::Value(value) = expr else {
        return None;
    };
    let Value::Placeholder(name) = &value.value else {
        return None;
    };
    name.strip_prefix('$')?
        .parse::<usize>()
        .ok()?
        .checked_sub(1)
}

fn value(value: Value) -> Expr {
    Expr::Value(value.into())
}

fn cast(expr: Expr, data_type: ast::DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

/// The name of a type in SQL; `None` for text, whose literals need no cast, and for what has none.
fn sql_type(data_type: &DataType) -> Option<ast::DataType> {
    Some(match data_type {
        DataType::Boolean => ast::DataType::Boolean,
        DataType::Int16 => ast::DataType::SmallInt(None),
        DataType::Int32 => ast::DataType::Int(None),
        DataType::Int64 => ast::DataType::BigInt(None),
        DataType::Float32 => ast::DataType::Real,
        DataType::Float64 => ast::DataType::DoublePrecision,
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            let info = ExactNumberInfo::PrecisionAndScale(u64::from(*precision), i64::from(*scale));
            ast::DataType::Numeric(info)
        }
        DataType::Date32 => ast::DataType::Date,
        DataType::Time64(_) => ast::DataType::Time(None, TimezoneInfo::None),
        DataType::Timestamp(_, None) => ast::DataType::Timestamp(None, TimezoneInfo::None),
        DataType::Timestamp(_, Some(_)) => {
            ast::DataType::Timestamp(None, TimezoneInfo::WithTimeZone)
        }
        DataType::Interval(_) => ast::DataType::Interval {
            fields: None,
            precision: None,
        },
        DataType::Binary => ast::DataType::Bytea,
        DataType::List(item) => {
            let item = sql_type(item.data_type()).unwrap_or(ast::DataType::Text);
            ast::DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(item), None))
        }
        _ => return None,
    })
}

/// An expression as one of a parameter's type, if that has a name in SQL.
pub(super) fn typed(expr: Expr, field: Option<&FieldRef>) -> Expr {
    match field.and_then(|field| sql_type(field.data_type())) {
        Some(data_type) => cast(expr, data_type),
        None => expr,
    }
}

/// A value as an expression of exactly its type.
fn literal(scalar: &ScalarValue) -> Result<Expr> {
    let data_type = scalar.data_type();
    if scalar.is_null() {
        let null = value(Value::Null);
        return Ok(sql_type(&data_type).map_or(null.clone(), |data_type| cast(null, data_type)));
    }
    let text = match scalar {
        ScalarValue::Boolean(Some(truth)) => return Ok(value(Value::Boolean(*truth))),
        ScalarValue::Int64(Some(number)) if *number >= 0 => {
            return Ok(value(Value::Number(number.to_string(), false)));
        }
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => {
            return Ok(value(Value::SingleQuotedString(text.clone())));
        }
        ScalarValue::Binary(Some(bytes)) => {
            let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(value(Value::HexStringLiteral(hex)));
        }
        ScalarValue::IntervalMonthDayNano(Some(interval)) => format!(
            "{} months {} days {}.{:09} seconds",
            interval.months,
            interval.days,
            interval.nanoseconds / 1_000_000_000,
            (interval.nanoseconds % 1_000_000_000).abs(),
        ),
        ScalarValue::List(list) => return list_literal(list.as_ref(), &data_type),
        ScalarValue::TimestampMicrosecond(Some(micros), zone) => {
            timestamp_text(*micros, zone.is_some())?
        }
        other => other.to_string(),
    };
    let Some(data_type) = sql_type(&data_type) else {
        return Err(Error::user(
            SqlState::FeatureNotSupported,
            format!("a parameter of type {data_type} is not supported"),
        ));
    };
    Ok(cast(value(Value::SingleQuotedString(text)), data_type))
}

fn list_literal(list: &dyn Array, data_type: &DataType) -> Result<Expr> {
    let items = list.as_list::<i32>().value(0);
    let mut elements = Vec::with_capacity(items.len());
    for row in 0..items.len() {
        elements.push(literal(&ScalarValue::try_from_array(&items, row)?)?);
    }
    let array = Expr::Array(ast::Array {
        elem: elements,
        named: true,
    });
    Ok(sql_type(data_type).map_or(array.clone(), |data_type| cast(array, data_type)))
}

fn timestamp_text(micros: i64, zoned: bool) -> Result<String> {
    let moment = chrono::DateTime::from_timestamp_micros(micros)
        .ok_or_else(|| Error::user(SqlState::DatetimeFieldOverflow, "timestamp out of range"))?;
    let text = moment.format("%Y-%m-%d %H:%M:%S%.6f");
    Ok(if zoned {
        format!("{text}+00:00")
    } else {
        text.to_string()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, IntervalMonthDayNano};

    use super::*;

    fn text(scalar: &ScalarValue) -> String {
        literal(scalar).unwrap().to_string()
    }

    #[test]
    fn literals_have_the_type_of_their_value() {
        let cases = [
            (ScalarValue::Int32(Some(-5)), "CAST('-5' AS INT)"),
            (ScalarValue::Int64(Some(5)), "5"),
            (ScalarValue::Int64(Some(-5)), "CAST('-5' AS BIGINT)"),
            (ScalarValue::Float64(None), "CAST(NULL AS DOUBLE PRECISION)"),
            (ScalarValue::Utf8(Some("it's".into())), "'it''s'"),
            (
                ScalarValue::Decimal128(Some(-12_345), 5, 2),
                "CAST('-123.45' AS NUMERIC(5,2))",
            ),
            (ScalarValue::Binary(Some(vec![0, 255])), "X'00ff'"),
            (ScalarValue::Boolean(Some(true)), "true"),
            (
                ScalarValue::Date32(Some(20_000)),
                "CAST('2024-10-04' AS DATE)",
            ),
            (
                ScalarValue::TimestampMicrosecond(Some(1), Some("+00:00".into())),
                "CAST('1970-01-01 00:00:00.000001+00:00' AS TIMESTAMP WITH TIME ZONE)",
            ),
            (
                ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(
                    1,
                    2,
                    -1_500_000_000,
                ))),
                "CAST('1 months 2 days -1.500000000 seconds' AS INTERVAL)",
            ),
        ];
        for (scalar, expected) in cases {
            assert_eq!(text(&scalar), expected);
        }
        let list = ScalarValue::new_list(
            &[ScalarValue::Int32(Some(1)), ScalarValue::Int32(None)],
            &DataType::Int32,
            true,
        );
        assert_eq!(
            text(&ScalarValue::List(list)),
            "CAST(ARRAY[CAST('1' AS INT), CAST(NULL AS INT)] AS INT[])",
        );
    }

    #[test]
    fn a_parameter_without_a_value_is_an_error() {
        let statement = crate::sql::parse("SELECT $1, $2")
            .unwrap()
            .remove(0)
            .statement;
        let values = [ScalarValue::Int64(Some(1))];
        let error = bind(statement.clone(), &values).unwrap_err();
        assert_eq!(error.state().code(), "42P02");
        assert_eq!(error.message(), "there is no parameter $2");
        let types = [Some(Arc::new(Field::new("", DataType::Int32, true)))];
        assert_eq!(placeholders(&statement, &types).len(), 2);
    }
}
