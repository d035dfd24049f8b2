//! One part of a snapshot: a thread that reads the ranges of some partitions, decodes them and hands
//! the rows over, until all is read, enough is read, or nobody wants more.
//!
//! ```text
//! thread: Reader → Decode → bounded channel → RowStream (DataFusion polls it)
//!            ↑ woken and ended when the stream is dropped
//! ```
//! Invariant: no row lies outside the ranges, each message in them is met once.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::Stream;
use tokio::sync::mpsc;

use super::decode::Decode;
use crate::error::{Error, Result, SqlState, from_arrow};
use crate::format::Rejected;
use crate::plan::{ScanOrigin, ScanSpec};
use crate::source::{Read, Reader, ReaderOptions, Waker};
use crate::task;
use crate::types::{MessageBatch, MetadataColumn, Offset, PartitionId, PartitionRange};

/// Batches that wait for the query.
const BATCHES_WAITING_MAX: usize = 2;
/// Bytes of one batch of messages.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// What a row is taken to weigh when only a few are wanted.
const ROW_BYTES_GUESS: usize = 512;
/// How long the broker keeps an empty fetch: the end of a partition behind a transaction is known
/// only then.
const END_WAIT: Duration = Duration::from_millis(10);
/// How long one read waits; a dropped stream does not wait for it.
const READ_WAIT: Duration = Duration::from_secs(1);

/// Takes the messages that are no rows of their table.
pub trait RejectedSink: fmt::Debug + Send + Sync {
    /// Takes some messages of a batch, with the reasons.
    ///
    /// # Errors
    /// When the table's policy is that a bad message ends the query.
    fn reject(&self, spec: &ScanSpec, messages: &MessageBatch, rejected: &[Rejected])
    -> Result<()>;
}

/// What one thread reads.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The columns to decode.
    pub(super) spec: Arc<ScanSpec>,
    /// How many of them, from the first, the query sees.
    pub(super) visible: usize,
    pub(super) ranges: Vec<PartitionRange>,
    /// The query wants no more rows than these.
    pub(super) limit: Option<usize>,
    /// Rows of a batch at the most.
    pub(super) batch_rows: usize,
    pub(super) rejected: Arc<dyn RejectedSink>,
    /// Told the messages of each batch and how many of them were rejected.
    pub(super) count: Count,
}

/// Counts for EXPLAIN ANALYZE.
#[derive(Debug, Clone)]
pub(super) struct Count {
    pub(super) messages: datafusion::physical_plan::metrics::Count,
    pub(super) rejected: datafusion::physical_plan::metrics::Count,
}

/// The rows of one part. Dropping it ends the reading at once.
#[derive(Debug)]
pub(super) struct RowStream {
    rows: mpsc::Receiver<Result<RecordBatch>>,
    stop: Arc<Stop>,
}

impl RowStream {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn start(part: Part) -> Result<Self> {
        let (out, rows) = mpsc::channel(BATCHES_WAITING_MAX);
        let stop = Arc::new(Stop::default());
        let stream = Self {
            rows,
            stop: Arc::clone(&stop),
        };
        task::spawn_thread("snapshot", move || {
            if let Err(error) = part.run(&stop, &out) {
                // Nobody hears it when the stream is gone.
                out.blocking_send(Err(error)).ok();
            }
        })
        .map_err(|error| {
            Error::external(
                SqlState::OutOfMemory,
                true,
                format!("starting a reader: {error}"),
            )
        })?;
        Ok(stream)
    }
}

impl Stream for RowStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.rows.poll_recv(context)
    }
}

impl Drop for RowStream {
    fn drop(&mut self) {
        self.stop.set();
    }
}

/// Tells the thread that nobody wants more.
#[derive(Debug, Default)]
struct Stop {
    is_set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Stop {
    fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake();
        }
    }

    /// From now on [`Stop::set`] wakes this reader; one that is set already wakes nobody, so the flag
    /// is looked at after this.
    fn wakes(&self, waker: Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
    }

    fn is_set(&self) -> bool {
        self.is_set.load(Ordering::SeqCst)
    }
}

