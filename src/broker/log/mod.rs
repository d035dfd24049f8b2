//! The log of one partition: batches in offset order, in segments.
//!
//! Owns offsets, the idempotence of producers, the last stable offset and retention. Knows nothing
//! of topics, connections or the clock.
//! Invariants: offsets of batches ascend without overlap; `start <= last stable offset <= end`;
//! the last segment is the one that is written.

mod segment;
mod recovery;
mod producers;
mod transactions;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use kafka_protocol::ResponseError;
use tracing::{error, warn};

pub(crate) use segment::Read;
pub(crate) use transactions::Aborted;

use self::producers::Admission;
use self::recovery::LogState;
use self::segment::Segment;
use super::batch::{self, BatchHeader, PATCHED_BYTES};

/// How much a partition keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogLimits {
    /// Bytes of all segments; past it the oldest are dropped. `None` keeps all.
    pub(crate) retention_bytes: Option<u64>,
    /// Milliseconds after which a closed segment is dropped. `None` keeps all.
    pub(crate) retention_ms: Option<i64>,
    /// Bytes of a segment, after which the next one begins.
    pub(crate) segment_bytes: u64,
}

/// A partition's batches.
#[derive(Debug)]
pub(crate) struct PartitionLog {
    /// `None` keeps all in memory.
    dir: Option<PathBuf>,
    limits: LogLimits,
    /// Invariant: never empty; oldest first.
    segments: VecDeque<Segment>,
    start: i64,
    state: LogState,
    /// True from a failure of the storage to the next success, so that it is told once.
    is_failing: AtomicBool,
}

/// Where a reader stands in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    /// The first offset that can be read.
    pub(crate) start: i64,
    /// Where readers of committed data stop.
    pub(crate) last_stable: i64,
    /// The offset of the next record.
    pub(crate) end: i64,
}

/// What a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// All that was written.
    ReadUncommitted,
    /// Nothing of open transactions, and told which ones were aborted.
    ReadCommitted,
}

impl Marks {
    /// Where a reader of this kind stops.
    pub(crate) fn limit(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::ReadUncommitted => self.end,
            Isolation::ReadCommitted => self.last_stable,
        }
    }
}

impl PartitionLog {
    /// Opens the log in a directory, which is made if it is missing, or an empty one in memory.
    /// `start` is the first offset that may be read, as far as is known from elsewhere.
    pub(crate) fn open(dir: Option<PathBuf>, limits: LogLimits, start: i64) -> io::Result<Self> {
        let (mut segments, state) = match &dir {
            None => (Vec::new(), LogState::default()),
            Some(dir) => {
                fs::create_dir_all(dir)?;
                recovery::open(dir)?
            }
        };
        if segments.is_empty() {
            segments.push(Segment::create(dir.as_deref(), start)?);
        }
        let segments = VecDeque::from(segments);
        let mut log = Self {
            dir,
            limits,
            segments,
            start: 0,
            state,
            is_failing: AtomicBool::new(false),
        };
        log.start = start.clamp(log.segments[0].base_offset(), log.marks().end);
        Ok(log)
    }

    /// Where the log begins and ends.
    pub(crate) fn marks(&self) -> Marks {
        let end = self.active().end_offset();
        let last_stable = self.state.transactions.last_stable_offset(end);
        Marks {
            start: self.start,
            last_stable,
            end,
        }
    }

    /// Appends a batch that [`batch::check_produced`] accepted; answers with its base offset, which
    /// is the old one if it was appended before.
    ///
    /// # Errors
    /// The code that the producer is to see.
    pub(crate) fn append(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
    ) -> Result<i64, ResponseError> {
        match self.state.producers.admit(header)? {
            Admission::New => self.write(header, batch),
            Admission::Duplicate { base_offset } => Ok(base_offset),
        }
    }

    /// Ends a producer's transaction here; does nothing when none is open.
    ///
    /// # Errors
    /// The marker could not be written: the transaction stays open.
    pub(crate) fn end_transaction(
        &mut self,
        producer_id: i64,
        producer_epoch: i16,
        committed: bool,
        timestamp_ms: i64,
    ) -> Result<(), ResponseError> {
        if self.state.transactions.is_open(producer_id) {
            let marker = batch::control_batch(producer_id, producer_epoch, committed, timestamp_ms);
            let header = BatchHeader::parse(&marker).expect("a marker is a batch");
            self.write(&header, &marker)?;
        }
        Ok(())
    }

    /// The producers whose transactions are open here.
    pub(crate) fn open_transactions(&self) -> Vec<i64> {
        self.state.transactions.open_producers()
    }

