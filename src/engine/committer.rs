//! Makes a query's epochs last, on a thread of its own, so that the query goes on meanwhile.
//!
//! ```text
//! query       stage  stage  hand(7)  stage  stage  ..        done(7)  ..
//! committer     send   send   └ checkpoint 7, sink's commit ┘   send  send
//! ```
//! Invariants: everything is done in the order in which it was handed over; one epoch at the most is
//! under way; what waits is bounded in bytes; once the committer is dropped, nothing of it runs any
//! more.

mod bursts;
#[cfg(test)]
mod by_hand;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::input::WakeQuery;
use super::materialized::Materialized;
use bursts::Bursts;
#[cfg(test)]
pub(super) use by_hand::ByHand;

use crate::checkpoint::{Checkpoint, CheckpointStore};
use crate::clock;
use crate::crash_point;
use crate::error::{Error, Result};
use crate::sink::Sink;
use crate::task;
use crate::types::{ChangeBatch, ProcessingTime};

/// Rows that wait may hold so many bytes; then the query waits too.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// A row may count for so many times its bytes in the sink: as text, with what is noted of it.
const GROWTH: u64 = 64;
/// How often a query that waits looks whether it is to stop, and how often a backlog is asked for.
const LOOK: Duration = Duration::from_millis(100);
/// The same without a backlog, which then comes with work alone.
const IDLE_LOOK: Duration = Duration::from_secs(3_600);

/// What an epoch is made to last in, besides its checkpoint.
pub(super) enum Keeper {
    /// A view, whose rows are in the checkpoint.
    View(Arc<Materialized>),
    /// The outside world.
    Sink {
        sink: Box<dyn Sink>,
        /// Whether the sink knows the last epoch that counts.
        keeps_epoch: bool,
    },
}

/// The query's end of it.
pub(super) struct Committer {
    shared: Arc<Shared>,
    hands: Box<dyn Hands>,
}

/// Do what is handed over.
trait Hands {
    /// Waits a moment for something to be done.
    fn wait<'a>(&self, shared: &'a Shared, state: MutexGuard<'a, State>) -> MutexGuard<'a, State>;
}

/// A thread of its own; dropping it waits for what is being done.
struct Thread(Option<JoinHandle<()>>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Rows handed to the sink that the outside has not confirmed, as of the last look.
    backlog: AtomicU64,
    room: Room,
}

/// Bytes that the sink may still be given in this epoch, as of the last look.
struct Room(AtomicU64);

impl Default for Room {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    /// The bytes of the rows that wait.
    bytes: usize,
    /// The bytes of the rows that are being staged.
    bytes_in_hand: usize,
    /// True from the moment an epoch is handed over until it lasts.
    is_busy: bool,
    /// An epoch lasts of which the query does not know yet.
    done: bool,
    failed: Option<Error>,
    /// The query is gone.
    closed: bool,
    wake: Option<WakeQuery>,
}

impl State {
    /// What is to be done next, if anything waits.
    fn take(&mut self) -> Option<Work> {
        let work = self.waiting.pop_front()?;
        self.bytes_in_hand = match &work {
            Work::Rows(rows, _) => rows.rows().get_array_memory_size(),
            Work::Begin(_) | Work::Epoch(_) => 0,
        };
        self.bytes -= self.bytes_in_hand;
        Some(work)
    }
}

enum Work {
    Rows(ChangeBatch, ProcessingTime),
    /// Where a query begins that goes on from nothing.
    Begin(Box<Checkpoint>),
    Epoch(Box<Checkpoint>),
}

