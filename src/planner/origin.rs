//! Where a column comes from: followed down through projections, windows, unions and aggregates.

use datafusion::common::Column;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::time_bucket::as_tumble;
use super::window_node::WindowNode;
use crate::catalog::EVENT_TIME_MARK;
use crate::types::{WindowBound, WindowKind};

/// Where a value is made; under UNION ALL there is one a branch.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// What it is there.
    pub leaf: Leaf,
    /// True when an aggregate lies on the way there.
    pub over_aggregate: bool,
}

/// What a value is where it is made.
#[derive(Debug, Clone)]
pub(super) enum Leaf {
    /// A column of a scanned table.
    Scan {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A table's event time that is computed from other columns.
    EventTime,
    /// A bound of a window.
    Bound(Box<BoundOrigin>),
    /// Something else.
    Other,
}

/// A bound of a window where it is made.
#[derive(Debug, Clone)]
pub(super) struct BoundOrigin {
    /// The window.
    pub kind: WindowKind,
    /// How long it waits for late rows. Microseconds.
    pub grace: i64,
    /// Which bound.
    pub bound: WindowBound,
    /// The keys of a session, as columns of the node's input.
    pub partition: Vec<Expr>,
    /// True for a column that a window adds; false for a value computed from the row's time.
    pub by_node: bool,
    /// True when it is a window only if its time is the event time: `date_trunc` of another time
    /// is a value like any other.
    pub if_event_time: bool,
    /// Where the window's time is made.
    pub time: Vec<Origin>,
}

/// Follows an expression over `plan`'s columns to where its value is made.
pub(super) fn origins(expr: &Expr, plan: &LogicalPlan) -> Vec<Origin> {
    match expr {
        Expr::Alias(alias) => origins(&alias.expr, plan),
        Expr::Column(column) => of_column(column, plan),
        _ => vec![here(computed(expr, plan))],
    }
}

/// True when a value is, or is computed from, a column that a window of this level adds.
pub(super) fn uses_bounds(expr: &Expr, plan: &LogicalPlan) -> bool {
    let is_bound = |origin: &Origin| {
        let by_node = matches!(&origin.leaf, Leaf::Bound(bound) if bound.by_node);
        by_node && !origin.over_aggregate
    };
    let columns = expr.column_refs();
    columns
        .into_iter()
        .any(|column| of_column(column, plan).iter().any(is_bound))
}

fn here(leaf: Leaf) -> Origin {
    Origin {
        leaf,
        over_aggregate: false,
    }
}

fn computed(expr: &Expr, plan: &LogicalPlan) -> Leaf {
    let Some((kind, time)) = as_tumble(expr) else {
        return Leaf::Other;
    };
    Leaf::Bound(Box::new(BoundOrigin {
        kind,
        grace: 0,
        bound: WindowBound::Start,
        partition: Vec::new(),
        by_node: false,
        if_event_time: true,
        time: origins(time, plan),
    }))
}

fn of_column(column: &Column, plan: &LogicalPlan) -> Vec<Origin> {
    match plan.schema().maybe_index_of_column(column) {
        Some(index) => at(index, plan),
        None => vec![here(Leaf::Other)],
    }
}

fn at(index: usize, plan: &LogicalPlan) -> Vec<Origin> {
    if let Some(window) = WindowNode::of(plan) {
        return of_window(index, window);
    }
    match plan {
        LogicalPlan::Projection(projection) => {
            let found = origins(&projection.expr[index], &projection.input);
            let marked = plan.schema().field(index).metadata();
            match found.as_slice() {
                // The table's event time, computed from other columns.
                [
                    Origin {
                        leaf: Leaf::Other, ..
                    },
                ] if marked.contains_key(EVENT_TIME_MARK) => vec![here(Leaf::EventTime)],
                _ => found,
            }
        }
        LogicalPlan::SubqueryAlias(alias) => at(index, &alias.input),
        LogicalPlan::Filter(filter) => at(index, &filter.input),
        LogicalPlan::Union(union) => union
            .inputs
            .iter()
            .flat_map(|input| at(index, input))
            .collect(),
        LogicalPlan::Window(window) if index < window.input.schema().fields().len() => {
            at(index, &window.input)
        }
        LogicalPlan::Sort(sort) => at(index, &sort.input),
        LogicalPlan::Limit(limit) => at(index, &limit.input),
        LogicalPlan::Aggregate(aggregate) => {
            let groups = grouping_set_to_exprlist(&aggregate.group_expr).unwrap_or_default();
            let Some(group) = groups.get(index) else {
                return vec![here(Leaf::Other)];
            };
            let mut found = origins(group, &aggregate.input);
            found
                .iter_mut()
                .for_each(|origin| origin.over_aggregate = true);
            found
        }
        LogicalPlan::TableScan(scan) => vec![here(Leaf::Scan {
            table: scan.table_name.table().to_owned(),
            column: scan.projected_schema.field(index).name().clone(),
        })],
        _ => vec![here(Leaf::Other)],
    }
}

fn of_window(index: usize, window: &WindowNode) -> Vec<Origin> {
    match window.bound_at(index) {
        None => at(index, &window.input),
        Some(bound) => vec![here(Leaf::Bound(Box::new(BoundOrigin {
            kind: window.kind,
            grace: window.grace,
            bound,
            partition: window.partition.clone(),
            by_node: true,
            if_event_time: false,
            time: origins(&window.time, &window.input),
        })))],
    }
}
