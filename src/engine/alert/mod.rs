//! Alerts that run: a query whose rows are watched, what it has told, and what people said of it.
//!
//! ```text
//! query's rows ─► AlertStage (keys) ─► committer ─► AlertSink ─► sinks, then AlertEvents ─► who listens
//! ```
//! Invariant: a transition of a key is in the events once, whatever crashes when.

mod alert_sink;
mod events;
mod seen;
mod stage;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};

pub use events::{AlertEvents, AlertRecord};
pub(super) use stage::{AlertStage, Seen};

use super::supervisor::Destination;
use super::{Engine, OpenSink, QueryKind};
use crate::alert::{AlertRules, Key, Phase, Watch};
use crate::checkpoint::OpenCheckpoints;
use crate::error::Result;
use crate::plan::StreamPlan;
use crate::sink::Sink;
use alert_sink::AlertSink;

/// What an alert's query is given beside its plan.
pub struct AlertSetup {
    /// What of its rows is looked at; its `generation` is set when it starts.
    pub watch: Watch,
    /// What can be changed while it runs.
    pub rules: AlertRules,
    /// Opens the sinks that are told.
    pub notify: Vec<OpenSink>,
}

impl std::fmt::Debug for AlertSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlertSetup")
            .field("watch", &self.watch)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// An alert that runs, as others see it.
#[derive(Debug)]
pub struct AlertShared {
    watch: Watch,
    schema: SchemaRef,
    rules: RwLock<Arc<AlertRules>>,
    shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    /// Keys as of the last micro-batch.
    keys: BTreeMap<String, Key>,
    /// False until the query has looked for keys of an earlier run.
    is_there: bool,
}

/// What a try of an alert's query needs.
pub(super) struct AlertTarget {
    pub shared: Arc<AlertShared>,
    events: Arc<AlertEvents>,
    notify: Vec<OpenSink>,
    pub checkpoints: OpenCheckpoints,
}

impl AlertShared {
    /// The rules that count now.
    pub fn rules(&self) -> Arc<AlertRules> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&rules)
    }

    /// The keys that are not well, and those that ever were not, by name.
    pub fn keys(&self) -> Vec<(String, Key)> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = shown.keys.iter();
        keys.map(|(key, own)| (key.clone(), own.clone())).collect()
    }

    /// How many keys are pending, and how many are firing.
    pub fn counts(&self) -> (u64, u64) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |(pending, firing), own: &Key| match own.state.phase() {
            Phase::Ok => (pending, firing),
            Phase::Pending { .. } => (pending + 1, firing),
            Phase::Firing { .. } => (pending, firing + 1),
        };
        shown.keys.values().fold((0, 0), count)
    }

    /// The columns that make the key, in their order.
    pub fn key_columns(&self) -> Vec<String> {
        let name = |column: &usize| self.schema.field(*column).name().clone();
        self.watch.key.iter().map(name).collect()
    }

    /// The query's own columns.
    pub fn columns(&self) -> Schema {
        let shown = self.watch.shown.iter();
        let fields = shown.map(|column| Arc::clone(&self.schema.fields()[*column]));
        Schema::new(fields.collect::<Vec<_>>())
    }

    fn set_rules(&self, rules: AlertRules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Whether the query has looked for keys of an earlier run.
    pub(super) fn is_there(&self) -> bool {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.is_there
    }

    /// Has the keys of a try that begins.
    fn begin<'a>(&self, keys: impl Iterator<Item = (String, Option<&'a Key>)>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys.filter_map(|(key, own)| Some((key, own?.clone())));
        shown.keys = keys.collect();
        shown.is_there = true;
    }

    fn show<'a>(&self, changed: impl Iterator<Item = (String, Option<&'a Key>)>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, own) in changed {
            match own {
                Some(own) => drop(shown.keys.insert(key, own.clone())),
                None => drop(shown.keys.remove(&key)),
            }
        }
    }
}

impl AlertTarget {
    /// Opens what is told, for a try of a query whose epochs are so long.
    pub(super) fn open(&self, interval: Duration) -> Result<Box<dyn Sink>> {
        let sinks = self.notify.iter().map(|open| open(interval));
        let sinks = sinks.collect::<Result<Vec<_>>>()?;
        let name = &self.shared.watch.alert;
        Ok(Box::new(AlertSink::new(name, &self.events, sinks)))
    }

    /// The stage of a try, as the checkpoint has it.
    pub(super) fn stage(
        &self,
        checkpoint: Option<&crate::checkpoint::Checkpoint>,
    ) -> Result<Box<AlertStage>> {
        let mut stage = AlertStage::try_new(&self.shared)?;
        if let Some(checkpoint) = checkpoint {
            stage.restore(&checkpoint.state)?;
        }
        stage.begin();
        Ok(Box::new(stage))
    }
}

impl Engine {
    /// Starts the query of an alert; a new one forgets what an earlier one of its name has left.
    ///
    /// # Errors
    /// When there is no thread for it, or the disk refuses.
    pub fn create_alert(&self, plan: StreamPlan, setup: AlertSetup, is_new: bool) -> Result<()> {
        let name = setup.watch.alert.clone();
        if is_new {
            self.inner.set_aside.forget_query(&name)?;
            self.checkpoints(&name)().create()?;
        }
        let destination = Destination::Alert(self.alert_target(&plan, setup, is_new)?);
        self.start(QueryKind::Alert, Some(&name), plan, destination)?;
        Ok(())
    }

    /// Where the rows of an alert's query go.
    pub(super) fn alert_target(
        &self,
        plan: &StreamPlan,
        setup: AlertSetup,
        is_new: bool,
    ) -> Result<AlertTarget> {
        let AlertSetup {
            mut watch,
            rules,
            notify,
        } = setup;
        let events = Arc::clone(self.alert_events());
        let known = events.record(&watch.alert).filter(|_| !is_new);
        watch.generation = match known {
            Some(record) => record.generation,
            None => events.begin(&watch.alert)?,
        };
        let checkpoints = self.checkpoints(&watch.alert);
        let shared = Arc::new(AlertShared {
            watch,
            schema: SchemaRef::clone(&plan.schema),
            rules: RwLock::new(Arc::new(rules)),
            shown: Mutex::default(),
        });
        Ok(AlertTarget {
            shared,
            events,
            notify,
            checkpoints,
        })
    }

    /// Sets other rules for an alert that runs; its state stays.
    pub fn set_alert_rules(&self, name: &str, rules: AlertRules) {
        if let Some(alert) = self.alert(name) {
            alert.set_rules(rules);
        }
    }

    /// An alert that runs.
    pub fn alert(&self, name: &str) -> Option<Arc<AlertShared>> {
        let queries = self.lock();
        let mut alerts = queries.values().filter_map(|entry| entry.alert.as_ref());
        alerts.find(|alert| alert.watch.alert == name).cloned()
    }

    /// What alerts have told.
    pub fn alert_events(&self) -> &Arc<AlertEvents> {
        &self.inner.alert_events
    }
}
