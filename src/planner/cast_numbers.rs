//! Numbers that are cast to integers are rounded, as in PostgreSQL: Arrow cuts their fraction off.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, cast};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

use super::integers::rewrite_expressions;
use crate::functions::whole;

/// Rounds what is cast to an integer. Runs after the types have been made equal.
#[derive(Debug)]
pub(super) struct CastNumbers;

impl AnalyzerRule for CastNumbers {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| rewrite_expressions(node, rewrite))
            .map(|transformed| transformed.data)
    }

    fn name(&self) -> &str {
        "cast_numbers"
    }
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (Expr::Cast(Cast {
        expr: number,
        field,
    })
    | Expr::TryCast(TryCast {
        expr: number,
        field,
    })) = &expr
    else {
        return Ok(Transformed::no(expr));
    };
    if !field.data_type().is_integer() {
        return Ok(Transformed::no(expr));
    }
    let rounded = match number.get_type(schema) {
        Ok(DataType::Decimal128(digits, after)) if after > 0 => {
            cast(Expr::clone(number), DataType::Decimal128(digits, 0))
        }
        Ok(DataType::Decimal256(digits, after)) if after > 0 => {
            cast(Expr::clone(number), DataType::Decimal256(digits, 0))
        }
        Ok(of) if of.is_floating() => written(number).unwrap_or_else(|| whole(Expr::clone(number))),
        _ => return Ok(Transformed::no(expr)),
    };
    let rounded = Box::new(rounded);
    Ok(Transformed::yes(match expr {
        Expr::TryCast(cast) => Expr::TryCast(TryCast {
            expr: rounded,
            ..cast
        }),
        Expr::Cast(cast) => Expr::Cast(Cast {
            expr: rounded,
            ..cast
        }),
        other => other,
    }))
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