impl Committer {
    /// Starts the thread of a query.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn start(name: &str, keeper: Keeper, checkpoints: CheckpointStore) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let end = Worker {
            shared: Arc::clone(&shared),
            keeper,
            checkpoints,
        };
        let thread = task::spawn_thread(&format!("commit {name}"), move || end.run());
        let thread = thread
            .map_err(|error| Error::internal(format!("no thread to commit epochs on: {error}")))?;
        Ok(Self {
            shared,
            hands: Box::new(Thread(Some(thread))),
        })
    }

    /// Whom to wake when an epoch lasts.
    pub(super) fn on_done(&self, wake: WakeQuery) {
        self.shared.lock().wake = Some(wake);
    }

    /// Hands rows over, waits while too many wait already; false when `stopping` came meanwhile.
    ///
    /// # Errors
    /// When something handed over before has failed.
    pub(super) fn stage(
        &self,
        rows: Vec<ChangeBatch>,
        at: ProcessingTime,
        stopping: impl Fn() -> bool,
    ) -> Result<bool> {
        let mut state = self.shared.lock();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        if rows.is_empty() {
            return Ok(true);
        }
        for rows in rows {
            while state.bytes > WAITING_BYTES_MAX && state.failed.is_none() {
                if stopping() {
                    return Ok(false);
                }
                state = self.hands.wait(&self.shared, state);
            }
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            state.bytes += rows.rows().get_array_memory_size();
            state.waiting.push_back(Work::Rows(rows, at));
        }
        self.shared.changed.notify_all();
        Ok(true)
    }

    /// True if the rows handed over fill the sink, so that only the end of their epoch makes room for more. Waits for
    /// those on their way when they could fill it.
    pub(super) fn is_filled(&self, stopping: impl Fn() -> bool) -> bool {
        let mut state = self.shared.lock();
        loop {
            let room = self.shared.room.0.load(Ordering::Relaxed);
            let on_their_way = (state.bytes + state.bytes_in_hand) as u64;
            if on_their_way == 0 || state.failed.is_some() {
                return room == 0;
            }
            if on_their_way.saturating_mul(GROWTH) < room || stopping() {
                return false;
            }
            state = self.hands.wait(&self.shared, state);
        }
    }

    /// Hands an epoch's end over. None is under way.
    pub(super) fn hand(&self, checkpoint: Checkpoint) {
        self.hand_work(Work::Epoch(Box::new(checkpoint)));
    }

    /// Writes the checkpoint of a query before its first row; it lasts when this returns.
    ///
    /// # Errors
    /// When it could not be written.
    pub(super) fn begin(&self, checkpoint: Checkpoint) -> Result<()> {
        self.hand_work(Work::Begin(Box::new(checkpoint)));
        self.wait().map(drop)
    }

    fn hand_work(&self, work: Work) {
        let mut state = self.shared.lock();
        assert!(!state.is_busy, "one epoch at a time");
        state.is_busy = true;
        state.waiting.push_back(work);
        self.shared.changed.notify_all();
    }

    /// Whether the epoch that was handed over lasts by now; true once.
    ///
    /// # Errors
    /// When something has failed.
    pub(super) fn take_done(&self) -> Result<bool> {
        let mut state = self.shared.lock();
        match &state.failed {
            Some(error) => Err(error.clone()),
            None => Ok(std::mem::take(&mut state.done)),
        }
    }

    /// The same, but waits while an epoch is under way.
    ///
    /// # Errors
    /// When something has failed.
    pub(super) fn wait(&self) -> Result<bool> {
        let mut state = self.shared.lock();
        while state.is_busy && state.failed.is_none() {
            state = self.hands.wait(&self.shared, state);
        }
        drop(state);
        self.take_done()
    }

    /// Rows handed over that the outside has not confirmed yet.
    pub(super) fn backlog(&self) -> u64 {
        let state = self.shared.lock();
        let waiting = state.waiting.iter().map(|work| match work {
            Work::Rows(rows, _) => rows.rows().num_rows() as u64,
            Work::Begin(_) | Work::Epoch(_) => 0,
        });
        waiting.sum::<u64>() + self.shared.backlog.load(Ordering::Relaxed)
    }
}

