//! `ROW_NUMBER()` and its like, and `ORDER BY`, over the rows of closed windows.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{Field, Schema};
use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::logical_plan::{Sort, Window};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;

use super::lower::physical;
use super::origin::{Leaf, origins};
use super::refused::refuse_volatile;
use crate::error::{Error, Result, SqlState};
use crate::plan::{Numbering, RankPlan, TopPlan};
use crate::types::{WindowBound, WindowKind};

/// The numbers of a Window node.
///
/// # Errors
/// A function that is none of ours; a partition that is not within a window.
pub(super) fn rank(node: &Window, state: &SessionState) -> Result<RankPlan> {
    let input = node.input.schema();
    let mut numbers = Vec::new();
    let mut spec: Option<(Vec<Expr>, Vec<SortExpr>)> = None;
    for expr in &node.window_expr {
        let function = function_of(expr)?;
        numbers.push(numbering(function)?);
        let params = &function.params;
        let own = (params.partition_by.clone(), params.order_by.clone());
        if spec.as_ref().is_some_and(|known| *known != own) {
            return Err(refused("different windows in one step"));
        }
        spec = Some(own);
    }
    let (partition, sort) = spec.unwrap_or_default();
    check_partition(&partition, &node.input)?;
    let partition = partition
        .iter()
        .map(|expr| physical(expr, input, state))
        .collect::<Result<_>>()?;
    let fields = node.schema.fields().iter();
    let fields: Vec<Field> = fields
        .map(|f| Field::clone(f).with_nullable(true))
        .collect();
    Ok(RankPlan {
        partition,
        order: order(&sort, input, state)?,
        numbers,
        schema: Arc::new(Schema::new(fields)),
    })
}

/// The order of a Sort node, and how many rows it keeps.
///
/// # Errors
/// An expression that cannot be compiled.
pub(super) fn top(node: &Sort, state: &SessionState) -> Result<TopPlan> {
    Ok(TopPlan {
        order: order(&node.expr, node.input.schema(), state)?,
        limit: node.fetch,
    })
}

fn order(
    sort: &[SortExpr],
    input: &DFSchema,
    state: &SessionState,
) -> Result<Vec<(Arc<dyn PhysicalExpr>, SortOptions)>> {
    sort.iter()
        .map(|sort| {
            refuse_volatile(&sort.expr, "ORDER BY")?;
            let options = SortOptions {
                descending: !sort.asc,
                nulls_first: sort.nulls_first,
            };
            Ok((physical(&sort.expr, input, state)?, options))
        })
        .collect()
}

fn function_of(expr: &Expr) -> Result<&WindowFunction> {
    match expr {
        Expr::Alias(alias) => function_of(&alias.expr),
        Expr::WindowFunction(function) => Ok(function),
        other => Err(Error::internal(format!("a window node has {other}"))),
    }
}

fn numbering(function: &WindowFunction) -> Result<Numbering> {
    match function.fun.name().to_ascii_lowercase().as_str() {
        "row_number" => Ok(Numbering::RowNumber),
        "rank" => Ok(Numbering::Rank),
        "dense_rank" => Ok(Numbering::DenseRank),
        name => Err(refused(&format!("{name} OVER (..)"))),
    }
}

fn refused(what: &str) -> Error {
    Error::user(
        SqlState::FeatureNotSupported,
        format!("{what} is not supported in a continuous query"),
    )
    .hint("row_number(), rank() and dense_rank() over the rows of a window are.")
}

/// Each session closes by itself: there is no first or last among those still to come.
pub(super) fn sessions_in_order() -> Error {
    Error::user(
        SqlState::FeatureNotSupported,
        "ORDER BY on sessions is not supported in a continuous query",
    )
    .hint(
        "Sessions close one after the other. Number those that end together, ROW_NUMBER() OVER \
         (PARTITION BY window_start, window_end ORDER BY ..), or keep them in a materialized view \
         and order them when you query it.",
    )
}

/// The rows of a partition must be complete when a window closes: all windows with the same end
/// close at once, those with the same start only if they have the same length.
fn check_partition(partition: &[Expr], input: &LogicalPlan) -> Result<()> {
    let mut only_start = false;
    let mut tells = |expr: &Expr| {
        let origins = origins(expr, input);
        let mut complete = true;
        for origin in &origins {
            complete &= match &origin.leaf {
                Leaf::Bound(bound) => match (bound.bound, bound.kind) {
                    (
                        WindowBound::Start,
                        WindowKind::Cumulate { .. } | WindowKind::Session { .. },
                    ) => {
                        only_start = true;
                        false
                    }
                    (WindowBound::Start | WindowBound::End | WindowBound::Time, _) => true,
                },
                Leaf::Scan { .. } | Leaf::EventTime | Leaf::Other => false,
            };
        }
        complete
    };
    if partition.iter().any(&mut tells) {
        return Ok(());
    }
    if only_start {
        return Err(Error::user(
            SqlState::WindowingError,
            "windows of this kind that start together end at different times",
        )
        .hint("Add window_end to the partition: PARTITION BY window_start, window_end, ..."));
    }
    Err(Error::user(
        SqlState::WindowingError,
        "the rows that OVER (..) looks at are never complete",
    )
    .hint("Add the window to its partition: PARTITION BY window_start, window_end, ..."))
}
