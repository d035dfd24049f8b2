//! A condition with which several queries begin: the rows that pass it are picked once for all of them.
//!
//! Invariant: the condition fails for no row, so that what comes after it sees the rows that it would see
//! in a query of its own.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};

use super::alike::Alike;
use crate::operator::{RowPipeline, Rows};
use crate::plan::{InputPlan, RowStage, ScanColumn};

/// The first of a plan's conditions, and the columns that it is read with.
#[derive(Debug)]
pub(in crate::engine) struct Selection {
    columns: Vec<ScanColumn>,
    visible: usize,
    condition: Arc<dyn PhysicalExpr>,
    pick: RowPipeline,
}

impl Selection {
    /// That of an input; `None` when its rows do not begin with a comparison of a column and a constant.
    pub(super) fn of(input: &InputPlan) -> Option<Self> {
        let (condition, _) = input.rows.first()?.first_condition()?;
        is_comparison(&condition).then(|| Self {
            columns: input.source.scan.columns.clone(),
            visible: input.source.visible_columns,
            pick: RowPipeline::new(&[RowStage::Filter(Arc::clone(&condition))]),
            condition,
        })
    }

    /// The rows of a batch that pass; `None` when that cannot be told of all of them.
    pub(in crate::engine) fn pick(&self, batch: &RecordBatch) -> Option<Rows> {
        self.pick.process(batch.clone()).ok()
    }
}

impl Alike for Selection {
    fn is_like(&self, other: &Self) -> bool {
        self.columns == other.columns
            && self.visible == other.visible
            && self.condition.eq(&other.condition)
    }
}

/// Whether it compares a column with a constant of its type, which cannot fail.
fn is_comparison(condition: &Arc<dyn PhysicalExpr>) -> bool {
    let Some(binary) = condition.downcast_ref::<BinaryExpr>() else {
        return false;
    };
    let compares = matches!(
        binary.op(),
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
    );
    let sides = [binary.left(), binary.right()];
    let is_column = |side: &&Arc<dyn PhysicalExpr>| side.downcast_ref::<Column>().is_some();
    let is_constant = |side: &&Arc<dyn PhysicalExpr>| side.downcast_ref::<Literal>().is_some();
    compares && sides.iter().any(is_column) && sides.iter().any(is_constant)
}
