//! Sessions in a snapshot: rows that come sorted by key and time, cut where the key changes or the
//! silence is as long as the gap.
//!
//! Only the session that is still open is kept.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::window_exec::{Windows, times_of, with_spans};
use crate::types::WindowSpan;

/// Tells sessions apart.
pub(super) struct SessionRows {
    windows: Windows,
    /// With the bounds.
    schema: SchemaRef,
    converter: Option<RowConverter>,
    open: Option<Open>,
    reservation: MemoryReservation,
}

/// The session that the next row may belong to.
struct Open {
    key: Option<OwnedRow>,
    first: i64,
    last: i64,
    /// Its rows, batch by batch; not empty.
    rows: Vec<RecordBatch>,
}

impl SessionRows {
    /// `schema` is that of the output: with the bounds.
    pub(super) fn try_new(
        windows: Windows,
        schema: SchemaRef,
        reservation: MemoryReservation,
    ) -> Result<Self> {
        let mut fields = Vec::new();
        for key in &windows.partition {
            fields.push(SortField::new(key.data_type(&schema)?));
        }
        let converter = match fields.is_empty() {
            true => None,
            false => Some(RowConverter::new(fields)?),
        };
        Ok(Self {
            windows,
            schema,
            converter,
            open: None,
            reservation,
        })
    }

    /// The rows of `input` with their sessions.
    pub(super) fn stream(
        self,
        input: SendableRecordBatchStream,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let state = (self, input, false);
        let step = |(mut rows, mut input, ended): (Self, SendableRecordBatchStream, bool)| async move {
            if ended {
                return Ok::<_, datafusion::error::DataFusionError>(None);
            }
            let (batches, ended) = match input.next().await {
                Some(batch) => (rows.push(&batch?)?, false),
                None => (rows.finish()?, true),
            };
            let batches = futures::stream::iter(batches.into_iter().map(Ok));
            Ok(Some((batches, (rows, input, ended))))
        };
        futures::stream::try_unfold(state, step)
            .try_flatten()
            .boxed()
    }

    /// Takes the next rows; gives those of the sessions that have ended.
    fn push(&mut self, batch: &RecordBatch) -> Result<Vec<RecordBatch>> {
        let kind = self.windows.kind;
        let times = times_of(batch, &self.windows)?;
        let has_window = |time: Option<i64>| time.is_some_and(|t| kind.pane_of(t).is_some());
        let kept: BooleanArray = times.iter().map(|time| Some(has_window(time))).collect();
        let batch = filter_record_batch(batch, &kept)?;
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let times = times_of(&batch, &self.windows)?;
        let keys = self.keys(&batch)?;
        let mut given = Vec::new();
        let mut spans = Vec::new();
        // Where the session that goes on begins in this batch.
        let mut begun = 0;
        for (row, &time) in times.values().iter().enumerate() {
            let same_key = |open: &Open| match (&open.key, &keys) {
                (Some(key), Some(keys)) => key.row() == keys.row(row),
                _ => true,
            };
            match &mut self.open {
                Some(open) if same_key(open) && time - open.last < kind.size() => open.last = time,
                _ => {
                    given.extend(self.close(&batch.slice(begun, row - begun), &mut spans)?);
                    begun = row;
                    self.open = Some(Open {
                        key: keys.as_ref().map(|keys| keys.row(row).owned()),
                        first: time,
                        last: time,
                        rows: Vec::new(),
                    });
                }
            }
        }
        if begun > 0 {
            given.push(with_spans(&batch.slice(0, begun), &spans, &self.schema)?);
        }
        let rest = batch.slice(begun, batch.num_rows() - begun);
        self.reservation.try_grow(rest.get_array_memory_size())?;
        self.open
            .iter_mut()
            .for_each(|open| open.rows.push(rest.clone()));
        Ok(given)
    }

    /// Ends the open session, whose last rows are `rest`: gives the batches kept for it, and adds
    /// a span for each row of `rest`.
    fn close(
        &mut self,
        rest: &RecordBatch,
        spans: &mut Vec<WindowSpan>,
    ) -> Result<Vec<RecordBatch>> {
        let Some(open) = self.open.take() else {
            return Ok(Vec::new());
        };
        self.reservation.free();
        let span = WindowSpan {
            start: open.first,
            end: open.last + self.windows.kind.size(),
        };
        spans.extend(std::iter::repeat_n(span, rest.num_rows()));
        open.rows
            .iter()
            .map(|batch| with_spans(batch, &vec![span; batch.num_rows()], &self.schema))
            .collect()
    }

    /// Gives the rows of the last session.
    fn finish(&mut self) -> Result<Vec<RecordBatch>> {
        let schema = Arc::clone(&self.schema);
        let none = RecordBatch::new_empty(schema);
        self.close(&none, &mut Vec::new())
    }

    fn keys(&mut self, batch: &RecordBatch) -> Result<Option<Rows>> {
        let Some(converter) = &self.converter else {
            return Ok(None);
        };
        let keys = self
            .windows
            .partition
            .iter()
            .map(|key| key.evaluate(batch)?.into_array(batch.num_rows()))
            .collect::<Result<Vec<_>>>()?;
        Ok(Some(converter.convert_columns(&keys)?))
    }
}
