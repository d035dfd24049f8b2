//! Integer arithmetic that tells an overflow: DataFusion's own operators wrap around.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, config::ConfigOptions};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use crate::functions::checked;

/// Puts checked functions in the place of `+`, `-` and `*` between integers. Runs after the types
/// have been made equal.
#[derive(Debug)]
pub(super) struct CheckedIntegers;

impl AnalyzerRule for CheckedIntegers {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| rewrite_expressions(node, rewrite))
            .map(|transformed| transformed.data)
    }

    fn name(&self) -> &str {
        "checked_integers"
    }
}

/// Rewrites the expressions of a node from the inside out; their names stay.
pub(super) fn rewrite_expressions(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&plan);
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(
            scan.table_name.clone(),
            &scan.source.schema(),
        )?);
    }
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|inner| rewrite(inner, &schema))?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &expr else {
        return Ok(Transformed::no(expr));
    };
    let integers = |side: &Expr| side.get_type(schema).is_ok_and(|t| t.is_integer());
    if !integers(left) || !integers(right) {
        return Ok(Transformed::no(expr));
    }
    let replaced = checked(Expr::clone(left), *op, Expr::clone(right));
    Ok(replaced.map_or_else(|| Transformed::no(expr), Transformed::yes))
}
