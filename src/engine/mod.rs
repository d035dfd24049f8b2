//! Running queries: lanes, micro-batches, epochs, restart, back-pressure.
//!
//! Owns every continuous query of the server, each on its own threads. Knows no SQL: a query comes
//! as a `StreamPlan`.

mod ahead;
mod alert;
mod aside;
mod begin;
mod budget;
mod committer;
mod connect;
mod durable;
mod emitter;
mod event_time;
mod flush;
mod groups;
mod held_memory;
mod in_order;
mod input;
mod lane;
mod live;
mod materialized;
mod output;
mod pace;
mod publish;
mod pulled;
mod query;
mod rate;
mod rejected;
mod replay;
mod replay_source;
mod report;
mod restart;
mod set_aside;
mod shared_scan;
#[cfg(test)]
pub(crate) mod simulation;
mod status;
mod subscription;
mod supervisor;
mod tuning;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

pub use alert::{AlertEvents, AlertRecord, AlertSetup, AlertShared};
pub use begin::LiveStart;
pub use flush::{Flushed, Watcher};
pub use lane::{LateMessage, Rejection};
pub use live::LiveRows;
pub use materialized::Materialized;
pub use output::Emitted;
pub use rejected::{DeadLetter, LateRecord, SnapshotRejects};
pub use replay::Replayed;
pub use restart::GoesOnAs;
pub use set_aside::SetAside;
pub use status::{
    PartitionStatus, QueryKind, QueryShared, QueryState, QueryStatus, ScanStatus, Shape,
};
pub use subscription::Subscription;
pub use supervisor::OpenSink;

use crate::checkpoint::{CheckpointPlace, OpenCheckpoints};
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::plan::{Changelog, Lanes, QueryOptions, StreamPlan};
use crate::task;
use connect::Kafka;
use held_memory::HeldMemory;
use materialized::Form;
use shared_scan::SharedScans;
use status::Identity;
use supervisor::{Control, Destination, Supervisor};

/// Batches of rows that wait for a live query's client.
const LIVE_BATCHES_QUEUED_MAX: usize = 16;
/// How long a dropped query may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Ended live queries are shown so many.
const ENDED_KEPT_MAX: usize = 20;

/// What an engine is told.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Where broken messages and late rows are kept; `None`: nowhere.
    pub data_dir: Option<PathBuf>,
    /// Where queries keep what they must remember.
    pub checkpoints: CheckpointPlace,
    /// The time.
    pub clock: SharedClock,
    /// The memory budget of one query's groups, and of one view's rows.
    pub query_bytes_max: u64,
    /// The same of all queries together.
    pub bytes_max: u64,
    /// Messages kept that are no rows.
    pub dead_letters_max: usize,
    /// Rows kept that came too late.
    pub late_rows_max: usize,
    /// Notifications of alerts kept.
    pub alert_events_max: usize,
    /// Messages of one read of one lane at the most.
    pub read_rows_max: usize,
    /// Bytes after which a read of one lane takes no further message.
    pub read_bytes_max: usize,
    /// How often an epoch ends.
    pub checkpoint_interval: Duration,
    /// Lanes a query at the most.
    pub lanes_max: usize,
}

/// Runs continuous queries. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    options: EngineOptions,
    set_aside: Arc<SetAside>,
    alert_events: Arc<AlertEvents>,
    scans: Arc<SharedScans>,
    held: HeldMemory,
    /// A number that no other process has.
    writer: u64,
    queries: Mutex<BTreeMap<u64, Entry>>,
    next_id: AtomicU64,
}

struct Entry {
    shared: Arc<QueryShared>,
    control: Arc<Control>,
    view: Option<Arc<Materialized>>,
    alert: Option<Arc<AlertShared>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("queries", &self.lock().len())
            .finish()
    }
}

