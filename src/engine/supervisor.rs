//! A query's thread: begins, runs, tries again where that helps, and tells how it ended.
//!
//! Invariant: a panic or an error of one query is its own state and touches no other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::alert::AlertTarget;
use super::begin::{self, Begin, LiveStart};
use super::committer::{Committer, Keeper};
use super::connect::{Connect, Places};
use super::durable::WRITER;
use super::in_order::InOrder;
use super::input::{Assignment, WakeQuery};
use super::materialized::Materialized;
use super::output::{Emitted, Output, Progress};
use super::query::{Ended, Query, RENEW_EVERY, Surroundings, Wiring};
use super::status::{QueryShared, QueryState, QueryStatus};
use crate::checkpoint::{Checkpoint, CheckpointStore, Committed, OpenCheckpoints};
use crate::error::{Error, Fault, Result, SqlState};
use crate::plan::StreamPlan;
use crate::sink::{Outside, Sink};
use crate::source::is_offset_gone;
use crate::types::ProcessingTime;

/// The first pause before a query tries again; it doubles each time.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The longest pause.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Opens a sink anew, for each try of a query whose epochs are so long.
pub type OpenSink = Box<dyn Fn(Duration) -> Result<Box<dyn Sink>> + Send>;

/// How a try of a query begins.
struct Start {
    begin: Begin,
    output: Output,
    /// What it goes on from.
    checkpoint: Option<Checkpoint>,
    /// Without a checkpoint: the number of the epoch before its first.
    epoch: u64,
}

/// How a try of a query begins that commits to the outside, but for where its rows go.
struct Recovered {
    begin: Begin,
    checkpoint: Option<Checkpoint>,
    epoch: u64,
}

impl Recovered {
    fn to(self, output: Output) -> Start {
        Start {
            begin: self.begin,
            output,
            checkpoint: self.checkpoint,
            epoch: self.epoch,
        }
    }
}

/// Where a query's rows go, as its supervisor keeps it.
pub(super) enum Destination {
    Client {
        rows: mpsc::Sender<Result<Emitted>>,
        start: LiveStart,
        progress: bool,
    },
    View {
        view: Arc<Materialized>,
        checkpoints: OpenCheckpoints,
    },
    Sink {
        open: OpenSink,
        checkpoints: OpenCheckpoints,
    },
    Alert(AlertTarget),
}

/// What ends a query's waits.
#[derive(Debug, Default)]
pub(super) struct Control {
    wake: Mutex<Option<WakeQuery>>,
    ended: Mutex<bool>,
    end: Condvar,
}

impl Control {
    /// Of a query that never ran.
    pub(super) fn ended() -> Self {
        Self {
            ended: Mutex::new(true),
            ..Self::default()
        }
    }

