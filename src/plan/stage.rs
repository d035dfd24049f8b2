//! Steps that look at one row at a time: compiled expressions, evaluated a batch at once.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::{PhysicalExpr, conjunction_opt, split_conjunction};

use crate::types::WindowKind;

/// A stateless step.
#[derive(Debug, Clone, PartialEq)]
pub enum RowStage {
    /// Keeps the rows for which the expression is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Computes new columns from the old ones.
    Project {
        /// One expression a column of `schema`.
        exprs: Vec<Arc<dyn PhysicalExpr>>,
        /// What comes out.
        schema: SchemaRef,
    },
    /// Adds the columns of the row's windows.
    Windows {
        /// Which windows.
        kind: WindowKind,
        /// The row's time; a timestamp in microseconds.
        time: Arc<dyn PhysicalExpr>,
        /// What the columns hold.
        form: WindowColumns,
        /// What comes out: the columns, then start, end and time of the window.
        schema: SchemaRef,
    },
}

impl RowStage {
    /// Every expression that is evaluated for a row.
    pub fn expressions(&self) -> &[Arc<dyn PhysicalExpr>] {
        match self {
            Self::Filter(expr) | Self::Windows { time: expr, .. } => std::slice::from_ref(expr),
            Self::Project { exprs, .. } => exprs,
        }
    }

    /// The first of a filter's conditions, and the filter that is left without it.
    pub fn first_condition(&self) -> Option<(Arc<dyn PhysicalExpr>, Option<Self>)> {
        let Self::Filter(all) = self else { return None };
        let mut conditions = split_conjunction(all).into_iter().cloned();
        let first = conditions.next()?;
        Some((first, conjunction_opt(conditions).map(Self::Filter)))
    }
}

/// What a window's columns hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowColumns {
    /// Its bounds: a row comes once for each of its windows.
    Bounds,
    /// The row's time in all of them: an aggregate finds the windows by it.
    RowTime,
}