impl Part {
    fn run(&self, stop: &Stop, out: &mpsc::Sender<Result<RecordBatch>>) -> Result<()> {
        let mut left = Left::of(&self.ranges);
        if left.is_empty() {
            return Ok(());
        }
        let mut decode = Decode::try_new(&self.spec)?;
        let mut reader = Reader::open(self.reader_options())?;
        stop.wakes(reader.waker());
        let visible: Vec<usize> = (0..self.visible).collect();
        let mut wanted = self.limit.unwrap_or(usize::MAX);
        while !left.is_empty() && !stop.is_set() {
            let messages = left.take(reader.read(READ_WAIT)?);
            if messages.messages.is_empty() {
                continue;
            }
            let decoded = decode.decode(&messages)?;
            self.count.messages.add(messages.messages.len());
            if !decoded.rejected.is_empty() {
                self.count.rejected.add(decoded.rejected.len());
                self.rejected
                    .reject(&self.spec, &messages, &decoded.rejected)?;
            }
            let rows = decoded.batch.num_rows();
            let batch = decoded.batch.project(&visible).map_err(from_arrow)?;
            if rows > 0 && out.blocking_send(Ok(batch)).is_err() {
                return Ok(());
            }
            wanted = wanted.saturating_sub(rows);
            if wanted == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    fn reader_options(&self) -> ReaderOptions {
        let reads = |wanted| {
            self.spec
                .columns
                .iter()
                .any(|column| column.origin == ScanOrigin::Metadata(wanted))
        };
        // A few rows are asked for in small pieces, so that little is fetched in vain.
        let rows_max = self
            .limit
            .map_or(self.batch_rows, |limit| limit.min(self.batch_rows));
        let bytes_max = self
            .limit
            .map_or(BATCH_BYTES_MAX, |limit| {
                limit.saturating_mul(ROW_BYTES_GUESS)
            })
            .clamp(64 << 10, BATCH_BYTES_MAX);
        ReaderOptions {
            connection: self.spec.connection.clone(),
            topic: self.spec.topic.clone(),
            assignment: self
                .ranges
                .iter()
                .map(|range| (range.partition, range.start))
                .collect(),
            read_committed: self.spec.read_committed,
            // A dead letter shows its key, which is known only if it was read.
            with_keys: true,
            with_headers: reads(MetadataColumn::Headers),
            rows_max: rows_max.max(1),
            bytes_max,
            end_wait: END_WAIT,
            fetch: self.spec.fetch,
        }
    }
}

/// What is still to be read: the end of each partition that has not reached it.
#[derive(Debug)]
struct Left(BTreeMap<PartitionId, Offset>);

impl Left {
    fn of(ranges: &[PartitionRange]) -> Self {
        let filled = ranges.iter().filter(|range| range.start < range.end);
        Self(filled.map(|range| (range.partition, range.end)).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The messages of a read that lie within the ranges.
    fn take(&mut self, read: Read) -> MessageBatch {
        let mut batch = read.batch;
        // Most messages are of the partition of the one before.
        let mut known: Option<(PartitionId, Option<Offset>)> = None;
        batch.messages.retain(|message| {
            let partition = message.partition;
            let end = match known {
                Some((known, end)) if known == partition => end,
                _ => self.0.get(&partition).copied(),
            };
            known = Some((partition, end));
            let Some(end) = end else {
                return false;
            };
            if message.offset.0 + 1 >= end.0 {
                self.0.remove(&partition);
                known = None;
            }
            message.offset < end
        });
        // The last offsets of a range may hold no message: transactions and compaction leave holes.
        for end in &read.ends {
            if self
                .0
                .get(&end.partition)
                .is_some_and(|wanted| end.next >= *wanted)
            {
                self.0.remove(&end.partition);
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use arrow::buffer::Buffer;

    use super::Left;
    use crate::source::{PartitionEnd, Read};
    use crate::types::{Message, MessageBatch, Offset, PartitionId, PartitionRange};

    fn range(partition: i32, start: i64, end: i64) -> PartitionRange {
        PartitionRange {
            partition: PartitionId(partition),
            start: Offset(start),
            end: Offset(end),
        }
    }

    fn read(messages: &[(i32, i64)], ends: &[(i32, i64)]) -> Read {
        let messages = messages
            .iter()
            .map(|(partition, offset)| Message {
                partition: PartitionId(*partition),
                offset: Offset(*offset),
                timestamp_ms: 0,
                key: None,
                payload: None,
                headers: None,
            })
            .collect();
        let ends = ends
            .iter()
            .map(|(partition, next)| PartitionEnd {
                partition: PartitionId(*partition),
                next: Offset(*next),
            })
            .collect();
        let buffer = Buffer::from(vec![0; MessageBatch::PADDING]);
        Read {
            batch: MessageBatch { buffer, messages },
            ends,
            problems: Vec::new(),
        }
    }

    fn taken(left: &mut Left, read: Read) -> Vec<(i32, i64)> {
        let batch = left.take(read);
        batch
            .messages
            .iter()
            .map(|message| (message.partition.0, message.offset.0))
            .collect()
    }

    #[test]
    fn messages_behind_the_end_are_left_out_and_end_the_partition() {
        let mut left = Left::of(&[range(0, 0, 3), range(1, 0, 10), range(2, 5, 5)]);
        let got = taken(
            &mut left,
            read(&[(0, 0), (0, 1), (0, 2), (0, 3), (1, 8)], &[]),
        );
        assert_eq!(got, [(0, 0), (0, 1), (0, 2), (1, 8)]);
        assert!(!left.is_empty());
        // Offsets 9 and 10 of partition 1 are a transaction's marks.
        assert!(taken(&mut left, read(&[(0, 4), (1, 11)], &[])).is_empty());
        assert!(left.is_empty());
    }

    #[test]
    fn an_end_told_by_the_broker_ends_the_partition() {
        let mut left = Left::of(&[range(0, 0, 3)]);
        taken(&mut left, read(&[(0, 0)], &[(0, 2)]));
        assert!(!left.is_empty(), "the end lies further on");
        taken(&mut left, read(&[], &[(0, 3)]));
        assert!(left.is_empty());
    }
}