    /// Wakes the query, wherever it waits.
    pub(super) fn wake(&self) {
        if let Some(wake) = &*self.wake.lock().unwrap_or_else(PoisonError::into_inner) {
            wake.wake();
        }
        // Whoever looks whether to wait is either before its look or in its wait.
        drop(self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        self.end.notify_all();
    }

    /// Waits until the query's thread has ended; false if it did not within `timeout`.
    pub(super) fn join(&self, timeout: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let (ended, _) = self
            .end
            .wait_timeout_while(ended, timeout, |ended| !*ended)
            .unwrap_or_else(PoisonError::into_inner);
        *ended
    }

    /// True when the query's thread has ended.
    pub(super) fn has_ended(&self) -> bool {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps, unless the query is asked to stop.
    fn pause(&self, duration: Duration, shared: &QueryShared) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .end
            .wait_timeout_while(ended, duration, |_| !shared.stopping());
        drop(waited);
    }

    fn set_wake(&self, wake: Option<WakeQuery>) {
        *self.wake.lock().unwrap_or_else(PoisonError::into_inner) = wake;
    }

    fn finish(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.end.notify_all();
    }
}

/// Everything that a query's thread owns.
pub(super) struct Supervisor {
    pub plan: Arc<StreamPlan>,
    pub destination: Destination,
    pub shared: Arc<QueryShared>,
    pub control: Arc<Control>,
    pub surroundings: Surroundings,
    pub lanes_max: usize,
    pub connect: Box<dyn Connect>,
}

/// An epoch that the sink has of another process than the checkpoint is another one of the same number:
/// two servers have run on copies of one data directory.
fn check_writer(checkpoint: &Checkpoint, committed_by: Option<u64>) -> Result<()> {
    let written_by = checkpoint.counters.get(WRITER).copied();
    if written_by
        .zip(committed_by)
        .is_none_or(|(own, theirs)| own == theirs)
    {
        return Ok(());
    }
    let text = format!("epoch {} was committed by another server", checkpoint.epoch);
    Err(Error::external(SqlState::ObjectNotInPrerequisiteState, false, text)
        .detail(
            "The checkpoint of this number is of a process of its own: two servers have run on copies of one \
             data directory. Going on from it would lose or double rows.",
        )
        .hint(
            "Run the query on the other server alone, or drop it here and create it again with another \
             transactional_id: it then starts anew, and writes all rows again.",
        ))
}

impl Supervisor {
    /// The thread's whole life.
    pub(super) fn run(self) {
        let mut pause = RETRY_FIRST;
        loop {
            let began = self.shared.status().micro_batches;
            let ended = self.guarded_attempt();
            self.control.set_wake(None);
            match ended {
                Ok(Ended::Again) if !self.shared.stopping() => {}
                Ok(Ended::Paused) if !self.shared.stopping() => self.stand_still(),
                Err(error) if self.may_retry(&error) && !self.shared.stopping() => {
                    if self.shared.status().micro_batches > began + 100 {
                        pause = RETRY_FIRST;
                    }
                    self.tell_retry(&error, pause);
                    self.control.pause(pause, &self.shared);
                    pause = (pause * 2).min(RETRY_MAX);
                    if self.may_stand_still() {
                        self.stand_still();
                    }
                }
                ended => {
                    self.tell_end(ended.map(drop));
                    if self.is_live() || !self.shared.rest() {
                        self.control.finish();
                        return;
                    }
                    pause = RETRY_FIRST;
                }
            }
        }
    }

    /// Of a view that stands still the rows are wanted all the same.
    fn may_stand_still(&self) -> bool {
        match &self.destination {
            Destination::Client { .. } => false,
            Destination::View { view, .. } => view.is_there(),
            Destination::Sink { .. } | Destination::Alert(_) => true,
        }
    }

    /// Until the query is told to go on, if it was told to stand still; or until a sink must be told
    /// again of its last epoch.
    fn stand_still(&self) {
        let limit = match &self.destination {
            Destination::Sink { .. } => RENEW_EVERY,
            Destination::Client { .. } | Destination::View { .. } | Destination::Alert(_) => {
                Duration::MAX
            }
        };
        let stands = || self.shared.is_paused() && !self.shared.stopping();
        while stands() && self.shared.stand_still(limit) {}
        self.shared.update(|status| {
            if matches!(status.state, QueryState::Paused) {
                status.state = QueryState::Starting;
            }
        });
    }

    fn guarded_attempt(&self) -> Result<Ended> {
        if self.shared.stopping() {
            return Ok(Ended::Stopped);
        }
        let ended = catch_unwind(AssertUnwindSafe(|| self.attempt())).unwrap_or_else(|panic| {
            let text = text_of(panic.as_ref());
            Err(Error::internal(format!("the query panicked: {text}")))
        });
        match ended {
            // A sink that waited has heard of it before the query.
            Err(error) if error.state() == SqlState::QueryCanceled => self.interrupted(error),
            ended => ended,
        }
    }

    fn interrupted(&self, error: Error) -> Result<Ended> {
        if self.shared.stopping() {
            Ok(Ended::Stopped)
        } else if self.shared.is_paused() {
            let paused = |status: &mut QueryStatus| status.state = QueryState::Paused;
            self.shared.update(paused);
            Ok(Ended::Paused)
        } else {
            Err(error)
        }
    }

