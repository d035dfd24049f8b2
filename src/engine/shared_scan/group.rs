//! The groups of queries that read alike, and how one is found.
//!
//! ```text
//! SharedScans ── Group 3 (key, layout) ─┬─ Scan of partitions 0, 2 ── a thread, its members
//!                                       └─ Scan of partitions 1, 3 ── a thread, its members
//! ```
//! Invariant: a scan without members ends, and whoever asks for it then is told that it has.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::alike::{Common, Registry};
use super::prefix::Prefix;
use super::queue::Queue;
use super::scan_thread::ScanThread;
use datafusion::physical_expr::PhysicalExpr;

use crate::clock;
use crate::error::Result;
use crate::plan::{ScanColumn, ScanSpec, SourcePlan};
use crate::source::{ReaderOptions, Waker};
use crate::types::{FetchMode, KafkaConnection, Offset, PartitionId};

/// How far each partition is read, by partition.
pub(super) type Positions = BTreeMap<PartitionId, Offset>;

/// A query waits no longer than this for a group that is so many messages ahead of it.
const AHEAD_MAX: i64 = 50_000;
/// It lets a group that is so many messages behind come to where it stands.
const BEHIND_MAX: i64 = 1_000;

/// How long a group of queries that are created waits for others that begin where it does, and how long
/// if they keep coming.
pub(super) const FOUNDING_WAIT: Duration = Duration::from_millis(100);
const FOUNDING_MAX: Duration = Duration::from_secs(1);

/// What queries must have in common to read together. The columns may differ.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ScanKey {
    reader: ReaderKey,
    table: String,
    /// How rows tell their time, and what they say of the watermark.
    times: [String; 2],
    /// The column of the event time, and how far it may lie in the future.
    max_future: Option<(ScanColumn, Duration)>,
    rows_per_second: Option<u32>,
    /// Which partitions each scan reads.
    layout: Vec<Vec<PartitionId>>,
}

/// What of [`ReaderOptions`] matters.
#[derive(Debug, Clone, PartialEq)]
struct ReaderKey {
    connection: KafkaConnection,
    topic: String,
    read_committed: bool,
    with_keys: bool,
    with_headers: bool,
    fetch: FetchMode,
}

impl ScanKey {
    /// The key of a query that reads a table by these readers.
    pub(super) fn of(source: &SourcePlan, readers: &[ReaderOptions]) -> Self {
        let spec = &source.scan;
        let options = &readers[0];
        let layout = |reader: &ReaderOptions| reader.assignment.iter().map(|(p, _)| *p).collect();
        Self {
            reader: ReaderKey {
                connection: options.connection.clone(),
                topic: options.topic.clone(),
                read_committed: options.read_committed,
                with_keys: options.with_keys,
                with_headers: options.with_headers,
                fetch: options.fetch,
            },
            table: spec.table.clone(),
            times: [&source.event_time.time, &source.event_time.watermark].map(text_of),
            max_future: spec
                .max_future
                .map(|max| (spec.columns[max.column].clone(), max.bound)),
            rows_per_second: source.max_rows_per_second,
            layout: readers.iter().map(layout).collect(),
        }
    }
}

/// An expression in words, whichever places its columns have: `at@3 - 5` is `at@ - 5`.
fn text_of(expr: &Arc<dyn PhysicalExpr>) -> String {
    let text = expr.to_string();
    let mut parts = text.split('@');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |before, part| {
        let rest = part.trim_start_matches(|letter: char| letter.is_ascii_digit());
        before + "@" + rest
    })
}

/// All groups of an engine.
#[derive(Debug, Default)]
pub(in crate::engine) struct SharedScans {
    groups: Mutex<Vec<Weak<Group>>>,
    next: AtomicU64,
    known: Registry,
}

/// Queries that read together.
#[derive(Debug)]
pub(super) struct Group {
    /// Younger groups have greater numbers.
    pub id: u64,
    pub key: ScanKey,
    pub scans: Vec<Arc<Scan>>,
}

