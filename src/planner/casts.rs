//! Casts as PostgreSQL has them. Texts that become times may leave their seconds out, those that become intervals their
//! units; those that become `bytea` or arrays are read as PostgreSQL writes them. Numbers that become integers are
//! rounded: Arrow cuts their fraction off.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use datafusion::scalar::ScalarValue;

use super::rewriting::Rewriting;
use crate::functions::{bytes_of_text, items_of_text, whole, with_seconds, with_units};

/// Prepares what is cast.
pub(super) const CASTS: Rewriting = Rewriting {
    name: "casts",
    rewrite,
};

fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (Expr::Cast(Cast { expr: inner, field }) | Expr::TryCast(TryCast { expr: inner, field })) =
        &expr
    else {
        return Ok(Transformed::no(expr));
    };
    let prepared = match inner.get_type(schema) {
        Ok(of) if of.is_string() => {
            text(inner, field.data_type(), matches!(expr, Expr::TryCast(_)))
        }
        Ok(of) if field.data_type().is_integer() => rounded(inner, &of),
        _ => None,
    };
    let Some(prepared) = prepared.map(Box::new) else {
        return Ok(Transformed::no(expr));
    };
    Ok(Transformed::yes(match expr {
        Expr::TryCast(cast) => Expr::TryCast(TryCast {
            expr: prepared,
            ..cast
        }),
        Expr::Cast(cast) => Expr::Cast(Cast {
            expr: prepared,
            ..cast
        }),
        other => other,
    }))
}

fn text(text: &Expr, becomes: &DataType, try_only: bool) -> Option<Expr> {
    let text = || text.clone();
    match becomes {
        DataType::Timestamp(..) | DataType::Time64(_) | DataType::Time32(_) => {
            Some(with_seconds(text()))
        }
        DataType::Interval(_) => Some(with_units(text())),
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => {
            Some(bytes_of_text(text(), try_only))
        }
        DataType::List(_) | DataType::LargeList(_) => Some(items_of_text(text(), try_only)),
        _ => None,
    }
}

fn rounded(number: &Expr, of: &DataType) -> Option<Expr> {
    match *of {
        DataType::Decimal128(digits, after) if after > 0 => {
            Some(cast(number.clone(), DataType::Decimal128(digits, 0)))
        }
        DataType::Decimal256(digits, after) if after > 0 => {
            Some(cast(number.clone(), DataType::Decimal256(digits, 0)))
        }
        _ if of.is_floating() => Some(written(number).unwrap_or_else(|| whole(number.clone()))),
        _ => None,
    }
}

/// A number that is written down is a `numeric` in PostgreSQL, whose halves go away from zero.
fn written(number: &Expr) -> Option<Expr> {
    match number {
        Expr::Literal(ScalarValue::Float64(Some(value)), metadata) => {
            let rounded = ScalarValue::Float64(Some(value.round()));
            Some(Expr::Literal(rounded, metadata.clone()))
        }
        Expr::Negative(inner) => written(inner).map(|inner| Expr::Negative(Box::new(inner))),
        _ => None,
    }
}
