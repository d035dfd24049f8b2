//! Cancelling a statement from another connection, as PostgreSQL's protocol has it.
//!
//! Invariant: only the holder of a connection's secret key can cancel its statement, and only the
//! statement that runs when the request arrives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The connections that can be cancelled. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Cancellations {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    next_pid: i32,
    by_pid: BTreeMap<i32, (i32, Arc<Notify>)>,
}

/// One connection's place among those that can be cancelled; it leaves when dropped.
#[derive(Debug)]
pub(super) struct Registration {
    all: Cancellations,
    /// Identifies the connection, as a process does in PostgreSQL.
    pub pid: i32,
    /// What a cancel request must know.
    pub key: i32,
    /// Wakes who waits for the running statement to be cancelled.
    pub cancelled: Arc<Notify>,
}

impl Cancellations {
    /// Adds a connection.
    pub(super) fn register(&self) -> Registration {
        let [a, b, c, d, ..] = uuid::Uuid::new_v4().into_bytes();
        let key = i32::from_be_bytes([a, b, c, d]);
        let cancelled = Arc::new(Notify::new());
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = loop {
            shared.next_pid = shared.next_pid.checked_add(1).unwrap_or(1);
            if !shared.by_pid.contains_key(&shared.next_pid) {
                break shared.next_pid;
            }
        };
        shared.by_pid.insert(pid, (key, Arc::clone(&cancelled)));
        Registration {
            all: self.clone(),
            pid,
            key,
            cancelled,
        }
    }

    /// Cancels what the connection is doing, if the key is right.
    pub(super) fn cancel(&self, pid: i32, key: i32) {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((expected, cancelled)) = shared.by_pid.get(&pid)
            && *expected == key
        {
            cancelled.notify_waiters();
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut shared = self
            .all
            .shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        shared.by_pid.remove(&self.pid);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn only_the_right_key_cancels_and_only_what_runs() {
        let all = Cancellations::default();
        let one = all.register();
        all.cancel(one.pid, one.key);
        let mut running = Box::pin(one.cancelled.notified());
        assert_eq!(
            (&mut running).now_or_never(),
            None,
            "an earlier request is forgotten"
        );
        all.cancel(one.pid, one.key.wrapping_add(1));
        all.cancel(one.pid + 1, one.key);
        assert_eq!((&mut running).now_or_never(), None);
        all.cancel(one.pid, one.key);
        assert_eq!((&mut running).now_or_never(), Some(()));
    }

    #[test]
    fn a_connection_that_ended_is_forgotten() {
        let all = Cancellations::default();
        drop(all.register());
        assert!(all.shared.lock().unwrap().by_pid.is_empty());
    }
}
