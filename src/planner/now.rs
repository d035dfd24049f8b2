//! `now()` and its like in a continuous query: the time of the micro-batch.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::functions::batch_time;
use crate::plan::BatchTime;

/// Replaces the functions that DataFusion would fold into the time of planning.
pub(super) fn replace_now(plan: LogicalPlan, time: &BatchTime) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let names = Arc::clone(node.schema());
        node.map_expressions(|expr| {
            let name = expr.qualified_name();
            let replaced = expr.transform_up(|inner| Ok(replace(inner, time)))?;
            Ok(replaced.update_data(|expr| keep_name(expr, &name)))
        })?
        .map_data(|node| {
            if *node.schema() == names {
                Ok(node)
            } else {
                node.recompute_schema()
            }
        })
    })
    .map(|transformed| transformed.data)
}

/// True for a function that tells the time at which it is called.
pub(super) fn is_now(call: &ScalarFunction) -> bool {
    is_now_name(call.func.name())
}

/// The same by the function's name.
pub(super) fn is_now_name(name: &str) -> bool {
    let names = [
        "now",
        "current_timestamp",
        "current_date",
        "today",
        "current_time",
    ];
    names.contains(&name)
}

fn keep_name(expr: Expr, name: &(Option<datafusion::common::TableReference>, String)) -> Expr {
    if expr.qualified_name() == *name || matches!(expr, Expr::Alias(_)) {
        expr
    } else {
        expr.alias_qualified(name.0.clone(), name.1.clone())
    }
}

fn replace(expr: Expr, time: &BatchTime) -> Transformed<Expr> {
    let Expr::ScalarFunction(call) = &expr else {
        return Transformed::no(expr);
    };
    let to = |data_type| Expr::Cast(Cast::new(Box::new(batch_time(time)), data_type));
    match call.func.name() {
        "now" | "current_timestamp" if call.args.is_empty() => {
            if crate::functions::is_batch_time(&expr) {
                return Transformed::no(expr);
            }
            Transformed::yes(batch_time(time))
        }
        "current_date" | "today" => Transformed::yes(to(DataType::Date32)),
        "current_time" => Transformed::yes(to(DataType::Time64(TimeUnit::Microsecond))),
        _ => Transformed::no(expr),
    }
}