/// What a new group is to read.
pub(super) struct Founding {
    pub key: ScanKey,
    /// One a scan.
    pub readers: Vec<ReaderOptions>,
    /// Messages a second of each scan at the most.
    pub rows_per_second: Option<f64>,
    /// How long it waits for others before it begins.
    pub wait: Duration,
}

/// One thread of a group, as others see it.
#[derive(Debug)]
pub(super) struct Scan {
    waker: Waker,
    state: Mutex<ScanState>,
    changed: Condvar,
}

#[derive(Debug)]
struct ScanState {
    orders: Vec<Order>,
    /// How far it has read, and how many read by it.
    positions: Positions,
    members: usize,
    /// Those that its members have.
    prefixes: Vec<Arc<Prefix>>,
    founded_at: Instant,
    /// It reads nothing before this.
    begins_at: Instant,
    is_closed: bool,
}

/// What a scan is told by a query.
pub(super) enum Order {
    Join(Member),
    Leave(u64),
}

/// A query, as a scan sees it.
pub(super) struct Member {
    pub membership: u64,
    /// The scan's number in its group.
    pub scan: usize,
    pub queue: Arc<Queue>,
    pub spec: Arc<ScanSpec>,
    /// What its plan may have in common with others.
    pub common: Common,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Join(member) => write!(f, "Join({})", member.membership),
            Self::Leave(membership) => write!(f, "Leave({membership})"),
        }
    }
}

impl SharedScans {
    /// What a plan may have in common with others, the same one for all of them.
    pub(super) fn common(&self, common: Common) -> Common {
        self.known.one(common)
    }

