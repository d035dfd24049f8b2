//! What a query says of itself: its state, its numbers, where it stands in each partition.
//!
//! Invariant: rows in = rows used + rows rejected + rows late.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::tuning::{Dial, Tuning};
use crate::error::Error;
use crate::source::FetchedBy;
use crate::types::{
    EventTime, InputPartition, KafkaConnection, Offset, ProcessingTime, WindowSpan,
};

/// What a query is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryKind {
    /// Its rows go to a client.
    Live,
    /// Its rows are kept to be asked for.
    MaterializedView,
    /// Its rows go to a sink.
    Sink,
    /// Its rows are watched.
    Alert,
}

impl QueryKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::MaterializedView => "materialized view",
            Self::Sink => "sink",
            Self::Alert => "alert",
        }
    }
}

/// What a query does now.
#[derive(Debug, Clone)]
pub enum QueryState {
    /// It looks where to begin.
    Starting,
    /// It reads.
    Running,
    /// It was told to stand still, and keeps what it holds.
    Paused,
    /// It met trouble outside and tries again by itself.
    Retrying,
    /// It has ended with an error.
    Failed,
    /// It has ended: dropped, cancelled, or at its limit.
    Finished,
}

impl QueryState {
    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
            Self::Finished => "finished",
        }
    }
}

/// A query's numbers, as of its last micro-batch.
#[derive(Debug, Clone)]
pub struct QueryStatus {
    /// What it does now.
    pub state: QueryState,
    /// The last error, also one that it got over.
    pub last_error: Option<Error>,
    /// When that was.
    pub last_error_at: Option<ProcessingTime>,
    /// When it tries again after that: see [`QueryStatus::next_try`].
    pub next_try_at: Option<ProcessingTime>,
    /// The last trouble with the broker that passes by itself.
    pub last_problem: Option<String>,
    /// The same while it lasts: nothing was read since.
    pub trouble: Option<String>,
    /// Since when there is that.
    pub trouble_since: Option<ProcessingTime>,
    /// Why the last message was rejected, and where it lies.
    pub last_rejection: Option<String>,
    /// Messages read.
    pub rows_in: u64,
    /// Messages that became rows and were in time.
    pub rows_used: u64,
    /// Messages that were no rows.
    pub rows_rejected: u64,
    /// Rows whose window had closed.
    pub rows_late: u64,
    /// Used rows that passed the conditions before the aggregate, or before the sink.
    pub rows_passed: u64,
    /// Rows of windows that have closed, before HAVING.
    pub rows_closed: u64,
    /// Rows given to the sink or client.
    pub rows_out: u64,
    /// Rows of the result that are none, since a value of theirs cannot be computed.
    pub rows_failed: u64,
    /// Why the last of them is none, and which it was.
    pub last_failure: Option<String>,
    /// Bytes of keys and payloads read.
    pub bytes_in: u64,
    /// The number of the last replay that it has taken.
    pub replayed: u64,
    /// The query's watermark, if it has one yet.
    pub watermark: Option<EventTime>,
    /// Groups held.
    pub state_rows: u64,
    /// Memory that the groups hold.
    pub state_bytes: u64,
    /// Micro-batches run.
    pub micro_batches: u64,
    /// Epochs committed.
    pub epochs: u64,
    /// The longest that the query's own thread has spent on the end of an epoch at once, since it
    /// started or was resumed: meanwhile no row is processed.
    pub checkpoint_pause_max: Duration,
    /// When it was started.
    pub started_at: ProcessingTime,
    /// When its last rows came.
    pub last_rows_at: Option<ProcessingTime>,
    /// When its last rows went out.
    pub last_out_at: Option<ProcessingTime>,
    /// Rows a second, over about the last ten seconds.
    pub rows_in_per_second: f64,
    /// Messages a second that are added to its topics, as far as their ends are told.
    pub added_per_second: f64,
    /// The same of the rows that went out.
    pub rows_out_per_second: f64,
    /// The window that closes next, and the watermark at which it does.
    pub next_close: Option<(WindowSpan, EventTime)>,
    /// The partition that holds the watermark back, and since when it is that one.
    pub held_back: Option<(InputPartition, ProcessingTime)>,
    /// Rejected and late messages that did not reach the table's topics for them.
    pub rows_not_sent: u64,
    /// Messages handed to the sink that the outside has not confirmed yet.
    pub sink_backlog: u64,
    /// By whom its messages are read.
    pub scans: Vec<ScanStatus>,
    /// By input and partition.
    pub partitions: BTreeMap<InputPartition, PartitionStatus>,
}

