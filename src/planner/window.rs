//! The window of an aggregation: which of its group columns are bounds of one, and what that asks
//! of the rows below.

use datafusion::logical_expr::logical_plan::Aggregate;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::origin::{BoundOrigin, Leaf, Origin, origins, uses_bounds};
use super::window_node::WindowNode;
use crate::error::{Culprit, Error, Result, SqlState};
use crate::plan::{RECORD_TIME, WindowColumns};
use crate::types::{WindowBound, WindowKind};

/// What a group column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// A bound of the window.
    Bound(WindowBound),
    /// A key.
    Key,
}

/// A window that an aggregation groups by.
#[derive(Debug, Clone)]
pub(super) struct GroupWindow {
    /// Which.
    pub kind: WindowKind,
    /// How long it waits for late rows. Microseconds.
    pub grace: i64,
    /// How far the times of rows to come may lie before the watermark. Microseconds.
    pub delay: i64,
    /// What stands in a window's columns below.
    pub form: WindowColumns,
    /// True when the group's column is made by a window of this level, and so obeys `form`.
    pub by_time: bool,
    /// The group column by which rows are put into windows, and its bound.
    pub by: (usize, WindowBound),
}

/// The groups of an aggregation.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    /// The window, if there is one.
    pub window: Option<GroupWindow>,
    /// What each of the group columns is.
    pub columns: Vec<Group>,
}

/// Tells the event-time column of a table; `None` when it is no table.
pub(super) type EventTimeOf<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Finds the window among the group columns `exprs` of an aggregation. `changes`: its rows are
/// emitted as they change.
///
/// # Errors
/// A window that never closes, two windows, a session whose keys are not the group's.
pub(super) fn groups(
    node: &Aggregate,
    exprs: &[&Expr],
    event_time: EventTimeOf<'_>,
    changes: bool,
) -> Result<Groups> {
    let mut columns = Vec::with_capacity(exprs.len());
    let mut found: Option<BoundOrigin> = None;
    let mut by = None;
    for (index, expr) in exprs.iter().enumerate() {
        let bound = bound_of(expr, &node.input)?;
        let Some(bound) =
            bound.filter(|bound| !bound.if_event_time || delay(bound, event_time).is_ok())
        else {
            columns.push(Group::Key);
            continue;
        };
        if found.as_ref().is_some_and(|known| known.kind != bound.kind) {
            return Err(Error::user(
                SqlState::WindowingError,
                "a continuous query groups by one window at a time",
            )
            .hint("Group by the shorter one, and by the longer one in a query over that: a window over a window.")
            .about(Culprit::Group(index)));
        }
        columns.push(Group::Bound(bound.bound));
        if by.is_none_or(|(_, known)| rank(bound.bound) > rank(known)) {
            by = Some((index, bound.bound));
        }
        found.get_or_insert(bound);
    }
    let (Some(origin), Some(by)) = (found, by) else {
        return Ok(Groups {
            window: None,
            columns,
        });
    };
    let delay = delay(&origin, event_time)?;
    check_columns(&origin, &columns)?;
    if matches!(origin.kind, WindowKind::Session { .. }) {
        check_session(node, exprs, &columns, &origin)?;
    }
    let form = form(node, exprs, &columns, &origin, changes)?;
    Ok(Groups {
        window: Some(GroupWindow {
            kind: origin.kind,
            grace: origin.grace,
            delay,
            form,
            by_time: origin.by_node,
            by,
        }),
        columns,
    })
}

/// The end tells a window of every kind; the start is what a value computed from the time is.
fn rank(bound: WindowBound) -> u8 {
    match bound {
        WindowBound::Start => 0,
        WindowBound::Time => 1,
        WindowBound::End => 2,
    }
}

/// The bound of a window that a group column is, if it is one.
fn bound_of(expr: &Expr, input: &LogicalPlan) -> Result<Option<BoundOrigin>> {
    let mut bounds = origins(expr, input)
        .into_iter()
        .map(|origin| match origin.leaf {
            Leaf::Bound(bound) => Some((*bound, origin.over_aggregate)),
            Leaf::Scan { .. } | Leaf::EventTime | Leaf::Other => None,
        });
    let Some(Some((first, over_aggregate))) = bounds.next() else {
        return Ok(None);
    };
    let like = |other: &BoundOrigin| {
        other.kind == first.kind && other.bound == first.bound && other.grace == first.grace
    };
    if !bounds.all(|other| other.is_some_and(|(other, _)| like(&other))) {
        return Err(Error::user(
            SqlState::WindowingError,
            "the branches of UNION ALL have different windows",
        )
        .hint(
            "Put the window around the union: FROM TUMBLE((SELECT .. UNION ALL SELECT ..), ..).",
        ));
    }
    if !over_aggregate {
        return Ok(Some(first));
    }
    // The bound of a window below: its rows come all at once, when it has closed.
    let time = vec![Origin {
        leaf: Leaf::Bound(Box::new(BoundOrigin {
            bound: WindowBound::End,
            ..first.clone()
        })),
        over_aggregate: true,
    }];
    Ok(Some(BoundOrigin {
        time,
        by_node: false,
        grace: 0,
        ..first
    }))
}