impl Drop for Committer {
    /// Gives up what was not made to last.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Hands for Thread {
    fn wait<'a>(&self, shared: &'a Shared, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        shared.wait(state, LOOK)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take()
            && thread.join().is_err()
        {
            tracing::error!("a committing thread panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is told; for so long at the most.
    fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, limit);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// What is to be done next; `None`: the query is gone. Rows that come when there was nothing to do begin a burst,
    /// so far `apart` from the one before at least.
    fn next(
        &self,
        (bursts, apart): (&mut Bursts, Duration),
        mut look: impl FnMut(),
    ) -> Option<Work> {
        let mut state = self.lock();
        let mut begins = state.waiting.is_empty();
        if std::mem::take(&mut state.bytes_in_hand) > 0 && state.waiting.is_empty() {
            self.changed.notify_all();
        }
        loop {
            if state.closed {
                return None;
            }
            if begins && matches!(state.waiting.front(), Some(Work::Rows(..))) {
                begins = false;
                let rest = bursts.rest(apart, clock::instant());
                if !rest.is_zero() {
                    drop(state);
                    std::thread::sleep(rest);
                    state = self.lock();
                }
                bursts.begin(clock::instant());
                continue;
            }
            if let Some(work) = state.take() {
                self.changed.notify_all();
                return Some(work);
            }
            let has_backlog = self.backlog.load(Ordering::Relaxed) > 0;
            state = self.wait(state, if has_backlog { LOOK } else { IDLE_LOOK });
            look();
        }
    }

    /// An epoch lasts.
    fn done(&self) {
        self.tell(|state| (state.is_busy, state.done) = (false, true));
    }

    fn fail(&self, error: Error) {
        self.tell(|state| state.failed = Some(error));
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        if let Some(wake) = &state.wake {
            wake.wake();
        }
        drop(state);
        self.changed.notify_all();
    }
}

/// The other end of it.
struct Worker {
    shared: Arc<Shared>,
    keeper: Keeper,
    checkpoints: CheckpointStore,
}

impl Worker {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let worked = catch_unwind(AssertUnwindSafe(|| self.work()));
        let ended = worked.unwrap_or_else(|_| Err(Error::internal("committing an epoch panicked")));
        if let Err(error) = ended {
            shared.fail(error);
        }
    }

    fn work(&mut self) -> Result<()> {
        let (shared, mut bursts) = (Arc::clone(&self.shared), Bursts::default());
        let apart = match &self.keeper {
            Keeper::View(_) => Duration::ZERO,
            Keeper::Sink { sink, .. } => sink.bursts_apart(),
        };
        while let Some(work) = shared.next((&mut bursts, apart), || self.tell_backlog()) {
            self.one(work)?;
        }
        Ok(())
    }

    fn one(&mut self, work: Work) -> Result<()> {
        match work {
            Work::Rows(rows, at) => {
                if let Keeper::Sink { sink, .. } = &mut self.keeper {
                    sink.stage(&rows, at)?;
                }
            }
            Work::Begin(checkpoint) => {
                self.checkpoints.write(&checkpoint)?;
                if let Keeper::Sink { sink, .. } = &mut self.keeper {
                    sink.claim(checkpoint.epoch)?;
                }
                self.note(checkpoint.epoch);
                self.shared.done();
            }
            Work::Epoch(checkpoint) => {
                self.commit(&checkpoint)?;
                self.shared.done();
            }
        }
        self.tell_backlog();
        Ok(())
    }

    /// Makes what was staged in the checkpoint's epoch last, and the checkpoint itself; the act that
    /// counts comes last.
    fn commit(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let epoch = checkpoint.epoch;
        crash_point::reach("an epoch ends");
        let written = match &mut self.keeper {
            Keeper::View(_) => self.checkpoints.write(checkpoint)?,
            Keeper::Sink {
                sink,
                keeps_epoch: true,
            } => {
                let written = self.checkpoints.write(checkpoint)?;
                crash_point::reach("checkpoint written, sink not committed");
                sink.commit(epoch)?;
                written
            }
            Keeper::Sink { sink, .. } => {
                sink.commit(epoch)?;
                crash_point::reach("sink committed, checkpoint not written");
                self.checkpoints.write(checkpoint)?
            }
        };
        crash_point::reach("an epoch has ended");
        self.note(epoch);
        for sentence in written.left_over {
            tracing::warn!(epoch, "{sentence}");
        }
        Ok(())
    }

    /// A view knows which of its rows last.
    fn note(&self, epoch: u64) {
        if let Keeper::View(view) = &self.keeper {
            view.committed(epoch);
        }
    }

    fn tell_backlog(&self) {
        if let Keeper::Sink { sink, .. } = &self.keeper {
            let (backlog, room) = (sink.backlog(), sink.room());
            self.shared.backlog.store(backlog, Ordering::Relaxed);
            let room = room.unwrap_or(u64::MAX);
            self.shared.room.0.store(room, Ordering::Relaxed);
        }
    }
}