/// A group of queries that read a topic together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanStatus {
    /// The number of the query's input that it reads.
    pub input: usize,
    /// Its own number.
    pub group: u64,
    /// How many queries read by it, this one among them.
    pub queries: usize,
    /// How many of these make the groups of their aggregates together with this one, itself among them; 0
    /// if it takes rows one by one.
    pub alike: usize,
}

/// Where a query stands in one partition.
#[derive(Debug, Clone, Copy, Default)]
pub struct PartitionStatus {
    /// Where it began.
    pub start: Option<Offset>,
    /// The next offset to read.
    pub next: Option<Offset>,
    /// Everything before this is committed.
    pub committed: Option<Offset>,
    /// The partition's end when it began, or when it was last read up to there.
    pub end: Option<Offset>,
    /// Its end as a broker told it with the last messages.
    pub known_end: Option<Offset>,
    /// The partition's watermark.
    pub watermark: Option<EventTime>,
    /// True when it does not hold the others back.
    pub idle: bool,
    /// The greatest event time of its rows.
    pub greatest_event: Option<EventTime>,
    /// When its last messages came, or since when it is read without any.
    pub silent_since: Option<ProcessingTime>,
    /// True when it is read to its end, as far as the broker told.
    pub at_end: bool,
    /// How long it may be silent at its end before it is idle; `None`: it never is.
    pub idle_timeout: Option<Duration>,
    /// Who fetches its messages.
    pub fetched_by: Option<FetchedBy>,
}

impl PartitionStatus {
    /// The partition's end, as last told by the broker.
    pub fn last_end(&self) -> Option<Offset> {
        self.end.max(self.known_end)
    }

    /// Messages not read yet.
    pub fn lag(&self) -> Option<u64> {
        let (next, end) = (self.next?, self.last_end()?);
        Some(u64::try_from(end.0 - next.0).unwrap_or(0))
    }
}

impl QueryStatus {
    /// When it tries again, if it waits for that.
    pub fn next_try(&self) -> Option<ProcessingTime> {
        self.next_try_at
            .filter(|_| matches!(self.state, QueryState::Retrying))
    }

    /// It stops, for now or for good.
    pub fn fail(&mut self, state: QueryState, error: Error, at: ProcessingTime) {
        self.state = state;
        (self.last_error, self.last_error_at) = (Some(error), Some(at));
        self.next_try_at = None;
    }

    /// Of a query that looks where to begin.
    pub fn new(started_at: ProcessingTime) -> Self {
        Self {
            state: QueryState::Starting,
            last_error: None,
            last_error_at: None,
            next_try_at: None,
            last_problem: None,
            trouble: None,
            trouble_since: None,
            last_rejection: None,
            rows_in: 0,
            rows_used: 0,
            rows_rejected: 0,
            rows_late: 0,
            rows_passed: 0,
            replayed: 0,
            rows_closed: 0,
            rows_out: 0,
            rows_failed: 0,
            last_failure: None,
            bytes_in: 0,
            watermark: None,
            state_rows: 0,
            state_bytes: 0,
            micro_batches: 0,
            epochs: 0,
            checkpoint_pause_max: Duration::ZERO,
            started_at,
            last_rows_at: None,
            last_out_at: None,
            rows_in_per_second: 0.0,
            added_per_second: 0.0,
            rows_out_per_second: 0.0,
            next_close: None,
            held_back: None,
            rows_not_sent: 0,
            sink_backlog: 0,
            scans: Vec::new(),
            partitions: BTreeMap::new(),
        }
    }

    /// Messages not read yet, over all partitions whose end is known.
    pub fn lag(&self) -> u64 {
        self.partitions
            .values()
            .filter_map(PartitionStatus::lag)
            .sum()
    }

    /// Whether it reads, or tries to: else its lag is from when it last did.
    pub fn reads(&self) -> bool {
        matches!(
            self.state,
            QueryState::Starting | QueryState::Running | QueryState::Retrying
        )
    }

    /// How long it will take until it is caught up, if it goes on like this; `None`: it does not come
    /// nearer to its topics' ends. Microseconds.
    pub fn catch_up(&self) -> Option<i64> {
        let (lag, nearer) = (self.lag(), self.rows_in_per_second - self.added_per_second);
        if lag == 0 {
            return Some(0);
        }
        let seconds = (nearer > 0.0).then(|| lag as f64 / nearer)?;
        Duration::try_from_secs_f64(seconds)
            .ok()
            .and_then(|left| i64::try_from(left.as_micros()).ok())
    }

