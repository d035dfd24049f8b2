//! Integer arithmetic that tells an overflow: DataFusion's own operators wrap around.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable};

use super::rewriting::Rewriting;
use crate::functions::checked;

/// Puts checked functions in the place of `+`, `-` and `*` between integers.
pub(super) const CHECKED_INTEGERS: Rewriting = Rewriting {
    name: "checked_integers",
    rewrite,
};

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
