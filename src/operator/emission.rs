//! What of a state has changed since that was last asked: the old and the new form of each changed row.
//!
//! A micro-batch touches few groups in each of many open windows. So the changed groups of several windows are
//! looked at together: what is done to a batch costs more than what is done to its rows.
//!
//! Invariant: what is remembered as emitted of a group may have been emitted: groups that do not pass HAVING are as
//! if they were not there.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::is_volatile;

use super::aggregate::{Aggregate, Spans, Windows, without};
use super::changed::Changed;
use super::changes::{Changes, Differences, columns_of};
use super::row_pipeline::condition;
use super::sessions::Sessions;
use crate::error::{Result, from_arrow};
use crate::plan::RowStage;
use crate::state::{GroupTable, Refused};
use crate::types::{Watermark, WindowSpan};

/// Windows with more changed groups than this in all are not looked at together: their columns would be copied.
const GROUPS_TOGETHER_MAX: usize = 4_096;

const NO_WINDOW: WindowSpan = WindowSpan { start: 0, end: 0 };

/// A table, and which of its groups rows have come for.
struct Touched<'a> {
    span: WindowSpan,
    table: &'a mut GroupTable,
    changes: &'a mut Changes,
    groups: Vec<usize>,
}

impl<'a> Touched<'a> {
    /// `None`: rows have come for none.
    fn of(span: WindowSpan, table: &'a mut GroupTable, changes: &'a mut Changes) -> Option<Self> {
        let groups = changes.take();
        (!groups.is_empty()).then_some(Self {
            span,
            table,
            changes,
            groups,
        })
    }
}

/// A condition on the rows of an aggregate that says the same of equal rows.
#[derive(Debug, Clone)]
pub struct Having(Arc<dyn PhysicalExpr>);

impl Having {
    /// The condition with which the output begins, if there is one.
    pub fn of(output: &[RowStage]) -> Option<Self> {
        match output.first()? {
            RowStage::Filter(condition) if !is_volatile(condition) => {
                Some(Self(Arc::clone(condition)))
            }
            _ => None,
        }
    }

    /// Which rows pass; `None`: it fails for some, which is told where the output's stages run.
    fn passing(&self, rows: &RecordBatch) -> Option<BooleanArray> {
        condition(&self.0, rows).ok()
    }
}

impl Aggregate {
    /// What changed since the last call, the windows in the order in which they close. Groups that do not pass `having`
    /// may be left out, and are gone if they passed it before.
    ///
    /// # Errors
    /// When an aggregate fails and no group is at fault.
    ///
    /// # Panics
    /// If the tables were not made readable.
    pub fn emit_changes(&mut self, having: Option<&Having>) -> Result<Vec<Changed>> {
        assert!(
            self.grouping.readable(),
            "only readable tables can emit changes"
        );
        let mut windows = std::mem::replace(&mut self.windows, Windows::None(Box::default()));
        let changed = match &mut windows {
            Windows::None(one) => {
                let touched = one
                    .table()
                    .and_then(|(table, changes)| Touched::of(NO_WINDOW, table, changes));
                self.tables_changes(touched.into_iter().collect(), having)
            }
            Windows::Fixed(fixed) => {
                let touched = fixed.open().filter_map(|(span, pane)| {
                    Touched::of(span, &mut pane.table, &mut pane.changes)
                });
                self.tables_changes(touched.collect(), having)
            }
            Windows::Sessions(sessions) => self.session_changes(sessions).map(|one| vec![one]),
            Windows::Sliding(_) | Windows::Growing(_) => {
                unreachable!("the planner lets each row stand for one window")
            }
        };
        self.windows = windows;
        let mut changed = changed?;
        changed.retain(|changed| !changed.is_empty());
        Ok(changed)
    }

