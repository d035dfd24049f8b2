//! What a query that never ends cannot do, and what to write instead.

use datafusion::common::JoinType;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::logical_plan::Join;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::changelog::Purpose;
use super::window_node::WindowNode;
use crate::error::{Culprit, Error, Result, SqlState, from_datafusion};

/// Refuses functions whose value differs from call to call where that would decide which rows
/// exist: the same rows would then give another answer each time.
pub(super) fn refuse_volatile(expr: &Expr, place: &str) -> Result<()> {
    if !is_volatile(expr)? {
        return Ok(());
    }
    Err(Error::user(
        SqlState::FeatureNotSupported,
        format!(
            "now() and other volatile functions cannot be used in {place} of a continuous query"
        ),
    )
    .hint(
        "Which rows exist must not depend on when they are looked at: use a window over the event \
         time, for example FROM TUMBLE(t, ts, INTERVAL '1 minute').",
    ))
}

/// True if a value differs from call to call.
pub(super) fn is_volatile(expr: &Expr) -> Result<bool> {
    let found = expr.exists(|e| Ok(e.is_volatile_node()));
    found.map_err(from_datafusion)
}

/// A row that goes away without a key is found by its values, which must then be what they were.
pub(super) fn refuse_volatile_rows(purpose: Purpose, has_key: bool) -> Result<()> {
    if !matches!(purpose, Purpose::View | Purpose::Alert) || has_key {
        return Ok(());
    }
    Err(Error::user(
        SqlState::FeatureNotSupported,
        "now() and other volatile functions cannot be in the output of a view of changing rows \
         without their key",
    )
    .hint("Select every GROUP BY column."))
}

/// A query over nothing that goes on.
pub(super) fn no_topic() -> Error {
    Error::user(
        SqlState::FeatureNotSupported,
        "a continuous query reads a topic, and this one reads none",
    )
    .hint("Without EMIT the query is a snapshot and may read anything.")
}

/// That `what` is not there, to be completed by a hint.
pub(super) fn unsupported(what: &str) -> Error {
    Error::user(
        SqlState::FeatureNotSupported,
        format!("{what} is not supported in a continuous query"),
    )
}

/// A sub-query as a value would be another one for each row, and changes by itself.
pub(super) fn refuse_sub_queries(plan: &LogicalPlan) -> Result<()> {
    let is_one = |expr: &Expr| {
        let found = matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
        );
        Ok(found)
    };
    let has_one = |node: &LogicalPlan| {
        let mut found = false;
        for expr in node.expressions() {
            found |= expr.exists(is_one)?;
        }
        Ok(found)
    };
    if plan.exists(has_one).map_err(from_datafusion)? {
        return Err(sub_query());
    }
    Ok(())
}

fn sub_query() -> Error {
    unsupported("a sub-query in an expression")
        .hint(
            "Its answer would change while the query runs. Keep both sides in materialized views, and \
             compare them when you query these.",
        )
        .about(Culprit::SubQuery)
}

fn joined(join: &Join) -> Error {
    match join.join_type {
        // What IN (SELECT ..) and EXISTS become.
        JoinType::LeftSemi
        | JoinType::RightSemi
        | JoinType::LeftAnti
        | JoinType::RightAnti
        | JoinType::LeftMark
        | JoinType::RightMark => sub_query(),
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            unsupported("a join")
                .hint(
                    "Keep each side in a materialized view, and join these when you query them; or \
                     put topics with the same columns together with UNION ALL.",
                )
                .about(Culprit::Join)
        }
    }
}

/// Why a node has no step of ours.
pub(super) fn refused(node: &LogicalPlan) -> Error {
    match node {
        LogicalPlan::EmptyRelation(relation) if !relation.produce_one_row => Error::user(
            SqlState::FeatureNotSupported,
            "the continuous query can never give a row: its conditions contradict each other",
        ),
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => no_topic(),
        LogicalPlan::Join(join) => joined(join),
        LogicalPlan::Distinct(_) => unsupported("DISTINCT"),
        LogicalPlan::RecursiveQuery(_) => unsupported("a recursive query"),
        LogicalPlan::Unnest(_) => unsupported("unnest"),
        window if WindowNode::of(window).is_some() => {
            unsupported("a hopping, cumulating or session window")
        }
        other => unsupported(&format!("this ({})", other.display())),
    }
}
