//! Transactions in one partition: which are open, which were aborted.
//!
//! Pure: no I/O. Invariant: the last stable offset is the first offset of the oldest open
//! transaction, so no reader of committed data sees past it.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// The open and aborted transactions of a partition.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogTransactions {
    /// First offset to producer.
    open: BTreeMap<i64, i64>,
    /// In the order of their markers.
    aborted: VecDeque<Aborted>,
}

/// Records of a producer that readers of committed data must skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// The offset of the marker.
    pub(crate) last_offset: i64,
}

impl LogTransactions {
    /// A batch of a transaction was written.
    pub(crate) fn written(&mut self, producer_id: i64, base_offset: i64) {
        if !self.is_open(producer_id) {
            self.open.insert(base_offset, producer_id);
        }
    }

    /// A marker was written at an offset.
    pub(crate) fn ended(&mut self, producer_id: i64, committed: bool, marker_offset: i64) {
        let mut open = self.open.iter();
        let Some(first_offset) = open
            .find(|(_, id)| **id == producer_id)
            .map(|(first, _)| *first)
        else {
            return;
        };
        self.open.remove(&first_offset);
        if !committed {
            self.aborted.push_back(Aborted {
                producer_id,
                first_offset,
                last_offset: marker_offset,
            });
        }
    }

    /// True while the producer has a transaction here.
    pub(crate) fn is_open(&self, producer_id: i64) -> bool {
        self.open.values().any(|id| *id == producer_id)
    }

    /// The producers that have a transaction here.
    pub(crate) fn open_producers(&self) -> Vec<i64> {
        self.open.values().copied().collect()
    }

    /// Where readers of committed data stop, in a log that ends at `end`.
    pub(crate) fn last_stable_offset(&self, end: i64) -> i64 {
        self.open.keys().next().copied().unwrap_or(end)
    }

    /// The aborted transactions that touch offsets from `from` up to `to` (exclusive).
    pub(crate) fn aborted_within(&self, from: i64, to: i64) -> Vec<Aborted> {
        let first = self
            .aborted
            .partition_point(|aborted| aborted.last_offset < from);
        self.aborted
            .range(first..)
            .filter(|aborted| aborted.first_offset < to)
            .copied()
            .collect()
    }

    /// Forgets what lies before the log's start.
    pub(crate) fn forget_before(&mut self, start: i64) {
        while self
            .aborted
            .front()
            .is_some_and(|aborted| aborted.last_offset < start)
        {
            self.aborted.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stable_offset_waits_for_the_oldest_open_transaction() {
        let mut log = LogTransactions::default();
        log.written(1, 10);
        log.written(2, 12);
        log.written(1, 14);
        assert_eq!(log.last_stable_offset(20), 10);
        log.ended(1, false, 20);
        assert_eq!(log.last_stable_offset(21), 12);
        log.ended(2, true, 21);
        log.ended(2, true, 22); // A marker without a transaction changes nothing.
        assert_eq!(log.last_stable_offset(23), 23);
        let aborted = Aborted {
            producer_id: 1,
            first_offset: 10,
            last_offset: 20,
        };
        assert_eq!(log.aborted_within(0, 11), [aborted]);
        assert_eq!(log.aborted_within(20, 30), [aborted]);
        assert_eq!(log.aborted_within(0, 10), []);
        assert_eq!(log.aborted_within(21, 30), []);
        log.forget_before(21);
        assert_eq!(log, LogTransactions::default());
    }
}
