//! What all connections share.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use datafusion::execution::SessionState;

use crate::catalog::Catalog;
use crate::checkpoint::CheckpointPlace;
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::engine::{Engine, EngineOptions};
use crate::error::Result;
use crate::sink::outbox::Outboxes;
use crate::source::Cluster;
use crate::task::Compute;
use crate::telemetry::ServerCounters;

/// How often an epoch of a query ends, unless it says so itself.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// What all connections share.
#[derive(Debug)]
pub struct Services {
    /// What was configured.
    pub config: Arc<Config>,
    /// Tells the time.
    pub clock: SharedClock,
    /// What exists.
    pub catalog: Catalog,
    /// What runs.
    pub engine: Engine,
    /// What waits for the destinations of sinks.
    pub outboxes: Arc<Outboxes>,
    /// What clients did.
    pub counters: Arc<ServerCounters>,
    /// Where snapshots are planned and run.
    pub compute: Arc<Compute>,
    /// Held while definitions and what runs by them change together.
    changing: Arc<Mutex<()>>,
    /// The planning state that sessions start from: built once, because it is large.
    base: OnceLock<SessionState>,
}

impl Services {
    /// The services of a server: its catalog and engine live in the data directory, and its checkpoints
    /// too unless they are to lie elsewhere.
    ///
    /// # Errors
    /// When the data directory cannot be used, `checkpoint_dir` is no place, the library does not know a
    /// property of the cluster, or the system has no thread left.
    pub fn open(config: Arc<Config>) -> Result<Arc<Self>> {
        let defaults = config.kafka.connection();
        if let Some(connection) = &defaults {
            // Nobody is asked yet.
            Cluster::connect(connection)?;
        }
        let catalog = Catalog::open(&config.data_dir, defaults.as_ref())?;
        let checkpoints = match &config.checkpoint_dir {
            Some(place) => {
                CheckpointPlace::parse(place, &config.object_options, catalog.server_id())?
            }
            None => CheckpointPlace::of_data_dir(&config.data_dir),
        };
        let data_dir = Some(config.data_dir.clone());
        Self::assemble(config, catalog, data_dir, checkpoints)
    }

    /// Services that leave nothing behind, for commands without a server.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn in_memory(config: Arc<Config>) -> Result<Arc<Self>> {
        Self::assemble(config, Catalog::in_memory(), None, CheckpointPlace::Memory)
    }

    /// The same with other definitions, to see what would be; nothing runs by it.
    pub(crate) fn with_catalog(&self, catalog: Catalog) -> Arc<Self> {
        Arc::new(Self {
            config: Arc::clone(&self.config),
            clock: SharedClock::clone(&self.clock),
            catalog,
            engine: self.engine.clone(),
            outboxes: Arc::clone(&self.outboxes),
            counters: Arc::clone(&self.counters),
            compute: Arc::clone(&self.compute),
            changing: Arc::clone(&self.changing),
            base: OnceLock::new(),
        })
    }

    fn assemble(
        config: Arc<Config>,
        catalog: Catalog,
        data_dir: Option<PathBuf>,
        checkpoints: CheckpointPlace,
    ) -> Result<Arc<Self>> {
        let clock = SystemClock::shared();
        let limits = &config.limits;
        let count = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        let outboxes = Outboxes::new(data_dir.as_deref(), SharedClock::clone(&clock));
        let engine = Engine::open(EngineOptions {
            data_dir,
            checkpoints,
            clock: SharedClock::clone(&clock),
            query_bytes_max: limits.query_memory_bytes_max,
            bytes_max: limits.memory_bytes_max,
            dead_letters_max: count(limits.dead_letters_rows_max),
            late_rows_max: count(limits.late_rows_max),
            alert_events_max: count(limits.alert_events_rows_max),
            read_rows_max: count(limits.micro_batch_rows_max).max(1),
            read_bytes_max: count(limits.micro_batch_bytes_max).max(1),
            checkpoint_interval: CHECKPOINT_INTERVAL,
            lanes_max: std::thread::available_parallelism().map_or(1, NonZero::get),
        })?;
        let definitions = catalog.snapshot();
        let is_there = |table: &str| definitions.table(table).is_some();
        engine.set_aside().retain_tables(is_there)?;
        outboxes.retain(|query| definitions.get(query).is_some())?;
        let (compute, base) = (Arc::new(Compute::new()?), OnceLock::new());
        Ok(Arc::new(Self {
            config,
            clock,
            catalog,
            engine,
            outboxes: Arc::new(outboxes),
            counters: Arc::default(),
            compute,
            changing: Arc::default(),
            base,
        }))
    }

    /// For who changes definitions and what runs by them: one after the other. Blocks, as long as a query that ends
    /// takes for its last epoch.
    pub(crate) fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The planning state that sessions start from.
    ///
    /// # Errors
    /// When DataFusion refuses its configuration, which is a mistake of ours.
    pub(crate) fn base_state(self: &Arc<Self>) -> Result<&SessionState> {
        if let Some(state) = self.base.get() {
            return Ok(state);
        }
        let built = super::context::base(self)?;
        Ok(self.base.get_or_init(|| built))
    }
}
