//! Grouped aggregation, with or without a window.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use crate::types::{WindowBound, WindowKind};

/// A grouped aggregation.
#[derive(Debug, Clone)]
pub struct AggregatePlan {
    /// The window, if the groups have one.
    pub window: Option<WindowPlan>,
    /// The key expressions, without the window's columns.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
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
    /// A bound of each row's window; a timestamp in microseconds.
    pub bound: Arc<dyn PhysicalExpr>,
    /// Which bound it is.
    pub bound_kind: WindowBound,
}

/// What a group column of the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupColumn {
    /// A bound of the window.
    Window(WindowBound),
    /// A key of [`AggregatePlan::keys`].
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