impl Engine {
    /// An engine without queries; what was set aside in its data directory is there.
    ///
    /// # Errors
    /// When that is damaged, or the disk refuses.
    pub fn open(options: EngineOptions) -> Result<Self> {
        let (dead_max, late_max) = (options.dead_letters_max, options.late_rows_max);
        let set_aside = SetAside::open(options.data_dir.as_deref(), dead_max, late_max)?;
        let alert_events =
            AlertEvents::open(options.data_dir.as_deref(), options.alert_events_max)?;
        let held = HeldMemory::new(options.bytes_max);
        let inner = Inner {
            options,
            set_aside: Arc::new(set_aside),
            alert_events: Arc::new(alert_events),
            scans: Arc::default(),
            held,
            writer: uuid::Uuid::new_v4().as_u64_pair().0,
            queries: Mutex::default(),
            next_id: AtomicU64::new(1),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Starts a live query; its rows come as they are emitted, and dropping them ends it.
    /// `progress`: it is also told how the watermark moves.
    ///
    /// # Errors
    /// When there is no thread for it. What goes wrong later comes with the rows.
    pub fn live(&self, plan: StreamPlan, start: LiveStart, progress: bool) -> Result<LiveRows> {
        let (rows, receiver) = mpsc::channel(LIVE_BATCHES_QUEUED_MAX);
        let schema = Arc::clone(&plan.schema);
        let destination = Destination::Client {
            rows,
            start,
            progress,
        };
        let (shared, control) = self.start(QueryKind::Live, None, plan, destination)?;
        Ok(LiveRows::new(schema, receiver, shared, control))
    }

    /// Starts the query of a materialized view; a new one forgets what an earlier one of its name has
    /// left.
    ///
    /// # Errors
    /// When there is no thread for it, or the disk refuses.
    pub fn create_view(&self, name: &str, plan: StreamPlan, is_new: bool) -> Result<()> {
        let view = self.rows_of(&plan);
        let checkpoints = self.checkpoints(name);
        if is_new {
            self.inner.set_aside.forget_query(name)?;
            checkpoints().create()?;
        }
        let destination = Destination::View { view, checkpoints };
        self.start(QueryKind::MaterializedView, Some(name), plan, destination)?;
        Ok(())
    }

    /// Where the rows of a view are kept.
    fn rows_of(&self, plan: &StreamPlan) -> Arc<Materialized> {
        let form = Form::of(plan);
        let bytes_max = self.inner.options.query_bytes_max;
        Arc::new(Materialized::new(Arc::clone(&plan.schema), form, bytes_max))
    }

    /// Starts the query of a sink; a new one forgets what an earlier one of its name has left.
    ///
    /// # Errors
    /// When there is no thread for it, or the disk refuses.
    pub fn create_sink(
        &self,
        name: &str,
        plan: StreamPlan,
        open: OpenSink,
        is_new: bool,
    ) -> Result<()> {
        let checkpoints = self.checkpoints(name);
        if is_new {
            self.inner.set_aside.forget_query(name)?;
            checkpoints().create()?;
        }
        let destination = Destination::Sink { open, checkpoints };
        self.start(QueryKind::Sink, Some(name), plan, destination)?;
        Ok(())
    }

    /// Says durably that a view, sink or alert is about to be created.
    ///
    /// # Errors
    /// When the place of its checkpoints refuses.
    pub fn announce(&self, name: &str) -> Result<()> {
        self.checkpoints(name)().announce()
    }

    /// Takes that back: no definition of the name was kept.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn withdraw(&self, name: &str) -> Result<()> {
        self.checkpoints(name)().withdraw()
    }

    fn checkpoints(&self, name: &str) -> OpenCheckpoints {
        self.inner.options.checkpoints.opener(name)
    }

    fn start(
        &self,
        kind: QueryKind,
        name: Option<&str>,
        plan: StreamPlan,
        destination: Destination,
    ) -> Result<(Arc<QueryShared>, Arc<Control>)> {
        let id = self.inner.next_id.fetch_add(1, Ordering::Relaxed);
        let name = name.map_or_else(|| format!("live_{id}"), str::to_owned);
        let scans = || plan.inputs.iter().map(|input| &input.source.scan);
        let identity = Identity {
            id,
            name: name.clone(),
            kind,
            tables: scans().map(|scan| scan.table.clone()).collect(),
            text: plan.text.clone(),
            plan: plan.describe(Lanes::EachPartition),
            shape: Shape {
                windowed: plan.aggregate.as_ref().is_some_and(|a| a.window.is_some()),
                once: plan.changelog() == Changelog::Append,
            },
            topics: scans()
                .map(|scan| {
                    let topic = scan.topic.clone();
                    (scan.connection.clone(), topic, scan.read_committed)
                })
                .collect(),
        };
        let options = &self.inner.options;
        let tuning = self.tuning(&plan.options);
        let shared = Arc::new(QueryShared::new(identity, tuning, options.clock.now()));
        let control = Arc::new(Control::default());
        let entry = Entry {
            shared: Arc::clone(&shared),
            control: Arc::clone(&control),
            view: match &destination {
                Destination::View { view, .. } => Some(Arc::clone(view)),
                Destination::Client { .. } | Destination::Sink { .. } | Destination::Alert(_) => {
                    None
                }
            },
            alert: match &destination {
                Destination::Alert(alert) => Some(Arc::clone(&alert.shared)),
                Destination::Client { .. }
                | Destination::View { .. }
                | Destination::Sink { .. } => None,
            },
        };
        self.lock().insert(id, entry);
        self.forget_ended();
        let supervisor = Supervisor {
            plan: Arc::new(plan),
            destination,
            shared: Arc::clone(&shared),
            control: Arc::clone(&control),
            surroundings: query::Surroundings {
                clock: SharedClock::clone(&options.clock),
                set_aside: Arc::clone(&self.inner.set_aside),
                state_bytes_max: options.query_bytes_max,
                held: self.inner.held.clone(),
                writer: self.inner.writer,
                read_max: (options.read_rows_max, options.read_bytes_max),
                image_groups: ahead::GROUPS,
            },
            lanes_max: options.lanes_max,
            connect: Box::new(Kafka {
                scans: Arc::clone(&self.inner.scans),
                shared: Arc::clone(&shared),
            }),
        };
        if let Err(error) = task::spawn_thread(&format!("query {name}"), move || supervisor.run()) {
            self.lock().remove(&id);
            return Err(Error::internal(format!("no thread for the query: {error}")));
        }
        Ok((shared, control))
    }

    /// Shows a query that could not be started.
    pub fn failed(&self, kind: QueryKind, name: &str, text: &str, error: Error) {
        let id = self.inner.next_id.fetch_add(1, Ordering::Relaxed);
        let identity = Identity {
            id,
            name: name.to_owned(),
            kind,
            tables: Vec::new(),
            text: text.to_owned(),
            plan: String::new(),
            shape: Shape::default(),
            topics: Vec::new(),
        };
        let tuning = self.tuning(&QueryOptions::default());
        let started_at = self.inner.options.clock.now();
        let shared = Arc::new(QueryShared::new(identity, tuning, started_at));
        shared.update(|status| status.fail(QueryState::Failed, error, started_at));
        let control = Arc::new(Control::ended());
        self.lock().insert(
            id,
            Entry {
                shared,
                control,
                view: None,
                alert: None,
            },
        );
    }

    /// Ends a view's or sink's query, waits for that, and forgets what it remembered.
    ///
    /// # Errors
    /// When it does not end within some seconds, or the disk refuses.
    pub fn drop_query(&self, name: &str) -> Result<()> {
        match self.retire_query(name)? {
            true => self.checkpoints(name)().remove(),
            false => Ok(()),
        }
    }

    /// Ends a query that a new one of its name replaces, which clears its checkpoints away; false if there
    /// is none.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn retire_query(&self, name: &str) -> Result<bool> {
        let found = self.lock().iter().find_map(|(id, entry)| {
            (entry.shared.kind != QueryKind::Live && entry.shared.name == name).then_some(*id)
        });
        let Some(entry) = found.and_then(|id| self.lock().remove(&id)) else {
            return Ok(false);
        };
        entry.shared.stop();
        entry.control.wake();
        if !entry.control.join(STOP_TIMEOUT) {
            tracing::warn!(query = %name, "query does not end, left behind");
        }
        self.inner.set_aside.forget_query(name)?;
        if entry.shared.kind == QueryKind::Alert {
            self.inner.alert_events.forget(name)?;
        }
        Ok(true)
    }