    fn tables_changes(
        &self,
        mut touched: Vec<Touched<'_>>,
        having: Option<&Having>,
    ) -> Result<Vec<Changed>> {
        let mut changed = Vec::new();
        let mut rest = touched.as_mut_slice();
        while !rest.is_empty() {
            let mut groups = 0;
            let fits = |one: &&Touched<'_>| {
                groups += one.groups.len();
                groups <= GROUPS_TOGETHER_MAX
            };
            let together = rest.iter().take_while(fits).count().max(1);
            let (some, others) = rest.split_at_mut(together);
            changed.push(self.changes_of(some, having)?);
            rest = others;
        }
        Ok(changed)
    }

    fn changes_of(&self, touched: &mut [Touched<'_>], having: Option<&Having>) -> Result<Changed> {
        let read = touched.iter_mut().map(|one| one.table.read(&one.groups));
        let read = read.collect::<Result<Vec<_>>>()?;
        let keys = one_after_another(read.iter().map(|groups| &groups.keys))?;
        let values = one_after_another(read.iter().map(|groups| &groups.values))?;
        let spans = touched.iter();
        let spans = spans.flat_map(|one| std::iter::repeat_n(one.span, one.groups.len()));
        let spans: Vec<WindowSpan> = spans.collect();
        let all = || self.output(Spans::Each(&spans), &keys, values.clone());
        let passing = match having {
            Some(having) => having.passing(&all()?),
            None => None,
        };
        let passes = |row: usize| passing.as_ref().is_none_or(|passing| passing.value(row));
        let are_new = touched.iter().all(|one| one.changes.has_none_emitted());
        let are_fine = read.iter().all(|groups| groups.refused.is_empty());
        if are_new && are_fine && !(0..spans.len()).any(passes) {
            return Ok(Changed::nothing(&self.grouping.plan.schema));
        }
        // Groups without values differ once: when they come.
        let first = self.first_columns();
        let kept = match values.is_empty() {
            true => vec![marks(spans.len())],
            false => values.clone(),
        };
        let converter = self.converter(&first)?;
        let rows = converter.convert_columns(&kept).map_err(from_arrow)?;
        let (mut found, mut refused, mut from) = (Differences::default(), Refused::new(), 0);
        for (one, groups) in touched.iter_mut().zip(read) {
            let values = (from..from + one.groups.len()).map(|row| rows.row(row));
            let is_there = |row: usize| !groups.refused.contains_key(&row) && passes(from + row);
            let own = one.changes.differences(&one.groups, values, is_there);
            one.table.touch(&own.picked(&one.groups));
            found.extend(from, own);
            let of_table = groups.refused.into_iter();
            refused.extend(of_table.map(|(group, error)| (from + group, error)));
            from += one.groups.len();
        }
        let (spans_before, spans_after) = found.split(&spans);
        let before = self.output(
            Spans::Each(&spans_before),
            &found.replaced_of(&keys)?,
            columns_of(found.old_values(), converter)?.split_off(first.len()),
        )?;
        let after = self.output(
            Spans::Each(&spans_after),
            &found.changed_of(&keys)?,
            found.changed_of(&values)?,
        )?;
        let changed = Changed::new(before, after, &found.old, found.gone.len());
        if refused.is_empty() {
            return Ok(changed);
        }
        Ok(changed.refusing(without(all()?, refused)?.1))
    }

    /// Takes out the groups whose time to live is over, as rows that are there no more.
    ///
    /// # Errors
    /// When a key cannot be read back.
    pub fn expire(&mut self, watermark: Watermark) -> Result<Option<Changed>> {
        let Windows::None(one) = &mut self.windows else {
            return Ok(None);
        };
        let groups = one.expired(watermark);
        let Some((table, _)) = one.table().filter(|_| !groups.is_empty()) else {
            return Ok(None);
        };
        let keys = table.keys_of(&groups)?;
        let emitted = one.release(&groups)?;
        let shown: BooleanArray = emitted.iter().map(|old| Some(old.is_some())).collect();
        let keys = keys
            .iter()
            .map(|key| arrow::compute::filter(key, &shown).map_err(from_arrow))
            .collect::<Result<Vec<_>>>()?;
        let first = self.first_columns();
        let old = columns_of(emitted.iter().flatten(), self.converter(&first)?)?;
        let count = shown.true_count();
        let before = self.output(
            Spans::Same(NO_WINDOW, count),
            &keys,
            old[first.len()..].to_vec(),
        )?;
        let after = before.slice(0, 0);
        Ok(Some(Changed::new::<()>(before, after, &[], count)))
    }

    /// What stands before the values where groups have none.
    fn first_columns(&self) -> Vec<DataType> {
        match self.grouping.plan.calls.is_empty() {
            true => vec![DataType::Boolean],
            false => Vec::new(),
        }
    }

    /// Sessions change their bounds too, so these are kept with the values.
    fn session_changes(&self, sessions: &mut Sessions) -> Result<Changed> {
        let touched = sessions.changes.take();
        let counted = touched.into_iter();
        let groups: Vec<usize> = counted
            .filter(|number| sessions.counts(sessions.span(*number)))
            .collect();
        let numbers: Vec<u32> = groups
            .iter()
            .map(|number| u32::try_from(*number).expect("sessions are numbered by 32 bits"))
            .collect();
        let now = sessions.read(&numbers)?;
        let mut kept: Vec<ArrayRef> = bounds_of(&now.spans);
        kept.extend(now.values.iter().cloned());
        let converter = self.converter(&[DataType::Int64, DataType::Int64])?;
        let rows = converter.convert_columns(&kept).map_err(from_arrow)?;
        let found = sessions
            .changes
            .differences(&groups, rows.iter(), |row| !now.refused.contains_key(&row));
        sessions.touch(&found.picked(&groups));
        let joined = std::mem::take(&mut sessions.joined);
        let mut before_keys = found.replaced_of(&now.keys)?;
        let joined_keys = sessions.keys_of(joined.iter().map(|(key, _)| *key))?;
        for (column, joined) in before_keys.iter_mut().zip(&joined_keys) {
            *column = concat(&[column, joined]).map_err(from_arrow)?;
        }
        let old = found.old_values();
        let old = old.chain(joined.iter().map(|(_, old)| old));
        let old = columns_of(old, converter)?;
        let before = self.output(
            Spans::Each(&spans_of(&old)),
            &before_keys,
            old[2..].to_vec(),
        )?;
        let new = found.changed_of(&kept)?;
        let after = self.output(
            Spans::Each(&spans_of(&new)),
            &found.changed_of(&now.keys)?,
            new[2..].to_vec(),
        )?;
        let gone = found.gone.len() + joined.len();
        let changed = Changed::new(before, after, &found.old, gone);
        Ok(match now.refused.is_empty() {
            true => changed,
            false => changed.refusing(self.session_rows(now)?.1),
        })
    }

    /// For values in row format, behind columns of the given types, which are always the same.
    fn converter(&self, first: &[DataType]) -> Result<&RowConverter> {
        if let Some(made) = self.converter.get() {
            return Ok(made);
        }
        let plan = &self.grouping.plan;
        let values = plan.schema.fields().iter().skip(plan.groups.len());
        let fields = first
            .iter()
            .cloned()
            .chain(values.map(|field| field.data_type().clone()))
            .map(SortField::new)
            .collect();
        let made = RowConverter::new(fields).map_err(from_arrow)?;
        Ok(self.converter.get_or_init(|| made))
    }
}