    /// One try, from where the query stands to its end or its first error.
    pub(super) fn attempt(&self) -> Result<Ended> {
        let Start {
            begin,
            output,
            checkpoint,
            epoch,
        } = self.start()?;
        let readers = begin.partitions().count().min(self.lanes_max).max(1);
        let lanes = if self.plan.has_one_lane() { 1 } else { readers };
        let places = Places {
            begin: &begin,
            assignments: &assignments(&begin, self.lanes_max, lanes),
            lanes,
        };
        let read_max = self.surroundings.read_max;
        let (mut inputs, wake) = self.connect.inputs(&self.plan, places, read_max)?;
        if self.plan.options.by_time {
            inputs = Box::new(InOrder::try_new(
                &self.shared.name,
                inputs,
                &self.plan,
                &begin,
            )?);
        }
        if let (Some(committer), Some(wake)) = (output.committer(), &wake) {
            committer.on_done(wake.clone());
        }
        self.control.set_wake(wake);
        self.shared.restart();
        let wiring = Wiring {
            inputs,
            lanes,
            output,
            shared: Arc::clone(&self.shared),
            surroundings: self.surroundings.clone(),
        };
        let mut query = Query::try_new(&self.plan, &begin, wiring)?;
        match &checkpoint {
            Some(checkpoint) => query.restore(checkpoint)?,
            None => query.note_begin(epoch)?,
        }
        query.resume_replays()?;
        let goes_on_from = checkpoint.map(|checkpoint| checkpoint.epoch);
        tracing::info!(
            query = %self.shared.name,
            tables = %self.shared.tables.join(", "),
            lanes,
            goes_on_from,
            "query running"
        );
        query.run()
    }

    /// Where the query begins, and where its rows go.
    fn start(&self) -> Result<Start> {
        match &self.destination {
            Destination::Client {
                rows,
                start,
                progress,
            } => {
                let begin = begin::live(&self.plan, start)?;
                let progress = Progress::new(*progress);
                let rows = rows.clone();
                Ok(Start {
                    begin,
                    output: Output::Client { rows, progress },
                    checkpoint: None,
                    epoch: 0,
                })
            }
            Destination::View { view, checkpoints } => self.recover_view(view, checkpoints()),
            Destination::Sink { open, checkpoints } => {
                let sink = open(self.shared.dial.tuning().checkpoint_interval)?;
                let (start, committer) = self.recover_sink(sink, checkpoints())?;
                Ok(start.to(Output::Sink(committer)))
            }
            Destination::Alert(alert) => {
                let sink = alert.open(self.shared.dial.tuning().checkpoint_interval)?;
                let (start, committer) = self.recover_sink(sink, (alert.checkpoints)())?;
                let stage = alert.stage(start.checkpoint.as_ref())?;
                // Somebody may wait for the keys.
                self.shared.update(|_| ());
                Ok(start.to(Output::Alert { stage, committer }))
            }
        }
    }

    /// A view's query goes on from the newest checkpoint; its rows are there before anything is read.
    fn recover_view(
        &self,
        view: &Arc<Materialized>,
        mut checkpoints: CheckpointStore,
    ) -> Result<Start> {
        let checkpoint = self.newest(&mut checkpoints, Committed::Latest)?;
        match &checkpoint {
            Some(checkpoint) => view.restore(checkpoint.epoch, &checkpoint.state)?,
            None => view.clear(),
        }
        // Somebody may wait for the rows.
        self.shared.update(|_| ());
        let begin = self.connect.begin(&self.plan, checkpoint.as_ref())?;
        let keeper = Keeper::View(Arc::clone(view));
        let output = Output::View {
            view: Arc::clone(view),
            committer: (self.connect).committer(&self.shared.name, keeper, checkpoints)?,
        };
        Ok(Start {
            begin,
            output,
            checkpoint,
            epoch: 0,
        })
    }

    /// A sink's query goes on from the checkpoint that counts; which one that is, the sink says if it
    /// knows.
    fn recover_sink(
        &self,
        mut sink: Box<dyn Sink>,
        mut checkpoints: CheckpointStore,
    ) -> Result<(Recovered, Committer)> {
        sink.sign(self.surroundings.writer);
        let shared = Arc::clone(&self.shared);
        sink.heed(Arc::new(move || shared.stopping() || shared.is_paused()));
        let outside = sink.committed()?;
        let committed = match outside {
            Outside::Unknown => Committed::Latest,
            Outside::Epoch(epoch) => Committed::Epoch(epoch),
        };
        let checkpoint = self.newest(&mut checkpoints, committed)?;
        if let Some(checkpoint) = &checkpoint {
            check_writer(checkpoint, sink.committed_by())?;
        }
        let begin = self.connect.begin(&self.plan, checkpoint.as_ref())?;
        let keeper = Keeper::Sink {
            sink,
            keeps_epoch: outside != Outside::Unknown,
        };
        let committer = (self.connect).committer(&self.shared.name, keeper, checkpoints)?;
        let epoch = match outside {
            Outside::Unknown => 0,
            Outside::Epoch(epoch) => epoch.unwrap_or(0),
        };
        let recovered = Recovered {
            begin,
            checkpoint,
            epoch,
        };
        Ok((recovered, committer))
    }