    /// What to read from an offset on; `None` at the end.
    ///
    /// # Errors
    /// The offset lies outside of the log, or the file cannot be opened.
    pub(crate) fn read(
        &self,
        from: i64,
        isolation: Isolation,
    ) -> Result<Option<Read>, ResponseError> {
        let marks = self.marks();
        if from < marks.start || from > marks.end {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let limit = marks.limit(isolation);
        if from >= limit {
            return Ok(None);
        }
        let at = self
            .segments
            .partition_point(|segment| segment.end_offset() <= from);
        let segment = &self.segments[at];
        let source = segment
            .source()
            .map_err(|error| self.storage_error(&error))?;
        let position = segment.position_of(from);
        Ok(Some(Read {
            source,
            position,
            end: segment.bytes(),
            from,
            limit,
        }))
    }

    /// The aborted transactions that touch offsets from `from` up to `to` (exclusive).
    pub(crate) fn aborted_within(&self, from: i64, to: i64) -> Vec<Aborted> {
        self.state.transactions.aborted_within(from, to)
    }

    /// The first record at or after a timestamp, as `(offset, timestamp)`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn find_timestamp(
        &self,
        timestamp: i64,
    ) -> Result<Option<(i64, i64)>, ResponseError> {
        for segment in &self.segments {
            let found = find_in_segment(segment, timestamp, self.start);
            if let Some(found) = found.map_err(|error| self.storage_error(&error))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Moves the start up to an offset (at most to the end) and drops segments before it; answers
    /// with the start.
    pub(crate) fn delete_before(&mut self, offset: i64) -> i64 {
        self.start = self.start.max(offset.min(self.marks().end));
        while self.segments.len() > 1 && self.segments[0].end_offset() <= self.start {
            self.drop_oldest();
        }
        self.state.transactions.forget_before(self.start);
        self.start
    }

    /// Sets how much is kept.
    pub(crate) fn set_limits(&mut self, limits: LogLimits) {
        self.limits = limits;
        self.retain_bytes();
    }

    /// Drops closed segments that are older than the retention time; `now_ms` since the Unix epoch.
    pub(crate) fn retain_time(&mut self, now_ms: i64) {
        let Some(retention_ms) = self.limits.retention_ms else {
            return;
        };
        let oldest_kept = now_ms.saturating_sub(retention_ms);
        let is_old = |segment: &Segment| segment.max_timestamp().is_some_and(|t| t < oldest_kept);
        if is_old(self.active()) {
            self.roll().unwrap_or_else(|error| {
                self.storage_error(&error);
            });
        }
        while self.segments.len() > 1 && is_old(&self.segments[0]) {
            self.drop_oldest();
        }
    }

    /// Leaves a state file beside the last segment, so that the next start need not read it.
    pub(crate) fn close(&mut self) {
        self.write_state();
        let active = self.segments.back_mut().expect("a log has a segment");
        active.seal();
    }

    fn active(&self) -> &Segment {
        self.segments.back().expect("a log has a segment")
    }

    fn write(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<i64, ResponseError> {
        let active = self.active();
        let full = active.bytes() + header.bytes as u64 > self.limits.segment_bytes;
        if active.is_sealed() {
            return Err(ResponseError::KafkaStorageError); // The broker is stopping.
        }
        if full && active.bytes() > 0 {
            self.roll().map_err(|error| self.storage_error(&error))?;
        }
        let base_offset = self.active().end_offset();
        let placed = header.placed_at(base_offset);
        let prefix = batch::patched_prefix(base_offset, header);
        let active = self.segments.back_mut().expect("a log has a segment");
        active
            .append(&placed, [&prefix, &batch[PATCHED_BYTES..]])
            .map_err(|error| self.storage_error(&error))?;
        let outcome = if header.is_control() {
            batch::control_outcome(batch)
        } else {
            None
        };
        self.state.written(&placed, outcome);
        self.is_failing.store(false, Ordering::Relaxed);
        self.retain_bytes();
        Ok(base_offset)
    }

    fn roll(&mut self) -> io::Result<()> {
        let next = Segment::create(self.dir.as_deref(), self.marks().end)?;
        self.write_state();
        self.segments
            .back_mut()
            .expect("a log has a segment")
            .seal();
        self.segments.push_back(next);
        Ok(())
    }

    fn write_state(&self) {
        let active = self.active();
        let Some(path) = active.state_path() else {
            return;
        };
        if let Err(error) = recovery::write_state(&path, active.known(), &self.state) {
            // Only speed is lost: the segment is read through at the next start.
            warn!(path = %path.display(), %error, "the state of a segment could not be written");
        }
    }

    fn retain_bytes(&mut self) {
        let Some(retention_bytes) = self.limits.retention_bytes else {
            return;
        };
        let mut total: u64 = self.segments.iter().map(Segment::bytes).sum();
        while total > retention_bytes && self.segments.len() > 1 {
            total -= self.segments[0].bytes();
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self.segments.pop_front().expect("a log has a segment");
        assert!(
            !self.segments.is_empty(),
            "the segment that is written is never dropped"
        );
        if let Err(error) = oldest.remove() {
            self.storage_error(&error);
        }
        self.start = self.start.max(self.segments[0].base_offset());
        self.state.transactions.forget_before(self.start);
    }

    fn storage_error(&self, error: &io::Error) -> ResponseError {
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            let dir = self.dir.as_deref().unwrap_or_else(|| Path::new("memory"));
            error!(dir = %dir.display(), %error, "the embedded broker cannot use its storage");
        }
        ResponseError::KafkaStorageError
    }
}

/// Looks for a timestamp in the blocks that must hold one, so it reads few bytes.
fn find_in_segment(
    segment: &Segment,
    timestamp: i64,
    start: i64,
) -> io::Result<Option<(i64, i64)>> {
    for block in segment.blocks_since(timestamp) {
        let bytes_max = usize::try_from(block.end - block.start).unwrap_or(usize::MAX);
        let source = segment.source()?;
        let (position, end) = (block.start, block.end);
        let read = Read {
            source,
            position,
            end,
            from: start,
            limit: i64::MAX,
        };
        let batches = read.run(bytes_max, true)?;
        let mut rest = &batches.bytes[..];
        while let Some(header) = BatchHeader::parse(rest) {
            let batch;
            (batch, rest) = rest.split_at(header.bytes.min(rest.len()));
            if header.max_timestamp >= timestamp && !header.is_control() {
                let (offset, found) = batch::find_timestamp(&header, batch, timestamp);
                return Ok(Some((offset.max(start), found)));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