/// How far times may lie before the watermark; refuses a time that no watermark follows.
fn delay(origin: &BoundOrigin, event_time: EventTimeOf<'_>) -> Result<i64> {
    let mut delay = 0;
    for time in &origin.time {
        match &time.leaf {
            Leaf::Scan { table, column } => check_event_time(table, column, event_time)?,
            Leaf::EventTime => {}
            Leaf::Bound(below) if time.over_aggregate => {
                let back = match (below.bound, below.kind) {
                    (WindowBound::End | WindowBound::Time, _) => 0,
                    (WindowBound::Start, WindowKind::Session { .. }) => {
                        return Err(Error::user(
                            SqlState::WindowingError,
                            "a window over the start of a session never closes",
                        )
                        .hint("Use its window_time: a session is known when it has ended."));
                    }
                    (WindowBound::Start, kind) => kind.size(),
                };
                let further = self::delay(below, event_time)?;
                delay = delay.max(back.saturating_add(below.grace).saturating_add(further));
            }
            Leaf::Bound(_) | Leaf::Other => {
                return Err(Error::user(
                    SqlState::WindowingError,
                    "a window over a computed time never closes",
                )
                .hint("Make the time a column of the table and declare WATERMARK FOR it."));
            }
        }
    }
    Ok(delay)
}

fn check_event_time(table: &str, column: &str, event_time: EventTimeOf<'_>) -> Result<()> {
    let Some(event_time) = event_time(table) else {
        return Ok(()); // The scan itself is refused.
    };
    if column == event_time {
        return Ok(());
    }
    let hint = match event_time.as_str() {
        RECORD_TIME => format!(
            "Declare WATERMARK FOR \"{column}\" when you create the table. Or declare a column of type \
             timestamptz METADATA FROM 'timestamp', the time of the record itself, and use that.",
        ),
        event_time => format!(
            "Use the table's event-time column \"{event_time}\", or declare WATERMARK FOR \
             \"{column}\" when you create the table."
        ),
    };
    Err(Error::user(
        SqlState::WindowingError,
        format!("a window over column \"{column}\", which has no watermark, never closes"),
    )
    .hint(hint)
    .about(Culprit::Column(column.to_owned())))
}

/// Cumulating windows share their start, and sessions of a key may.
fn check_columns(origin: &BoundOrigin, columns: &[Group]) -> Result<()> {
    let has_end = columns.iter().any(|column| {
        matches!(
            column,
            Group::Bound(WindowBound::End) | Group::Bound(WindowBound::Time)
        )
    });
    let shares_start = matches!(origin.kind, WindowKind::Cumulate { .. });
    let below = !origin.by_node && matches!(origin.kind, WindowKind::Session { .. });
    if (shares_start && !has_end) || below {
        return Err(Error::user(
            SqlState::WindowingError,
            "windows of this kind are not told apart by their start",
        )
        .hint("Add window_end to GROUP BY."));
    }
    Ok(())
}

/// The keys of a session must be those of the group.
fn check_session(
    node: &Aggregate,
    exprs: &[&Expr],
    columns: &[Group],
    origin: &BoundOrigin,
) -> Result<()> {
    let keys = exprs
        .iter()
        .zip(columns)
        .filter(|(_, column)| **column == Group::Key);
    let keys: Vec<String> = keys
        .map(|(expr, _)| below_window(expr, &node.input))
        .collect();
    let mut partition: Vec<String> = origin.partition.iter().map(name_of).collect();
    let mut sorted = keys.clone();
    sorted.sort();
    sorted.dedup();
    partition.sort();
    partition.dedup();
    if sorted == partition {
        return Ok(());
    }
    Err(Error::user(
        SqlState::WindowingError,
        "GROUP BY must name the keys of the session, and no others",
    )
    .hint(
        "Write SESSION(t PARTITION BY k, ts, gap) and GROUP BY window_start, window_end, k with \
         the same keys.",
    ))
}