    /// The checkpoint that counts; says what could not be used.
    fn newest(
        &self,
        checkpoints: &mut CheckpointStore,
        committed: Committed,
    ) -> Result<Option<Checkpoint>> {
        let recovered = checkpoints.recover(&self.shared.text, committed)?;
        Ok(recovered.map(|recovered| {
            for sentence in &recovered.refused {
                tracing::warn!(query = %self.shared.name, "{sentence}");
            }
            recovered.checkpoint
        }))
    }

    /// Whether the query is tried again after an error.
    pub(super) fn may_retry(&self, error: &Error) -> bool {
        let passes = error.fault() == Fault::External { retry: true };
        !self.is_live() && (passes || (is_offset_gone(error) && self.accepts_loss()))
    }

    /// A new try begins with the first messages that are left, and tells how many are not.
    fn accepts_loss(&self) -> bool {
        let mut inputs = self.plan.inputs.iter();
        inputs.all(|input| !input.source.fails_on_data_loss)
    }

    fn is_live(&self) -> bool {
        matches!(self.destination, Destination::Client { .. })
    }

    fn tell_retry(&self, error: &Error, pause: Duration) {
        let (retry_in_ms, now) = (pause.as_millis(), self.surroundings.clock.now());
        let pause_us = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
        tracing::warn!(query = %self.shared.name, error = %error, retry_in_ms, "query failed, retrying");
        self.shared.update(|status| {
            status.fail(QueryState::Retrying, error.clone(), now);
            status.next_try_at = Some(ProcessingTime(now.0.saturating_add(pause_us)));
        });
    }

    fn tell_end(&self, ended: Result<()>) {
        // Who drops a view ends its subscriptions by that.
        if let Destination::View { view, .. } = &self.destination
            && !self.shared.stopping()
        {
            view.end(ended.as_ref().err());
        }
        match ended {
            Ok(()) => self
                .shared
                .update(|status| status.state = QueryState::Finished),
            Err(error) => {
                match &self.destination {
                    // A live query's error goes to its client, who decides.
                    Destination::Client { rows, .. } => {
                        let _ = rows.blocking_send(Err(error.clone()));
                    }
                    Destination::View { .. } | Destination::Sink { .. } | Destination::Alert(_) => {
                        tracing::error!(query = %self.shared.name, error = %error, "query failed");
                    }
                }
                let now = self.surroundings.clock.now();
                self.shared
                    .update(|status| status.fail(QueryState::Failed, error, now));
            }
        }
    }
}

/// Deals the partitions of each input out to readers, and the readers to lanes.
fn assignments(begin: &Begin, readers_max: usize, lanes: usize) -> Vec<Assignment> {
    let mut all = Vec::new();
    for (input, ranges) in begin.inputs.iter().enumerate() {
        let readers = readers_max.min(ranges.len()).max(1);
        let mut dealt = vec![Vec::new(); readers];
        for (index, range) in ranges.iter().enumerate() {
            dealt[index % readers].push((range.partition, range.start));
        }
        for (reader, partitions) in dealt.into_iter().enumerate() {
            let lane = reader % lanes;
            all.push(Assignment {
                lane,
                input,
                partitions,
            });
        }
    }
    all
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(written_by: Option<u64>) -> Checkpoint {
        let writer = written_by.map(|writer| (WRITER.to_owned(), writer));
        Checkpoint {
            epoch: 4,
            text: String::new(),
            lanes: 1,
            inputs: Vec::new(),
            watermark: 0,
            left: None,
            counters: writer.into_iter().collect(),
            state: Default::default(),
        }
    }

    #[test]
    fn an_epoch_that_another_process_committed_is_not_gone_on_from() {
        for (written_by, committed_by) in [(Some(1), Some(1)), (None, Some(1)), (Some(1), None)] {
            check_writer(&checkpoint(written_by), committed_by).expect("nothing speaks against it");
        }
        let error = check_writer(&checkpoint(Some(1)), Some(2)).expect_err("it is another epoch 4");
        assert_eq!(error.state(), SqlState::ObjectNotInPrerequisiteState);
        assert_eq!(error.fault(), Fault::External { retry: false });
    }
}
