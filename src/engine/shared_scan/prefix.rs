//! What plans have in common that are the same up to their aggregate: with that they take a batch's
//! groups instead of its rows.
//!
//! Invariant: two queries with one prefix make the same groups of the same batch.

use std::sync::Arc;

use datafusion::physical_expr_common::physical_expr::is_volatile;

use super::alike::Alike;
use crate::engine::lane::table_use;
use crate::operator::TableUse;
use crate::plan::{AggregatePlan, RowStage, ScanColumn, StreamPlan, by_panes};
use crate::types::WindowKind;

const ROWS_MIN: usize = 64;
const ROWS_A_GROUP_MIN: usize = 2;

/// A plan from the messages of an input to its groups.
#[derive(Debug)]
pub(in crate::engine) struct Prefix {
    columns: Vec<ScanColumn>,
    rows: Vec<RowStage>,
    aggregate: AggregatePlan,
    /// Stages and an aggregate that make its groups pane by pane, if that is less work.
    paned: Option<(Vec<RowStage>, Arc<AggregatePlan>)>,
    /// What the state's tables are for: that decides in which form they hold their values.
    wanted: TableUse,
    /// Groups are made together only of batches with so many rows: making tables for them costs too.
    rows_min: usize,
    /// And only if so many rows make less than one group.
    rows_a_group_min: usize,
}

impl Prefix {
    /// That of a plan's input, for a query that is durable or not; `None` when its rows are to be taken
    /// one by one.
    pub(in crate::engine) fn of(plan: &StreamPlan, input: usize, durable: bool) -> Option<Self> {
        let wanted = table_use(plan, durable);
        let input = &plan.inputs[input];
        let aggregate = plan.aggregate.as_ref()?;
        let kind = aggregate.window.as_ref().map(|window| window.kind);
        let by_rows = matches!(
            kind,
            Some(WindowKind::Session { .. } | WindowKind::Cumulate { .. })
        );
        let mut all = aggregate
            .expressions()
            .chain(input.rows.iter().flat_map(RowStage::expressions));
        if by_rows || all.any(is_volatile) {
            return None;
        }
        Some(Self {
            columns: input.source.scan.columns.clone(),
            rows: input.rows.clone(),
            aggregate: aggregate.clone(),
            paned: by_panes(&input.rows, aggregate)
                .map(|(rows, aggregate)| (rows, Arc::new(aggregate))),
            wanted,
            rows_min: ROWS_MIN,
            rows_a_group_min: ROWS_A_GROUP_MIN,
        })
    }

    /// The same for batches that would not be worth it.
    #[cfg(test)]
    pub(in crate::engine) fn for_any_batch(self) -> Self {
        Self {
            rows_min: 1,
            rows_a_group_min: 0,
            ..self
        }
    }

    /// Stages and an aggregate that make its groups pane by pane, if that is less work.
    pub(in crate::engine) fn paned(&self) -> Option<&(Vec<RowStage>, Arc<AggregatePlan>)> {
        self.paned.as_ref()
    }

    /// Whether the groups of so many rows may be worth making together.
    pub(in crate::engine) fn is_for(&self, rows: usize) -> bool {
        rows >= self.rows_min
    }

    /// Whether so many groups of so many rows are worth taking together.
    pub(in crate::engine) fn is_worth(&self, groups: usize, rows: usize) -> bool {
        groups * self.rows_a_group_min <= rows
    }
}

impl Alike for Prefix {
    fn is_like(&self, other: &Self) -> bool {
        self.columns == other.columns
            && self.wanted == other.wanted
            && self.rows == other.rows
            && self.aggregate.is_like(&other.aggregate)
    }
}
