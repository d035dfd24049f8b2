//! The bounded queue in which the scans that a query takes part in meet it.
//!
//! Invariant: what waits is bounded in bytes, but for one read that is longer by itself; notes come in
//! the order in which they were sent.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::read::SharedRead;
use crate::clock;
use crate::error::Error;
use crate::types::{Offset, PartitionId};

/// What a scan tells one of its members, of the membership with this number.
pub(in crate::engine) enum Note {
    /// Messages, ends, problems.
    Read {
        membership: u64,
        scan: usize,
        read: Arc<SharedRead>,
    },
    /// From these offsets on its reads come.
    Joined {
        membership: u64,
        scan: usize,
        from: Vec<(PartitionId, Offset)>,
    },
    /// Its queue was full for too long: no more reads come from this scan.
    FellOut { membership: u64 },
    /// The topic has partitions that nobody of the group reads.
    Grown {
        membership: u64,
        partitions: Vec<PartitionId>,
    },
    /// The scan has ended by an error.
    Failed { membership: u64, error: Error },
    /// There is something else to look at.
    Wake,
}

impl Note {
    /// Whom it is for; `None`: it is for nobody.
    pub(in crate::engine) fn membership(&self) -> Option<u64> {
        match self {
            Self::Read { membership, .. }
            | Self::Joined { membership, .. }
            | Self::FellOut { membership }
            | Self::Grown { membership, .. }
            | Self::Failed { membership, .. } => Some(*membership),
            Self::Wake => None,
        }
    }
}

/// What became of a read that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    Taken,
    Full,
    /// The query is gone.
    Closed,
}

/// The queue of one query.
pub(in crate::engine) struct Queue {
    bytes_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    notes: VecDeque<Note>,
    bytes: usize,
    /// Whoever takes is not to be woken by fewer reads.
    awaited: usize,
    /// Threads that wait for a change.
    waiting: usize,
    is_closed: bool,
}

impl State {
    fn push(&mut self, membership: u64, scan: usize, read: &Arc<SharedRead>) {
        self.bytes += read.bytes();
        self.notes.push_back(Note::Read {
            membership,
            scan,
            read: Arc::clone(read),
        });
    }
}

impl Queue {
    /// An empty one.
    pub(in crate::engine) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits up to `patience` for room for a read.
    pub(super) fn offer(
        &self,
        membership: u64,
        scan: usize,
        read: &Arc<SharedRead>,
        patience: Duration,
    ) -> Offer {
        let until = clock::instant() + patience;
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return Offer::Closed;
            }
            if state.bytes == 0 || state.bytes + read.bytes() <= self.bytes_max {
                break;
            }
            if state.awaited > 0 {
                state.awaited = 0;
                self.changed.notify_all();
            }
            match self.wait(state, until) {
                Some(again) => state = again,
                None => return Offer::Full,
            }
        }
        state.push(membership, scan, read);
        if state.notes.len() >= state.awaited {
            self.tell_waiting(state);
        }
        Offer::Taken
    }

    /// Sends a read that weighs little, whether there is room or not.
    pub(super) fn push(&self, membership: u64, scan: usize, read: &Arc<SharedRead>) {
        let mut state = self.lock();
        if !state.is_closed {
            state.push(membership, scan, read);
        }
        state.awaited = 0;
        self.tell_waiting(state);
    }

    /// Whether no read waits.
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.lock().bytes == 0
    }

    /// Sends a note without a weight.
    pub(in crate::engine) fn tell(&self, note: Note) {
        let mut state = self.lock();
        state.notes.push_back(note);
        state.awaited = 0;
        self.tell_waiting(state);
    }

    /// Wakes whoever takes; if something waits there he is awake.
    pub(in crate::engine) fn wake(&self) {
        let mut state = self.lock();
        if state.notes.is_empty() {
            state.notes.push_back(Note::Wake);
        }
        state.awaited = 0;
        self.tell_waiting(state);
    }

    /// Takes the next note, for which it waits up to `timeout`.
    pub(in crate::engine) fn take(&self, timeout: Duration) -> Option<Note> {
        let until = clock::instant() + timeout;
        let mut state = self.lock();
        loop {
            if let Some(note) = state.notes.pop_front() {
                if let Note::Read { read, .. } = &note {
                    state.bytes -= read.bytes();
                    self.tell_waiting(state);
                }
                return Some(note);
            }
            state = self.wait(state, until)?;
        }
    }

    /// Waits until so many reads wait, no more have room, or there is something else to look at. Meanwhile nobody wakes
    /// whoever takes for each of them.
    pub(in crate::engine) fn await_more(&self, reads: usize, until: Instant) {
        let mut state = self.lock();
        state.awaited = reads;
        while state.notes.len() < state.awaited {
            match self.wait(state, until) {
                Some(again) => state = again,
                None => {
                    self.lock().awaited = 0;
                    return;
                }
            }
        }
        state.awaited = 0;
    }

    /// Nothing more is taken: who offers is told.
    pub(in crate::engine) fn close(&self) {
        let mut state = self.lock();
        *state = State {
            is_closed: true,
            waiting: state.waiting,
            ..Default::default()
        };
        self.tell_waiting(state);
    }

    /// Tells those who wait of a change. Most often nobody does, and the call would ask the system in vain.
    fn tell_waiting(&self, state: MutexGuard<'_, State>) {
        let is_awaited = state.waiting > 0;
        drop(state);
        if is_awaited {
            self.changed.notify_all();
        }
    }

    /// Waits for a change; `None`: the time is over.
    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        until: Instant,
    ) -> Option<MutexGuard<'a, State>> {
        let left = until.saturating_duration_since(clock::instant());
        if left.is_zero() {
            return None;
        }
        state.waiting += 1;
        let waited = self.changed.wait_timeout(state, left);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        Some(state)
    }
}