/// Columns of some tables, put together.
fn one_after_another<'a>(
    mut tables: impl Iterator<Item = &'a Vec<ArrayRef>> + Clone,
) -> Result<Vec<ArrayRef>> {
    let Some(first) = tables.next() else {
        return Ok(Vec::new());
    };
    if tables.clone().next().is_none() {
        return Ok(first.clone());
    }
    let columns = first.iter().enumerate().map(|(place, column)| {
        let others = tables.clone().map(|columns| columns[place].as_ref());
        let all: Vec<_> = std::iter::once(column.as_ref()).chain(others).collect();
        concat(&all).map_err(from_arrow)
    });
    columns.collect()
}

fn marks(rows: usize) -> ArrayRef {
    Arc::new(BooleanArray::from(vec![true; rows]))
}

fn bounds_of(spans: &[WindowSpan]) -> Vec<ArrayRef> {
    let starts = Int64Array::from_iter_values(spans.iter().map(|span| span.start));
    let ends = Int64Array::from_iter_values(spans.iter().map(|span| span.end));
    vec![Arc::new(starts), Arc::new(ends)]
}

fn spans_of(columns: &[ArrayRef]) -> Vec<WindowSpan> {
    let starts = columns[0].as_primitive::<Int64Type>().values();
    let ends = columns[1].as_primitive::<Int64Type>().values();
    let bounds = starts.iter().zip(ends);
    bounds
        .map(|(start, end)| WindowSpan {
            start: *start,
            end: *end,
        })
        .collect()
}