    /// Ends every query, for the server's end; waits up to `timeout` in all.
    pub fn shutdown(&self, timeout: Duration) {
        let entries: Vec<(Arc<QueryShared>, Arc<Control>)> = self
            .lock()
            .values()
            .map(|entry| (Arc::clone(&entry.shared), Arc::clone(&entry.control)))
            .collect();
        for (shared, control) in &entries {
            shared.stop();
            control.wake();
        }
        let deadline = crate::clock::instant() + timeout;
        for (_, control) in &entries {
            control.join(deadline.saturating_duration_since(crate::clock::instant()));
        }
        // What snapshots have met.
        if let Err(error) = self.inner.set_aside.persist() {
            tracing::warn!(error = %error, "broken messages not kept");
        }
    }

    /// Ends a live query by its number; false if there is none.
    pub fn cancel(&self, id: u64) -> bool {
        let queries = self.lock();
        let Some(entry) = queries
            .get(&id)
            .filter(|e| e.shared.kind == QueryKind::Live)
        else {
            return false;
        };
        entry.shared.stop();
        entry.control.wake();
        true
    }

    /// The rows of a materialized view.
    pub fn materialized(&self, name: &str) -> Option<Arc<Materialized>> {
        self.lock()
            .values()
            .find(|entry| entry.view.is_some() && entry.shared.name == name)
            .and_then(|entry| entry.view.clone())
    }