/// An expression of the group, in the columns of the window's input.
fn below_window(expr: &Expr, plan: &LogicalPlan) -> String {
    if WindowNode::of(plan).is_some() {
        return name_of(expr);
    }
    match (expr, plan) {
        (Expr::Alias(alias), _) => below_window(&alias.expr, plan),
        (Expr::Column(column), LogicalPlan::Projection(projection)) => {
            match plan.schema().maybe_index_of_column(column) {
                Some(index) => below_window(&projection.expr[index], &projection.input),
                None => name_of(expr),
            }
        }
        (Expr::Column(column), LogicalPlan::SubqueryAlias(alias)) => {
            match plan.schema().maybe_index_of_column(column) {
                Some(index) => {
                    let columns = alias.input.schema().columns();
                    below_window(&Expr::Column(columns[index].clone()), &alias.input)
                }
                None => name_of(expr),
            }
        }
        (_, LogicalPlan::Filter(filter)) => below_window(expr, &filter.input),
        _ => name_of(expr),
    }
}

/// An expression's text without qualifiers and outer names.
fn name_of(expr: &Expr) -> String {
    match expr {
        Expr::Alias(alias) => name_of(&alias.expr),
        Expr::Column(column) => column.name.clone(),
        other => other.to_string(),
    }
}

/// What must stand in the window's columns: the rows' times when nothing but the group looks.
fn form(
    node: &Aggregate,
    exprs: &[&Expr],
    columns: &[Group],
    origin: &BoundOrigin,
    changes: bool,
) -> Result<WindowColumns> {
    let input: &LogicalPlan = &node.input;
    let keys = exprs.iter().zip(columns);
    let keys = keys.filter(|(_, column)| **column == Group::Key);
    let mut others = keys.map(|(expr, _)| *expr).chain(&node.aggr_expr);
    let plain = !others.any(|expr| uses_bounds(expr, input)) && passes_plain(input);
    match origin.kind {
        WindowKind::Session { .. } if !plain => Err(Error::user(
            SqlState::FeatureNotSupported,
            "the bounds of a session can only be grouped by, or used after the aggregate",
        )
        .hint("Put the condition or the expression into an outer query.")),
        // The rows of a branch that it leaves out would have to stay in their session.
        WindowKind::Session { .. } if has_condition(input) => Err(Error::user(
            SqlState::FeatureNotSupported,
            "a condition on one branch's rows of a session's window is not supported",
        )
        .hint("Put it into the window's input: SESSION((SELECT * FROM t WHERE ..) PARTITION BY k, ts, gap).")),
        WindowKind::Hop { .. } | WindowKind::Cumulate { .. } if !plain || changes => {
            Ok(WindowColumns::Bounds)
        }
        WindowKind::Tumble { .. } if !plain => Ok(WindowColumns::Bounds),
        WindowKind::Tumble { .. }
        | WindowKind::Hop { .. }
        | WindowKind::Cumulate { .. }
        | WindowKind::Session { .. } => Ok(WindowColumns::RowTime),
    }
}

/// True when the columns of the window below are passed on as they are, and looked at nowhere.
fn passes_plain(plan: &LogicalPlan) -> bool {
    if WindowNode::of(plan).is_some() {
        return true;
    }
    let is_column = |expr: &Expr| {
        let mut expr = expr;
        while let Expr::Alias(alias) = expr {
            expr = &alias.expr;
        }
        matches!(expr, Expr::Column(_))
    };
    match plan {
        LogicalPlan::Projection(projection) => {
            let input = &projection.input;
            let mut exprs = projection.expr.iter();
            exprs.all(|e| is_column(e) || !uses_bounds(e, input)) && passes_plain(input)
        }
        LogicalPlan::Filter(filter) => {
            !uses_bounds(&filter.predicate, &filter.input) && passes_plain(&filter.input)
        }
        LogicalPlan::SubqueryAlias(alias) => passes_plain(&alias.input),
        LogicalPlan::Union(union) => union.inputs.iter().all(|input| passes_plain(input)),
        _ => true,
    }
}

/// True when a condition stands between the session node and the aggregate, and could not move
/// into it.
fn has_condition(plan: &LogicalPlan) -> bool {
    if WindowNode::of(plan).is_some() {
        return false;
    }
    match plan {
        LogicalPlan::Filter(_) => true,
        LogicalPlan::Projection(projection) => has_condition(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_condition(&alias.input),
        LogicalPlan::Union(union) => union.inputs.iter().any(|input| has_condition(input)),
        _ => false,
    }
}
