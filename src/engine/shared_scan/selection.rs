//! A condition with which several queries begin: the rows that pass it are picked once for all of them.
//!
//! Invariant: the condition fails for no row, so that what comes after it sees the rows that it would see
//! in a query of its own.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::scalar::ScalarValue;

use super::alike::Alike;
use super::gathered::Gathered;
use crate::operator::{Rows, passing};
use crate::plan::{InputPlan, ScanColumn};

/// The first of a plan's conditions, and the columns that it is read with.
#[derive(Debug)]
pub(in crate::engine) struct Selection {
    columns: Vec<ScanColumn>,
    visible: usize,
    condition: Arc<dyn PhysicalExpr>,
    comparison: Comparison,
}

/// A column compared with a constant of its type, which cannot fail.
#[derive(Debug, PartialEq)]
pub(super) struct Comparison {
    /// The column's place.
    pub(super) column: usize,
    /// What it is compared with.
    pub(super) with: Constant,
}

/// A constant, and how a column is compared with it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Constant {
    op: Operator,
    value: ScalarValue,
    is_behind: bool,
}

impl Selection {
    /// That of an input; `None` when its rows do not begin with a comparison of a column and a constant.
    pub(super) fn of(input: &InputPlan) -> Option<Self> {
        let (condition, _) = input.rows.first()?.first_condition()?;
        Some(Self {
            columns: input.source.scan.columns.clone(),
            visible: input.source.visible_columns,
            comparison: Comparison::of(&condition)?,
            condition,
        })
    }

    /// The rows of a batch that pass; `None` when that cannot be told of all of them. `gathered`: what others
    /// have picked of the same rows.
    pub(super) fn pick(&self, batch: &RecordBatch, gathered: &Gathered) -> Option<Rows> {
        gathered.rows(batch, &self.comparison, || {
            passing(&self.condition, batch).ok()
        })
    }
}

impl Alike for Selection {
    fn is_like(&self, other: &Self) -> bool {
        self.columns == other.columns
            && self.visible == other.visible
            && self.comparison == other.comparison
    }
}

impl Comparison {
    pub(super) fn of(condition: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        let binary = condition.downcast_ref::<BinaryExpr>()?;
        let compares = matches!(
            binary.op(),
            Operator::Eq
                | Operator::NotEq
                | Operator::Lt
                | Operator::LtEq
                | Operator::Gt
                | Operator::GtEq
        );
        if !compares {
            return None;
        }
        let (left, right) = (binary.left(), binary.right());
        let is_behind = left.downcast_ref::<Column>().is_some();
        let (column, constant) = match is_behind {
            true => (left, right),
            false => (right, left),
        };
        Some(Self {
            column: column.downcast_ref::<Column>()?.index(),
            with: Constant {
                op: *binary.op(),
                value: constant.downcast_ref::<Literal>()?.value().clone(),
                is_behind,
            },
        })
    }
}