    /// A number that no membership had before.
    pub(super) fn membership(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A new group with its first member, of whom each scan is told.
    ///
    /// # Errors
    /// When a reader cannot be opened, or the system has no thread left.
    pub(super) fn found(
        &self,
        founding: Founding,
        first: impl Fn(usize) -> Member,
    ) -> Result<Arc<Group>> {
        let Founding {
            key,
            readers,
            rows_per_second,
            wait,
        } = founding;
        let begins_at = clock::instant() + wait;
        let (mut scans, mut threads) = (Vec::new(), Vec::new());
        for (number, options) in readers.into_iter().enumerate() {
            // One of them looks for partitions that are added.
            let watched = (number == 0).then(|| key.layout.iter().flatten().copied().collect());
            let positions = options.assignment.iter().copied().collect();
            let (reader, waker) = ScanThread::open(options)?;
            let scan = Arc::new(Scan::new(waker, positions, begins_at));
            assert!(
                scan.order(Order::Join(first(number))),
                "it has just been opened"
            );
            threads.push(ScanThread::new(
                reader,
                Arc::clone(&scan),
                rows_per_second,
                watched,
            ));
            scans.push(scan);
        }
        let id = self.membership();
        for thread in threads {
            thread.start(&key.table)?;
        }
        let group = Arc::new(Group { id, key, scans });
        self.register(&group);
        Ok(group)
    }

    /// Lets others find a group as long as it has members.
    pub(super) fn register(&self, group: &Arc<Group>) {
        let mut groups = self.lock();
        groups.retain(|group| group.strong_count() > 0);
        groups.push(Arc::downgrade(group));
    }

    /// The oldest group of this key, older than `before`, that stands near these positions.
    pub(super) fn near(
        &self,
        key: &ScanKey,
        positions: &Positions,
        before: u64,
    ) -> Option<Arc<Group>> {
        let stands_near = |group: &Arc<Group>| {
            group.id < before
                && group.key == *key
                && group.scans.iter().all(|scan| scan.is_near(positions))
        };
        let groups = self.lock();
        groups.iter().filter_map(Weak::upgrade).find(stands_near)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Group>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    /// How many queries read by it.
    pub(super) fn members(&self) -> usize {
        let members = self.scans.iter().map(|scan| scan.lock().members);
        members.max().unwrap_or(0)
    }

    /// How many of these have a prefix.
    pub(super) fn alike(&self, prefix: &Arc<Prefix>) -> usize {
        let alike = self.scans.iter().map(|scan| {
            let state = scan.lock();
            let prefixes = state.prefixes.iter();
            prefixes.filter(|known| Arc::ptr_eq(known, prefix)).count()
        });
        alike.max().unwrap_or(0)
    }
}

impl Scan {
    fn new(waker: Waker, positions: Positions, begins_at: Instant) -> Self {
        let state = ScanState {
            orders: Vec::new(),
            positions,
            members: 0,
            prefixes: Vec::new(),
            founded_at: clock::instant(),
            begins_at,
            is_closed: false,
        };
        Self {
            waker,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// One without a thread.
    #[cfg(test)]
    pub(super) fn played(positions: Positions) -> Self {
        Self::new(Waker::of_nobody(), positions, clock::instant())
    }

    fn lock(&self) -> MutexGuard<'_, ScanState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_near(&self, positions: &Positions) -> bool {
        let state = self.lock();
        let near = |(partition, there): (&PartitionId, &Offset)| {
            let own = positions.get(partition).map_or(0, |own| own.0);
            (-BEHIND_MAX..=AHEAD_MAX).contains(&there.0.saturating_sub(own))
        };
        !state.is_closed && state.positions.iter().all(near)
    }

    /// Tells it something; false when it has ended.
    pub(super) fn order(&self, order: Order) -> bool {
        let mut state = self.lock();
        if state.is_closed {
            return false;
        }
        let now = clock::instant();
        if matches!(order, Order::Join(_)) && now < state.begins_at {
            // Where one comes others may follow.
            let latest = state.founded_at + FOUNDING_MAX;
            state.begins_at = (now + FOUNDING_WAIT).min(latest);
        }
        state.orders.push(order);
        drop(state);
        self.changed.notify_all();
        self.waker.wake();
        true
    }

    /// Whether it was told anything that it has not done.
    pub(super) fn has_orders(&self) -> bool {
        !self.lock().orders.is_empty()
    }

    /// Does what it was told since, and tells who joins; true when something has changed. Without
    /// members it is closed.
    pub(super) fn obey(&self, members: &mut Vec<Member>, mut joined: impl FnMut(&Member)) -> bool {
        let mut state = self.lock();
        let mut changed = false;
        for order in std::mem::take(&mut state.orders) {
            changed = true;
            match order {
                Order::Join(member) => {
                    joined(&member);
                    members.push(member);
                }
                Order::Leave(membership) => members.retain(|m| m.membership != membership),
            }
        }
        state.members = members.len();
        let prefixes = members.iter().filter_map(|m| m.common.prefix.clone());
        state.prefixes = prefixes.collect();
        state.is_closed = members.is_empty();
        changed
    }

    /// Nobody can join any more; gives those who were about to.
    pub(super) fn close(&self) -> Vec<Member> {
        let mut state = self.lock();
        (state.is_closed, state.members) = (true, 0);
        let orders = std::mem::take(&mut state.orders).into_iter();
        let joining = orders.filter_map(|order| match order {
            Order::Join(member) => Some(member),
            Order::Leave(_) => None,
        });
        joining.collect()
    }

    /// How far it has read.
    pub(super) fn positions(&self) -> Positions {
        self.lock().positions.clone()
    }

    /// Waits until it is to begin, or was told something.
    pub(super) fn await_begin(&self) -> bool {
        let state = self.lock();
        let left = state.begins_at.saturating_duration_since(clock::instant());
        if left.is_zero() {
            return true;
        }
        if state.orders.is_empty() {
            let waited = self.changed.wait_timeout(state, left);
            drop(waited);
        }
        false
    }

    /// Notes how far it has read.
    pub(super) fn reached(&self, positions: &Positions) {
        self.lock().positions.clone_from(positions);
    }
}
