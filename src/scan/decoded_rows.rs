//! The rows that some messages became, and the messages that are none.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;

use crate::error::{Result, from_arrow};
use crate::format::Rejected;

/// What became of a batch of messages.
#[derive(Debug, Clone)]
pub struct DecodedRows {
    /// The rows, with the scan's schema.
    pub batch: RecordBatch,
    /// The index of the message of each row; `None` when every message is a row.
    pub source_rows: Option<Arc<[u32]>>,
    /// The messages that are no rows, with the reasons, in the order of their messages.
    pub rejected: Vec<Rejected>,
}

impl DecodedRows {
    /// The index of the message that became this row.
    pub fn message_of(&self, row: usize) -> usize {
        self.source_rows
            .as_ref()
            .map_or(row, |rows| rows[row] as usize)
    }

    /// The same, made of messages that have these places among others, in ascending order.
    pub fn of_messages(mut self, places: &[usize]) -> Self {
        for rejected in &mut self.rejected {
            rejected.message = places[rejected.message];
        }
        let rows = 0..self.batch.num_rows();
        let places = rows.map(|row| place_of(places[self.message_of(row)]));
        self.source_rows = Some(places.collect());
        self
    }

    /// These and others of the same messages, in the order of the messages.
    ///
    /// # Errors
    /// When their schemas differ.
    pub fn and(self, other: &Self) -> Result<Self> {
        let mut rejected = self.rejected.clone();
        rejected.extend_from_slice(&other.rejected);
        rejected.sort_by_key(|rejected| rejected.message);
        if other.batch.num_rows() == 0 {
            return Ok(Self { rejected, ..self });
        }
        let rows_of = |from: usize, of: &Self| -> Vec<(usize, (usize, usize))> {
            let rows = 0..of.batch.num_rows();
            rows.map(|row| (of.message_of(row), (from, row))).collect()
        };
        let mut rows = rows_of(0, &self);
        rows.extend(rows_of(1, other));
        rows.sort_unstable_by_key(|(message, _)| *message);
        let from: Vec<(usize, usize)> = rows.iter().map(|(_, from)| *from).collect();
        let batch = interleave_record_batch(&[&self.batch, &other.batch], &from);
        let messages = rows.into_iter().map(|(message, _)| place_of(message));
        Ok(Self {
            batch: batch.map_err(from_arrow)?,
            source_rows: Some(messages.collect()),
            rejected,
        })
    }

    /// Those of some of the messages, by the places of these.
    pub fn part(&self, messages: Range<usize>) -> Self {
        let (first, end) = (place_of(messages.start), place_of(messages.end));
        let rows = match &self.source_rows {
            None => messages.clone(),
            Some(rows) => {
                let before = |end: u32| rows.partition_point(|message| *message < end);
                before(first)..before(end)
            }
        };
        let source_rows = self.source_rows.as_ref();
        let rejected = self.rejected.iter();
        Self {
            batch: self.batch.slice(rows.start, rows.len()),
            source_rows: source_rows.map(|of| {
                of[rows.clone()]
                    .iter()
                    .map(|message| message - first)
                    .collect()
            }),
            rejected: rejected
                .filter(|rejected| messages.contains(&rejected.message))
                .map(|rejected| Rejected {
                    message: rejected.message - messages.start,
                    ..rejected.clone()
                })
                .collect(),
        }
    }
}

/// A batch has fewer messages than that.
fn place_of(message: usize) -> u32 {
    u32::try_from(message).unwrap_or(u32::MAX)
}
