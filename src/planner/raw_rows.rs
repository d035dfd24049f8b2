//! Rows of windows that are ordered or numbered although nothing groups them.
//!
//! ```text
//! ROW_NUMBER() OVER (PARTITION BY window_start ORDER BY price DESC)
//!   over   TUMBLE(trades)
//!   as     each row as often as it is there ◄─ count(*) GROUP BY all columns ◄─ TUMBLE(trades)
//! ```
//! So they come all at once when their window closes, by the state and the rules that groups have.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::logical_plan::Aggregate;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};

use super::window_node::WindowNode;
use crate::error::{Result, from_datafusion};

/// What the number of equal rows is called.
const COPIES: &str = "copies";

/// True for rows of windows that no step below has put together yet.
pub(super) fn are_loose(plan: &LogicalPlan) -> bool {
    let mut windows = false;
    let together = plan.apply(|node| {
        windows |= WindowNode::of(node).is_some();
        Ok(match node {
            LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Sort(_) => {
                windows = false;
                TreeNodeRecursion::Stop
            }
            _ => TreeNodeRecursion::Continue,
        })
    });
    together.is_ok() && windows
}

/// The different rows of a plan, and how often each is there.
///
/// # Errors
/// When the columns cannot be grouped.
pub(super) fn counted(plan: &LogicalPlan) -> Result<Aggregate> {
    let columns = plan.schema().columns().into_iter().map(Expr::Column);
    let copies = count(lit(1i64)).alias(COPIES);
    Aggregate::try_new(Arc::new(plan.clone()), columns.collect(), vec![copies])
        .map_err(from_datafusion)
}
