//! Grouped aggregation, with or without a window.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::scalar::ScalarValue;

use crate::types::{WindowBound, WindowKind};

/// A grouped aggregation.
#[derive(Debug, Clone)]
pub struct AggregatePlan {
    /// The window, if the groups have one.
    pub window: Option<WindowPlan>,
    /// The key expressions, without the window's columns.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
    /// Which keys count in which grouping set, for GROUPING SETS, ROLLUP and CUBE.
    pub sets: Option<GroupingSets>,
    /// The aggregates.
    pub calls: Vec<AggregateCall>,
    /// What each group column of the output is; the aggregates follow them.
    pub groups: Vec<GroupColumn>,
    /// The output: the group columns, then the aggregates.
    pub schema: SchemaRef,
}

/// A window whose columns are among the keys.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowPlan {
    /// Which windows.
    pub kind: WindowKind,
    /// What tells a row's window or windows.
    pub rows: WindowRows,
    /// How long after the watermark has reached its end a window still takes rows. Microseconds.
    pub grace: i64,
    /// For a window over a window: how far the times of rows to come may lie before the watermark
    /// of the rows below. Microseconds.
    pub delay: i64,
}

/// What tells a row's window.
#[derive(Debug, Clone, PartialEq)]
pub enum WindowRows {
    /// A time in the row's pane: the operator finds the windows. A timestamp in microseconds.
    Time(Arc<dyn PhysicalExpr>),
    /// Each row stands for one of its windows, and this is that window's bound.
    Bound(WindowBound, Arc<dyn PhysicalExpr>),
}

/// The sets of GROUPING SETS.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupingSets {
    /// The column that tells the sets apart; the last of the keys.
    pub id: FieldRef,
    /// For each set, which keys are NULL in it, and its value of `id`.
    pub sets: Vec<(Vec<bool>, ScalarValue)>,
}

/// What a group column of the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupColumn {
    /// A bound of the window.
    Window(WindowBound),
    /// A key of [`AggregatePlan::keys`]; the one after the last is the grouping set's id.
    Key(usize),
}

/// One aggregate function with its arguments.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    /// The function; its ordering expressions follow its arguments.
    pub function: Arc<AggregateFunctionExpr>,
    /// Arguments, then the expressions of its ORDER BY.
    pub arguments: Vec<Arc<dyn PhysicalExpr>>,
    /// The FILTER clause.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

impl AggregateCall {
    /// The functions' own comparison leaves some of it out.
    fn is_like(&self, other: &Self) -> bool {
        let (one, two) = (&self.function, &other.function);
        one == two
            && one.is_distinct() == two.is_distinct()
            && one.ignore_nulls() == two.ignore_nulls()
            && one.is_reversed() == two.is_reversed()
            && one.order_bys() == two.order_bys()
            && self.arguments == other.arguments
            && self.filter == other.filter
    }

    /// Every expression that is evaluated for it.
    fn expressions(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        self.arguments.iter().chain(&self.filter)
    }
}

impl AggregatePlan {
    /// Every expression that is evaluated for a row.
    pub fn expressions(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        let window = self.window.iter().map(|window| match &window.rows {
            WindowRows::Time(expr) | WindowRows::Bound(_, expr) => expr,
        });
        let keys = self.keys.iter().map(|(expr, _)| expr);
        window
            .chain(keys)
            .chain(self.calls.iter().flat_map(AggregateCall::expressions))
    }

    /// The columns by which groups are told apart, without the window's.
    pub fn key_fields(&self) -> Vec<FieldRef> {
        let keys = self.keys.iter().map(|(_, field)| Arc::clone(field));
        let id = self.sets.iter().map(|sets| Arc::clone(&sets.id));
        keys.chain(id).collect()
    }

    /// Whether another plan, over the same rows, has the same groups with the same values.
    pub fn is_like(&self, other: &Self) -> bool {
        let calls = self.calls.iter().zip(&other.calls);
        self.window == other.window
            && self.keys == other.keys
            && self.sets == other.sets
            && self.calls.len() == other.calls.len()
            && calls.into_iter().all(|(one, other)| one.is_like(other))
    }

    /// True for sessions, whose rows must all meet in one place.
    pub fn is_session(&self) -> bool {
        let window = self.window.as_ref();
        window.is_some_and(|window| matches!(window.kind, WindowKind::Session { .. }))
    }
}
