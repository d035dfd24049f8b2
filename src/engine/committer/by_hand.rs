//! A committer without a thread: what is handed over is done when somebody asks for it, for simulations.
//!
//! Invariant: what is done, and in which order, is what the thread does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Committer, Hands, Keeper, Shared, State, Worker};
use crate::checkpoint::CheckpointStore;

/// Does one thing after the other; all clones are the same.
#[derive(Clone)]
pub(in crate::engine) struct ByHand(Arc<Mutex<Worker>>);

impl Committer {
    /// Starts no thread: what is handed over is done by whoever holds the second.
    pub(in crate::engine) fn by_hand(
        keeper: Keeper,
        checkpoints: CheckpointStore,
    ) -> (Self, ByHand) {
        let shared = Arc::new(Shared::default());
        let hand = ByHand(Arc::new(Mutex::new(Worker {
            shared: Arc::clone(&shared),
            keeper,
            checkpoints,
        })));
        let hands = Box::new(hand.clone());
        (Self { shared, hands }, hand)
    }
}

impl ByHand {
    /// Does the next thing that was handed over; false when there is none, or one before has failed.
    pub(in crate::engine) fn step(&self) -> bool {
        let mut worker = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = Arc::clone(&worker.shared);
        let work = {
            let mut state = shared.lock();
            let ended = state.closed || state.failed.is_some();
            (!ended).then(|| state.take()).flatten()
        };
        let Some(work) = work else { return false };
        if let Err(error) = worker.one(work) {
            shared.fail(error);
        }
        shared.lock().bytes_in_hand = 0;
        true
    }
}

impl Hands for ByHand {
    fn wait<'a>(&self, shared: &'a Shared, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        drop(state);
        assert!(self.step(), "what is waited for was handed over");
        shared.lock()
    }
}
