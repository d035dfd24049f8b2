//! Chance and time of a simulated world, its faults, and the trace of what happened.
//!
//! Invariant: nothing but the seed decides; after so many faults there are no more, so that a run ends.

use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;

use crate::clock::Clock;
use crate::error::{Error, Result, SqlState};
use crate::types::ProcessingTime;

/// Where the wall clock begins: 2026-01-01.
const START: i64 = 1_767_225_600_000_000;
/// Longer than a sink's epoch may be silent.
const LONG_PAUSE: Duration = Duration::from_secs(4_000);
/// All of them together are less than the time before a script's last rows.
const LONG_PAUSES_MAX: u64 = 5;
/// How far the wall clock jumps at the most.
const JUMP_MAX: i64 = 86_400_000_000;

/// The process ends here; it unwinds so far and no further.
pub(super) struct Crash;

/// What all parts of a simulation share.
#[derive(Debug)]
pub(super) struct World {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    dice: Rng,
    faults_left: u64,
    monotonic: Duration,
    long_pauses_left: u64,
    /// How far the wall clock is from where it should be.
    jumped: i64,
    trace: Vec<String>,
}

impl World {
    /// A world without faults as yet.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            inner: Mutex::new(Inner {
                dice: Rng::with_seed(seed),
                faults_left: 0,
                monotonic: Duration::from_secs(1),
                long_pauses_left: LONG_PAUSES_MAX,
                jumped: 0,
                trace: Vec::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True once in so many times.
    pub(super) fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A number below `end`.
    pub(super) fn below(&self, end: u64) -> u64 {
        self.lock().dice.u64(0..end.max(1))
    }

    /// The same for places in a list.
    pub(super) fn place(&self, end: usize) -> usize {
        self.lock().dice.usize(0..end.max(1))
    }

    /// True once in so many times, while there are faults left; it is told.
    pub(super) fn fault(&self, times: u64, what: &str) -> bool {
        let mut inner = self.lock();
        let hits = inner.dice.u64(0..times) == 0 && inner.faults_left > 0;
        if hits {
            inner.faults_left -= 1;
            inner.trace.push(format!("  fault: {what}"));
        }
        hits
    }

    /// From now on so many faults come at the most.
    pub(super) fn faults_to_come(&self, faults: u64) {
        self.lock().faults_left = faults;
    }

    /// The process may die here.
    pub(super) fn may_crash(&self, times: u64, place: &str) {
        if self.fault(times, &format!("crash {place}")) {
            resume_unwind(Box::new(Crash));
        }
    }

    /// Something outside may refuse, for a while.
    pub(super) fn may_refuse(&self, times: u64, what: &str) -> Result<()> {
        match self.fault(times, what) {
            true => Err(passing(what)),
            false => Ok(()),
        }
    }

    /// Time passes.
    pub(super) fn pass(&self, duration: Duration) {
        self.lock().monotonic += duration;
    }

    /// A long time passes, a few times at the most.
    pub(super) fn long_pause(&self) {
        let mut inner = self.lock();
        if inner.long_pauses_left > 0 {
            inner.long_pauses_left -= 1;
            inner.monotonic += LONG_PAUSE;
            inner.trace.push("  a long time passes".to_owned());
        }
    }

    /// Somebody sets the wall clock.
    pub(super) fn jump(&self) {
        let mut inner = self.lock();
        inner.jumped = inner.dice.i64(-JUMP_MAX..=JUMP_MAX);
        let line = format!("  the wall clock is {} us off", inner.jumped);
        inner.trace.push(line);
    }

    /// Notes what happened.
    pub(super) fn note(&self, line: impl Into<String>) {
        self.lock().trace.push(line.into());
    }

    /// All that happened so far.
    pub(super) fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }
}

impl Clock for World {
    fn now(&self) -> ProcessingTime {
        let inner = self.lock();
        let passed = i64::try_from(inner.monotonic.as_micros()).unwrap_or(i64::MAX);
        ProcessingTime(START + inner.jumped + passed)
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    fn wait(&self, duration: Duration) {
        self.pass(duration);
    }
}

/// Trouble outside that passes by itself.
pub(super) fn passing(what: &str) -> Error {
    Error::external(SqlState::IoError, true, what)
}