    /// Waits until each materialized view has the rows of its last checkpoint, and each alert its keys, or
    /// trouble with it.
    pub async fn views_there(&self) {
        let is_there = |entry: &Entry| {
            let view = entry.view.as_ref().is_none_or(|view| view.is_there());
            view && entry.alert.as_ref().is_none_or(|alert| alert.is_there())
        };
        let waiting = |id: &u64| self.lock().get(id).is_some_and(|entry| !is_there(entry));
        let all: Vec<(u64, Arc<QueryShared>)> = self
            .lock()
            .iter()
            .map(|(id, entry)| (*id, Arc::clone(&entry.shared)))
            .collect();
        for (id, shared) in all {
            let mut changes = shared.watch();
            while waiting(&id) && matches!(shared.status().state, QueryState::Starting) {
                if changes.changed().await.is_err() {
                    break;
                }
            }
        }
    }

    /// All queries: those that run, and the last live ones that ended.
    pub fn queries(&self) -> Vec<Arc<QueryShared>> {
        self.lock()
            .values()
            .map(|entry| Arc::clone(&entry.shared))
            .collect()
    }

    /// In how many lanes a query runs at the most.
    pub fn lanes_max(&self) -> usize {
        self.inner.options.lanes_max
    }

    /// What was set aside on this server.
    pub fn set_aside(&self) -> &Arc<SetAside> {
        &self.inner.set_aside
    }

    /// Waits until everything that the topics hold now has gone through a committed epoch of every
    /// view and sink that reads them. Those that stand still, and those of which `is_stuck` says that their
    /// rows find no room where they go, are not waited for, but told.
    ///
    /// # Errors
    /// When a broker does not answer.
    pub async fn flush(&self, watcher: Watcher<'_>) -> Result<Flushed> {
        let queries: Vec<(Arc<QueryShared>, Arc<Control>)> = self
            .lock()
            .values()
            .filter(|entry| entry.shared.kind != QueryKind::Live)
            .map(|entry| (Arc::clone(&entry.shared), Arc::clone(&entry.control)))
            .collect();
        // A broker that does not answer for one does not keep the others from being flushed.
        let (mut all, mut flushed) = (Ok(()), Flushed::default());
        for (shared, control) in queries {
            shared.flush_waits(true);
            let name = shared.name.clone();
            match flush::flush_one(&shared, &control, watcher).await {
                Ok(flush::End::Done) => {}
                Ok(flush::End::Paused) => flushed.paused.push(name),
                Ok(flush::End::Finished) => flushed.finished.push(name),
                Ok(flush::End::Failed(error)) => flushed.failed.push((name, error)),
                Ok(flush::End::Stuck) => flushed.stuck.push(name),
                Err(error) => all = all.and(Err(error)),
            }
            shared.flush_waits(false);
        }
        all.map(|()| flushed)
    }

    fn find(&self, name: &str) -> Option<(Arc<QueryShared>, Arc<Control>)> {
        let queries = self.lock();
        let named =
            |entry: &&Entry| entry.shared.kind != QueryKind::Live && entry.shared.name == name;
        let entry = queries.values().find(named)?;
        Some((Arc::clone(&entry.shared), Arc::clone(&entry.control)))
    }

    fn forget_ended(&self) {
        let mut queries = self.lock();
        let ended: Vec<u64> = queries
            .iter()
            .filter(|(_, entry)| entry.shared.kind == QueryKind::Live && entry.control.has_ended())
            .map(|(id, _)| *id)
            .collect();
        for id in ended
            .iter()
            .take(ended.len().saturating_sub(ENDED_KEPT_MAX))
        {
            queries.remove(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.inner
            .queries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
