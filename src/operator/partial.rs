//! A batch aggregated once for several queries whose plans are the same up to the aggregate.
//!
//! ```text
//! rows of a batch → their groups, pane by pane ─┬→ merged into the state of query a
//!                                               └→ merged into the state of query b
//! ```
//! A batch has fewer groups than rows, often far fewer, so that a further query costs next to nothing.
//! Hopping windows that each have a table get the groups of a pane once for each window over it.
//! Invariant: a query takes a batch this way only if none of its rows can be late; its state then has
//! what the rows one by one would have made of it.

use std::sync::Arc;

use super::aggregate::{Aggregate, Windows};
use super::fixed::span_of;
use super::placement::{FirstEnds, Lateness, Place, out_of_range};
use super::row_pipeline::{Rows, evaluate, timestamps};
use crate::error::Result;
use crate::plan::{AggregatePlan, WindowPlan, WindowRows};
use crate::state::Frozen;
use crate::types::{Watermark, WindowKind};

/// A batch's groups.
pub struct Partial {
    rows: usize,
    panes: Vec<(Place, Frozen)>,
    /// What windows lie over each pane; `None`: it is the window.
    over: Option<WindowKind>,
    /// The end of the first window over any of the rows. Microseconds since the Unix epoch.
    first_end: i64,
    /// How long before the end of its first window a row came at the least, by what earlier rows of
    /// its partition say in the batch. Microseconds.
    earliness: i64,
}

impl std::fmt::Debug for Partial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partial")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Partial {
    /// Rows that went into it.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The groups, those of each window or pane that is taken in counted.
    pub fn groups(&self) -> usize {
        let panes = self.panes.iter();
        panes
            .map(|(place, groups)| self.places(*place).count() * groups.len())
            .sum()
    }

    /// Where the groups of a pane belong.
    fn places(&self, pane: Place) -> impl Iterator<Item = Place> {
        let over = self.over.into_iter();
        let windows = over.flat_map(move |kind| kind.windows_of(pane.pane));
        let windows = windows.map(|span| Place {
            pane: span.start,
            from_end: span.end,
        });
        windows.chain(self.over.is_none().then_some(pane))
    }
}

impl Aggregate {
    /// The groups of rows that are left of a decoded batch. `said_before` tells for each row of that batch
    /// the greatest that earlier rows of its partition say of the watermark. `None`: some rows are
    /// refused. `paned`: another plan, of the same groups by panes, which the rows are for.
    ///
    /// # Errors
    /// When an expression or an aggregate fails.
    pub fn partial(
        &self,
        paned: Option<&Arc<AggregatePlan>>,
        rows: &Rows,
        said_before: &[i64],
    ) -> Result<Option<Partial>> {
        let plan = paned.unwrap_or(&self.grouping.plan);
        let (first_end, earliness) = match &plan.window {
            Some(window) => ends(window, rows, said_before)?,
            None => (i64::MAX, i64::MAX),
        };
        let over = paned.and_then(|plan| Some(plan.window.as_ref()?.kind));
        let mut one = Self::try_new(Arc::clone(plan), self.grouping.wanted(), None)?;
        let taken = one.process(rows, Lateness::NONE)?;
        let panes = one.into_panes()?;
        Ok(taken.refused.is_empty().then(|| Partial {
            rows: rows.batch.num_rows(),
            panes,
            over,
            first_end,
            earliness,
        }))
    }

    /// Whether no row of a batch can be late for any of its windows, or is passed over. Before the batch
    /// its rows are compared with `standing` at the most.
    pub fn may_take(&self, partial: &Partial, standing: Watermark) -> bool {
        let Some(window) = &self.grouping.plan.window else {
            return true;
        };
        let closed = standing.0.0.saturating_sub(window.grace);
        partial.first_end > closed.max(self.ignore_until)
            && partial.earliness.saturating_add(window.grace) > 0
    }

    /// Takes in a batch's groups.
    ///
    /// # Errors
    /// When an aggregate refuses to merge.
    pub fn take_partial(&mut self, partial: &Partial) -> Result<()> {
        let grouping = &self.grouping;
        for (pane, groups) in &partial.panes {
            match &mut self.windows {
                Windows::None(one) => one.merge(grouping, groups)?,
                Windows::Fixed(fixed) => partial
                    .places(*pane)
                    .try_for_each(|place| fixed.merge(grouping, place, groups))?,
                Windows::Sliding(sliding) => sliding.merge(grouping, *pane, groups)?,
                Windows::Growing(_) | Windows::Sessions(_) => {
                    unreachable!("their batches are taken row by row")
                }
            }
        }
        Ok(())
    }

    fn into_panes(self) -> Result<Vec<(Place, Frozen)>> {
        let none = Place {
            pane: 0,
            from_end: 0,
        };
        let tables = match self.windows {
            Windows::None(one) => one
                .into_table()
                .map(|table| (none, table))
                .into_iter()
                .collect(),
            Windows::Fixed(fixed) => fixed.into_tables(),
            Windows::Sliding(sliding) => sliding.into_tables(),
            Windows::Growing(_) | Windows::Sessions(_) => {
                unreachable!("their batches are taken row by row")
            }
        };
        let frozen = tables
            .into_iter()
            .map(|(place, table)| Ok((place, table.freeze()?)));
        frozen.collect()
    }
}

/// The end of the first window over any of the rows, and how long before its own a row came at the least.
fn ends(window: &WindowPlan, rows: &Rows, said_before: &[i64]) -> Result<(i64, i64)> {
    let (WindowRows::Time(expr) | WindowRows::Bound(_, expr)) = &window.rows;
    let column = evaluate(expr, &rows.batch)?;
    let times = timestamps(&column)?;
    let mut first_ends = FirstEnds::new(window.kind);
    let (mut first, mut earliness) = (i64::MAX, i64::MAX);
    for (row, time) in times.values().iter().enumerate() {
        let end = match &window.rows {
            WindowRows::Time(_) => first_ends.of(*time),
            WindowRows::Bound(bound, _) => span_of(window.kind, *bound, *time).map(|span| span.end),
        };
        let end = end.ok_or_else(out_of_range)?;
        let said = said_before[rows.origin_of(row)];
        first = first.min(end);
        earliness = earliness.min(end.saturating_sub(said));
    }
    Ok((first, earliness))
}
