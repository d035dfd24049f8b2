//! Aggregates as they are written, where that leaves the answer open.

use datafusion::error::Result;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr};

/// Gives `array_agg(DISTINCT x)` and `string_agg(DISTINCT x, ..)` the order that PostgreSQL gives
/// them: DataFusion's is that of a hash table, another one each time.
#[derive(Debug)]
pub struct AggregateSpellings;

impl ExprPlanner for AggregateSpellings {
    fn plan_aggregate(
        &self,
        mut expr: RawAggregateExpr,
    ) -> Result<PlannerResult<RawAggregateExpr>> {
        let is_list = matches!(expr.func.name(), "array_agg" | "string_agg");
        if is_list
            && expr.distinct
            && expr.order_by.is_empty()
            && let Some(argument) = expr.args.first()
        {
            expr.order_by.push(Sort {
                expr: argument.clone(),
                asc: true,
                nulls_first: false,
            });
        }
        Ok(PlannerResult::Original(expr))
    }
}
