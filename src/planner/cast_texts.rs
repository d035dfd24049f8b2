//! Texts that are cast: those that become times may leave their seconds out and those that become intervals their units,
//! those that become `bytea` or arrays are read as PostgreSQL reads them.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::integers::rewrite_expressions;
use crate::functions::{bytes_of_text, items_of_text, with_seconds, with_units};

/// Prepares a text before it is cast. Runs after the types have been made equal.
#[derive(Debug)]
pub(super) struct CastTexts;

impl AnalyzerRule for CastTexts {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| rewrite_expressions(node, rewrite))
            .map(|transformed| transformed.data)
    }

    fn name(&self) -> &str {
        "cast_texts"
    }
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (Expr::Cast(Cast { expr: text, field }) | Expr::TryCast(TryCast { expr: text, field })) =
        &expr
    else {
        return Ok(Transformed::no(expr));
    };
    if !text.get_type(schema).is_ok_and(|t| t.is_string()) {
        return Ok(Transformed::no(expr));
    }
    let text = match field.data_type() {
        DataType::Timestamp(..) | DataType::Time64(_) | DataType::Time32(_) => {
            with_seconds(Expr::clone(text))
        }
        DataType::Interval(_) => with_units(Expr::clone(text)),
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => {
            bytes_of_text(Expr::clone(text), matches!(expr, Expr::TryCast(_)))
        }
        DataType::List(_) | DataType::LargeList(_) => {
            items_of_text(Expr::clone(text), matches!(expr, Expr::TryCast(_)))
        }
        _ => return Ok(Transformed::no(expr)),
    };
    let text = Box::new(text);
    Ok(Transformed::yes(match expr {
        Expr::TryCast(cast) => Expr::TryCast(TryCast { expr: text, ..cast }),
        Expr::Cast(cast) => Expr::Cast(Cast { expr: text, ..cast }),
        other => other,
    }))
}
