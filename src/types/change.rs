//! Rows on their way to whoever takes them, and what each does to the rows before it.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

/// What a row does to the rows that went out before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// It is new.
    Insert,
    /// The old form of a row that changes; its new form follows at once.
    UpdateBefore,
    /// The new form of a row that changed.
    UpdateAfter,
    /// It is there no more; the row's last form.
    Delete,
}

impl Op {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::UpdateBefore => "update_before",
            Self::UpdateAfter => "update_after",
            Self::Delete => "delete",
        }
    }

    /// True when the row counts from here on, false when it no longer does.
    pub fn adds(self) -> bool {
        match self {
            Self::Insert | Self::UpdateAfter => true,
            Self::UpdateBefore | Self::Delete => false,
        }
    }
}

/// Rows of a query's output. Invariant: one operation a row, and every `UpdateBefore` is followed by
/// its `UpdateAfter` with the same key.
#[derive(Debug, Clone)]
pub struct ChangeBatch {
    rows: RecordBatch,
    /// `None`: every row is new.
    ops: Option<Arc<[Op]>>,
}

impl ChangeBatch {
    /// Rows that are all new.
    pub fn inserts(rows: RecordBatch) -> Self {
        Self { rows, ops: None }
    }

    /// Rows with what each does.
    ///
    /// # Panics
    /// If there is not one operation a row.
    pub fn new(rows: RecordBatch, ops: Vec<Op>) -> Self {
        assert_eq!(rows.num_rows(), ops.len(), "one operation a row");
        let ops = Some(ops.into());
        Self { rows, ops }
    }

    /// The rows, old forms among them.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// What a row does.
    pub fn op(&self, row: usize) -> Op {
        self.ops.as_ref().map_or(Op::Insert, |ops| ops[row])
    }

    /// Only the rows that count from here on.
    ///
    /// # Errors
    /// None that a valid batch can give.
    pub fn added(self) -> Result<RecordBatch, ArrowError> {
        let Some(ops) = &self.ops else {
            return Ok(self.rows);
        };
        let mask: BooleanArray = ops.iter().map(|op| Some(op.adds())).collect();
        filter_record_batch(&self.rows, &mask)
    }

    /// How many rows count from here on.
    pub fn added_count(&self) -> u64 {
        let added = match &self.ops {
            Some(ops) => ops.iter().filter(|op| op.adds()).count(),
            None => self.rows.num_rows(),
        };
        added as u64
    }

    /// The rows up to the one with which so many count, and how many do.
    pub fn first(self, count: u64) -> (Self, u64) {
        let mut added = 0;
        let mut rows = 0;
        while rows < self.rows.num_rows() && added < count {
            added += u64::from(self.op(rows).adds());
            rows += 1;
        }
        let ops = self.ops.map(|ops| ops[..rows].into());
        let rows = self.rows.slice(0, rows);
        (Self { rows, ops }, added)
    }

    /// The same operations on other rows, one for each.
    ///
    /// # Errors
    /// What `change` gives.
    ///
    /// # Panics
    /// If `change` gives another number of rows.
    pub fn map<E>(
        self,
        change: impl FnOnce(RecordBatch) -> Result<RecordBatch, E>,
    ) -> Result<Self, E> {
        let count = self.rows.num_rows();
        let rows = change(self.rows)?;
        assert_eq!(rows.num_rows(), count, "one operation a row");
        let ops = self.ops;
        Ok(Self { rows, ops })
    }

    /// True when every row is new.
    pub fn only_inserts(&self) -> bool {
        self.ops
            .as_ref()
            .is_none_or(|ops| ops.iter().all(|op| *op == Op::Insert))
    }
}