    /// Notes who holds the watermark back: of the partitions that are not idle the one that is
    /// behind the others.
    pub(super) fn note_holder(&mut self, now: ProcessingTime) {
        let holder = self
            .partitions
            .iter()
            .filter(|(_, partition)| !partition.idle)
            .min_by_key(|(_, partition)| partition.watermark)
            .map(|(place, _)| *place);
        let same = self.held_back.map(|(place, _)| place) == holder;
        if !same {
            self.held_back = holder.map(|place| (place, now));
        }
    }

    /// How far the watermark is behind the clock, in microseconds.
    pub fn delay(&self, now: ProcessingTime) -> Option<i64> {
        Some(now.0.saturating_sub(self.watermark?.0))
    }

    /// How much of what there was at the start is read, from 0 to 1; `None` when that is unknown.
    pub fn caught_up(&self) -> Option<f64> {
        let (mut done, mut whole) = (0.0, 0.0);
        for partition in self.partitions.values() {
            let (start, next) = (partition.start?, partition.next?);
            let end = partition.last_end()?;
            done += (next.0.min(end.0) - start.0).max(0) as f64;
            whole += (end.0 - start.0).max(0) as f64;
        }
        Some(if whole > 0.0 { done / whole } else { 1.0 })
    }
}

/// A query as its owner, its watchers and its threads share it.
#[derive(Debug)]
pub struct QueryShared {
    /// Its number; live queries are told apart by it.
    pub id: u64,
    /// The view's or sink's name; for live queries made from the number.
    pub name: String,
    /// What it is for.
    pub kind: QueryKind,
    /// The tables that it reads, one an input.
    pub tables: Vec<String>,
    /// Its statement.
    pub text: String,
    /// Its plan, as `EXPLAIN` shows it.
    pub plan: String,
    /// What its plan has.
    pub shape: Shape,
    /// The topics that it reads, one an input, and whether only committed records.
    pub(super) topics: Vec<(KafkaConnection, String, bool)>,
    status: Mutex<QueryStatus>,
    stop: AtomicBool,
    /// How it is to run.
    pub(super) dial: Dial,
    /// How many wait for a flush: while there is one, every micro-batch ends an epoch.
    flushes: AtomicUsize,
    /// Counts up when the status changed.
    progress: watch::Sender<u64>,
}

/// What a query's plan has, as far as it tells why nothing goes out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// A window.
    pub windowed: bool,
    /// Rows go out once, when their window has closed.
    pub once: bool,
}

/// What tells queries apart.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub id: u64,
    pub name: String,
    pub kind: QueryKind,
    pub tables: Vec<String>,
    pub text: String,
    pub plan: String,
    pub shape: Shape,
    pub topics: Vec<(KafkaConnection, String, bool)>,
}

impl QueryShared {
    pub(super) fn new(identity: Identity, tuning: Tuning, started_at: ProcessingTime) -> Self {
        let Identity {
            id,
            name,
            kind,
            tables,
            text,
            plan,
            shape,
            topics,
        } = identity;
        let status = QueryStatus::new(started_at);
        Self {
            id,
            name,
            kind,
            tables,
            text,
            plan,
            shape,
            topics,
            status: Mutex::new(status),
            stop: AtomicBool::new(false),
            dial: Dial::new(tuning),
            flushes: AtomicUsize::new(0),
            progress: watch::Sender::new(0),
        }
    }

    /// The numbers as of now.
    pub fn status(&self) -> QueryStatus {
        self.lock().clone()
    }

    /// A new try begins: its rows are counted anew.
    pub(super) fn restart(&self) {
        self.update(|status| {
            (status.rows_in, status.rows_used) = (0, 0);
            (status.rows_rejected, status.rows_late, status.rows_out) = (0, 0, 0);
            (status.rows_passed, status.rows_closed, status.bytes_in) = (0, 0, 0);
            status.rows_failed = 0;
            (status.next_close, status.held_back) = (None, None);
            status.partitions.clear();
            status.replayed = 0;
        });
    }

    /// Changes the status and wakes those who wait for it.
    pub(super) fn update(&self, change: impl FnOnce(&mut QueryStatus)) {
        {
            let mut status = self.lock();
            change(&mut status);
            assert!(
                status.rows_in == status.rows_used + status.rows_rejected + status.rows_late,
                "rows in = used + rejected + late"
            );
        }
        self.progress.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, QueryStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the query to end.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.dial.ring();
    }

    /// True when the query was asked to end.
    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Somebody begins (`+1`) or ends (`-1`) to wait for a flush.
    pub(super) fn flush_waits(&self, begins: bool) {
        if begins {
            self.flushes.fetch_add(1, Ordering::AcqRel);
        } else {
            self.flushes.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// True while somebody waits for a flush.
    pub(super) fn flush_wanted(&self) -> bool {
        self.flushes.load(Ordering::Acquire) > 0
    }

    /// Tells of each change of the status.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }
}
