//! What can be changed while a query runs: its pace, and whether it stands still.
//!
//! ```text
//! ALTER QUERY ─► catalog (durable) ─► Dial ─► Query::obey, between two micro-batches
//!                                        └──► Supervisor, while it waits to be told to go on
//! ```
//! Invariant: a query that was told to stand still commits what it has staged and takes no further row.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Engine;
use super::flush::ends_of;
use super::pace::Pace;
use super::query::{Ended, Query};
use super::status::{QueryKind, QueryShared, QueryState};
use crate::error::{Error, Result, SqlState};
use crate::plan::{QueryOptions, Trigger};

/// How a query is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tuning {
    pub trigger: Trigger,
    pub checkpoint_interval: Duration,
    pub paused: bool,
}

/// How a query is to run as it was last told, and a bell that rings when that changes.
#[derive(Debug)]
pub(super) struct Dial {
    told: Mutex<Told>,
    bell: Condvar,
}

#[derive(Debug)]
struct Told {
    tuning: Tuning,
    /// It is to run again if it has ended.
    again: bool,
    /// Counts what was told.
    count: u64,
}

impl Dial {
    pub(super) fn new(tuning: Tuning) -> Self {
        let told = Told {
            tuning,
            again: false,
            count: 0,
        };
        Self {
            told: Mutex::new(told),
            bell: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the waits of those who look whether something has changed.
    pub(super) fn ring(&self) {
        self.lock().count += 1;
        self.bell.notify_all();
    }

    /// How the query is to run.
    pub(super) fn tuning(&self) -> Tuning {
        self.lock().tuning
    }

    /// The same, by the query itself, which runs: nobody has to wake it for this any more.
    pub(super) fn take(&self) -> Tuning {
        let mut told = self.lock();
        told.again = false;
        told.tuning
    }

    fn tell(&self, tuning: Tuning, again: bool) {
        let mut told = self.lock();
        told.tuning = tuning;
        told.again |= again;
        told.count += 1;
        drop(told);
        self.bell.notify_all();
    }
}

impl QueryShared {
    /// Stands still until the query is told something else, or to end; false when `limit` came first.
    pub(super) fn stand_still(&self, limit: Duration) -> bool {
        let seen = self.dial.lock().count;
        // Whoever resumes it and pauses it again at once must find it standing still again.
        self.update(|status| {
            status.state = QueryState::Paused;
            (status.rows_in_per_second, status.rows_out_per_second) = (0.0, 0.0);
        });
        let told = self.dial.lock();
        let unchanged =
            |told: &mut Told| told.tuning.paused && told.count == seen && !self.stopping();
        let waited = self.dial.bell.wait_timeout_while(told, limit, unchanged);
        let (told, timer) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(told);
        !timer.timed_out()
    }

    /// Waits, ended, until it is to run again: true; or is to end for good: false.
    pub(super) fn rest(&self) -> bool {
        let told = self.dial.lock();
        let unasked = |told: &mut Told| !told.again && !self.stopping();
        let waited = self.dial.bell.wait_while(told, unasked);
        waited.unwrap_or_else(PoisonError::into_inner).again = false;
        !self.stopping()
    }

    /// True while the query is to stand still.
    pub fn is_paused(&self) -> bool {
        self.dial.tuning().paused
    }
}

impl Query {
    /// Does what the query was told since the last micro-batch; gives how its run ends, if it does by
    /// that.
    pub(super) fn obey(&mut self) -> Result<Option<Ended>> {
        let (now, told) = (self.surroundings.clock.monotonic(), self.shared.dial.take());
        if self.shared.stopping() || (told == self.tuning && !told.paused) {
            return Ok(None);
        }
        let before = std::mem::replace(&mut self.tuning, told);
        let is_sink = self.shared.kind == QueryKind::Sink;
        if told.paused {
            // Also when nothing came, so that the outside does not forget the last epoch.
            self.dirty |= is_sink;
            self.finish_epoch()?;
            return Ok(Some(Ended::Paused));
        }
        if told.trigger != before.trigger {
            self.trigger = Pace::of_trigger(told.trigger, now);
            if told.trigger == Trigger::AvailableNow {
                self.look_for_ends()?;
            }
        }
        self.epoch.set_interval(told.checkpoint_interval);
        // A sink's transactions may take so long as its interval said when it was opened.
        if is_sink && told.checkpoint_interval > before.checkpoint_interval {
            self.finish_epoch()?;
            return Ok(Some(Ended::Again));
        }
        Ok(None)
    }

    /// What there is to read now.
    fn look_for_ends(&mut self) -> Result<()> {
        for (place, end) in ends_of(&self.shared.topics)? {
            let status = self.partitions.entry(place).or_default();
            status.end = status.end.max(Some(end));
        }
        Ok(())
    }
}

impl Engine {
    /// Tells a view's or sink's query how to run from now on. `again`: it runs again if it has ended.
    pub fn tune(&self, name: &str, options: &QueryOptions, again: bool) {
        let Some((shared, control)) = self.find(name) else {
            return;
        };
        let tuning = self.tuning(options);
        let runs_again = again && !options.paused && !control.has_ended();
        if runs_again {
            // Whoever waits for its rows must not find it ended, or standing still.
            shared.update(|status| match status.state {
                QueryState::Finished | QueryState::Failed => {
                    status.state = QueryState::Starting;
                    status.partitions.clear();
                }
                QueryState::Paused => status.state = QueryState::Starting,
                QueryState::Starting | QueryState::Running | QueryState::Retrying => {}
            });
        }
        if options.paused {
            shared.update(|status| {
                if matches!(status.state, QueryState::Finished | QueryState::Failed) {
                    status.state = QueryState::Paused;
                }
            });
        }
        shared.dial.tell(tuning, runs_again);
        control.wake();
    }

    pub(super) fn tuning(&self, options: &QueryOptions) -> Tuning {
        let interval = options.checkpoint_interval;
        Tuning {
            trigger: options.trigger,
            checkpoint_interval: interval.unwrap_or(self.inner.options.checkpoint_interval),
            paused: options.paused,
        }
    }

    /// Says whether a query could run.
    ///
    /// # Errors
    /// When it could not be started at all.
    pub fn check_runs(&self, name: &str) -> Result<()> {
        let Some((shared, control)) = self.find(name) else {
            return Ok(());
        };
        if !control.has_ended() {
            return Ok(());
        }
        let text = format!("query \"{name}\" could not be started");
        let error = Error::user(SqlState::ObjectNotInPrerequisiteState, text);
        Err(match shared.status().last_error {
            Some(last) => error.detail(format!("Its error: {last}.")),
            None => error,
        })
    }

    /// Waits until a query that was told so stands still: nothing comes of it after this.
    pub async fn stands_still(&self, name: &str) {
        let Some((shared, _)) = self.find(name) else {
            return;
        };
        let mut changes = shared.watch();
        let moves = || {
            matches!(
                shared.status().state,
                QueryState::Starting | QueryState::Running | QueryState::Retrying
            )
        };
        while shared.is_paused() && moves() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
