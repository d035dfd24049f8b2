//! What all queries hold together, and the bound on it.
//!
//! Invariant: over the bound it is the query that holds the most which ends; the others go on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bytes held by query. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct HeldMemory {
    bytes_max: u64,
    held: Arc<Mutex<BTreeMap<u64, u64>>>,
}

/// All queries hold too much, and one of them the most of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMuch {
    /// What all hold.
    pub bytes: u64,
    /// What they may hold.
    pub bytes_max: u64,
}

impl HeldMemory {
    /// Nothing held.
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            held: Arc::default(),
        }
    }

    /// A query's share, nothing yet.
    pub(super) fn share(&self, query: u64) -> Share {
        let all = self.clone();
        Share { all, query }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One query's share; what it holds is gone with it.
#[derive(Debug)]
pub(super) struct Share {
    all: HeldMemory,
    query: u64,
}

impl Share {
    /// Notes what the query holds now; tells when it is to end.
    pub(super) fn hold(&self, bytes: u64) -> Result<(), TooMuch> {
        let mut held = self.all.lock();
        held.insert(self.query, bytes);
        let sum: u64 = held.values().sum();
        let bytes_max = self.all.bytes_max;
        let is_most = held.values().all(|others| *others <= bytes);
        match sum > bytes_max && is_most {
            true => Err(TooMuch {
                bytes: sum,
                bytes_max,
            }),
            false => Ok(()),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.lock().remove(&self.query);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_holds_the_most_ends() {
        let all = HeldMemory::new(100);
        let (small, large) = (all.share(1), all.share(2));
        assert_eq!(small.hold(30), Ok(()));
        assert_eq!(large.hold(70), Ok(()));
        assert_eq!(small.hold(31), Ok(()), "the other one holds more");
        let too_much = TooMuch {
            bytes: 101,
            bytes_max: 100,
        };
        assert_eq!(large.hold(70), Err(too_much));
        drop(large);
        assert_eq!(small.hold(90), Ok(()));
    }
}
