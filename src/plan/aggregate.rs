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
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone)]
pub enum WindowRows {
    /// A time in the row's pane: the operator finds the windows. A timestamp in microseconds.
    Time(Arc<dyn PhysicalExpr>),
    /// Each row stands for one of its windows, and this is that window's bound.
    Bound(WindowBound, Arc<dyn PhysicalExpr>),
}

/// The sets of GROUPING SETS.
#[derive(Debug, Clone)]
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

impl AggregatePlan {
    /// The columns by which groups are told apart, without the window's.
    pub fn key_fields(&self) -> Vec<FieldRef> {
        let keys = self.keys.iter().map(|(_, field)| Arc::clone(field));
        let id = self.sets.iter().map(|sets| Arc::clone(&sets.id));
        keys.chain(id).collect()
    }

    /// True for sessions, whose rows must all meet in one place.
    pub fn is_session(&self) -> bool {
        let window = self.window.as_ref();
        window.is_some_and(|window| matches!(window.kind, WindowKind::Session { .. }))
    }
}
