//! Changed rows on their way through the output's stages: the old forms and the new ones, and at
//! the end what each is to whoever takes them.

use std::sync::Arc;

use arrow::array::{Array, UInt32Array};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};

use super::refusal::Refusals;
use super::row_pipeline::{RowPipeline, Rows};
use crate::error::{Result, from_arrow};
use crate::types::{ChangeBatch, Op};

/// Old and new forms of changed rows.
pub struct Changed {
    before: RecordBatch,
    after: RecordBatch,
    /// For each change its row in `before` and in `after`.
    pairs: Vec<(Option<u32>, Option<u32>)>,
    /// Rows that would have changed, but cannot be computed.
    refusals: Refusals,
}

impl Changed {
    /// Every row of `after` with its old form, if `old` says that there is one: those are the rows
    /// of `before` in their order; the `gone` last rows of `before` have no new form.
    pub(super) fn new<T>(
        before: RecordBatch,
        after: RecordBatch,
        old: &[Option<T>],
        gone: usize,
    ) -> Self {
        assert_eq!(after.num_rows(), old.len(), "one old form or none a row");
        let mut olds = 0u32..;
        // First what is gone, so that it does not take away a row that came in its place: a session
        // that was joined may have begun where the joined one begins.
        let rows = u32::try_from(before.num_rows()).expect("a batch has less than 2^32 rows");
        let kept = rows - u32::try_from(gone).expect("they are rows of `before`");
        let mut pairs: Vec<_> = (kept..rows).map(|row| (Some(row), None)).collect();
        for (row, old) in (0u32..).zip(old) {
            let before = old.as_ref().and_then(|_| olds.next());
            pairs.push((before, Some(row)));
        }
        Self {
            before,
            after,
            pairs,
            refusals: Refusals::default(),
        }
    }

    /// No change of rows with these columns.
    pub(super) fn nothing(schema: &SchemaRef) -> Self {
        let none = RecordBatch::new_empty(Arc::clone(schema));
        Self::new::<()>(none.clone(), none, &[], 0)
    }

    /// The same with rows that cannot be computed.
    pub(super) fn refusing(mut self, refusals: Refusals) -> Self {
        self.refusals.absorb(refusals);
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty() && self.refusals.count == 0
    }

    /// Runs both forms through the output's stages and tells what became of each row. Rows whose
    /// `key` columns changed go and come anew; those that cannot be computed are as if they were not
    /// there, and noted.
    ///
    /// # Errors
    /// When an expression fails and no row is at fault.
    pub fn into_changes(
        self,
        stages: &RowPipeline,
        key: Option<&[usize]>,
        refusals: &mut Refusals,
    ) -> Result<Option<ChangeBatch>> {
        refusals.absorb(self.refusals);
        let (rows_before, rows_after) = (self.before.num_rows(), self.after.num_rows());
        // What is refused of the old forms was noted when these were new.
        let (before, _) = stages.process_each(&self.before)?;
        let (after, refused) = stages.process_each(&self.after)?;
        for refused in refused {
            refusals.note(&self.after, refused.row, refused.error);
        }
        if before.batch.num_rows() == 0 && after.batch.num_rows() == 0 {
            return Ok(None);
        }
        let (place_before, place_after) =
            (places(&before, rows_before), places(&after, rows_after));
        let all: Vec<usize> = (0..after.batch.num_columns()).collect();
        // Without rows on both sides there is nothing to compare.
        let both = before.batch.num_rows() > 0 && after.batch.num_rows() > 0;
        let forms = |columns: Option<&[usize]>| {
            let columns = columns.filter(|_| both);
            let forms = columns.map(|columns| Forms::try_new(&before, &after, columns));
            forms.transpose()
        };
        let whole = forms(Some(&all))?;
        // A single group, without a key, is always the same one.
        let keys = forms(key.filter(|key| !key.is_empty()))?;
        let mut picked = Vec::new();
        let mut ops = Vec::new();
        let mut push = |side: usize, row: usize, op: Op| {
            picked.push((side, row));
            ops.push(op);
        };
        for (old, new) in self.pairs {
            let old = old.and_then(|old| place_before[old as usize]);
            let new = new.and_then(|new| place_after[new as usize]);
            match (old, new) {
                (Some(old), Some(new)) if whole.as_ref().is_some_and(|w| w.same(old, new)) => {}
                (Some(old), Some(new)) => {
                    let stays = keys.as_ref().is_none_or(|keys| keys.same(old, new));
                    let (gone, come) = match stays {
                        true => (Op::UpdateBefore, Op::UpdateAfter),
                        false => (Op::Delete, Op::Insert),
                    };
                    push(0, old, gone);
                    push(1, new, come);
                }
                (Some(old), None) => push(0, old, Op::Delete),
                (None, Some(new)) => push(1, new, Op::Insert),
                (None, None) => {}
            }
        }
        if ops.is_empty() {
            return Ok(None);
        }
        let sides = [&before.batch, &after.batch];
        let rows = interleave_record_batch(&sides, &picked).map_err(from_arrow)?;
        Ok(Some(ChangeBatch::new(rows, ops)))
    }
}

/// Where each row of the input is in the output, if it is.
fn places(rows: &Rows, count: usize) -> Vec<Option<usize>> {
    match &rows.origin {
        None if rows.batch.num_rows() == count => (0..count).map(Some).collect(),
        None => vec![None; count],
        Some(origin) => by_origin(origin, count),
    }
}

fn by_origin(origin: &UInt32Array, count: usize) -> Vec<Option<usize>> {
    let mut places = vec![None; count];
    for row in 0..origin.len() {
        places[origin.value(row) as usize] = Some(row);
    }
    places
}

/// Some columns of both forms, to be compared.
struct Forms {
    before: arrow::row::Rows,
    after: arrow::row::Rows,
}

impl Forms {
    fn try_new(before: &Rows, after: &Rows, columns: &[usize]) -> Result<Self> {
        let types = columns
            .iter()
            .map(|c| SortField::new(after.batch.column(*c).data_type().clone()));
        let converter = RowConverter::new(types.collect()).map_err(from_arrow)?;
        let convert = |rows: &Rows| {
            let columns: Vec<_> = columns
                .iter()
                .map(|c| Arc::clone(rows.batch.column(*c)))
                .collect();
            converter.convert_columns(&columns).map_err(from_arrow)
        };
        Ok(Self {
            before: convert(before)?,
            after: convert(after)?,
        })
    }

    fn same(&self, before: usize, after: usize) -> bool {
        self.before.row(before) == self.after.row(after)
    }
}
