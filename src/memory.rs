//! What the allocator keeps for each thread, and how a thread that has nothing to do gives it back.
//!
//! A server has threads for each query, and most of them wait most of the time. The allocator keeps the pages that a
//! thread has freed for the thread's next row; only the thread itself can give them back.
#![expect(unsafe_code, reason = "the allocator's own function has no safe name")]

use std::time::Duration;

/// A thread that has had nothing to do for so long gives back.
pub(crate) const IDLE_AFTER: Duration = Duration::from_secs(3);

/// Gives back what the allocator keeps for this thread; takes about a millisecond.
pub(crate) fn give_back() {
    // SAFETY: it has no precondition, and looks at the memory of its own thread. Without mimalloc as the
    // process's allocator there is none.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// A thread that looks from time to time whether it has work.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Idle {
    since: Option<Duration>,
    gave_back: bool,
}

impl Idle {
    /// It has had work, or none, at this monotonic time. Gives back once it has had none for a while.
    pub(crate) fn note(&mut self, had_work: bool, now: Duration) {
        if had_work {
            *self = Self::default();
            return;
        }
        let since = *self.since.get_or_insert(now);
        if !self.gave_back && now.saturating_sub(since) >= IDLE_AFTER {
            self.gave_back = true;
            give_back();
        }
    }
}
