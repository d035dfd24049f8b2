//! Messages that are no rows, and rows that came too late: kept, within bounds, to be looked at.
//!
//! Invariant: a message is kept once, however many queries met it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lane::{LateMessage, Rejection};
use crate::clock::SharedClock;
use crate::error::{Error, Result, SqlState};
use crate::plan::{OnError, ScanSpec};
use crate::scan::{Rejected, RejectedSink};
use crate::types::{MessageBatch, Offset, PartitionId, ProcessingTime};

/// Bytes kept of each kind.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// A message that is no row of its table.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The table.
    pub table: String,
    /// The topic.
    pub topic: String,
    /// The message, and why it is no row.
    pub message: Rejection,
    /// When it was met.
    pub at: ProcessingTime,
}

/// A row whose window had closed when it came.
#[derive(Debug, Clone)]
pub struct LateRecord {
    /// The query whose window it was.
    pub query: String,
    /// The table.
    pub table: String,
    /// The row.
    pub late: LateMessage,
    /// When it was met.
    pub at: ProcessingTime,
}

/// What was set aside on this server.
#[derive(Debug)]
pub struct SetAside {
    dead: Mutex<Kept<(String, PartitionId, Offset), DeadLetter>>,
    late: Mutex<Kept<(String, PartitionId, Offset), LateRecord>>,
}

/// Values by key, in order of arrival, within bounds.
#[derive(Debug)]
struct Kept<K, V> {
    by_key: BTreeMap<K, V>,
    order: VecDeque<(K, usize)>,
    bytes: usize,
    /// The oldest go when there are more.
    rows_max: usize,
}

impl<K: Ord + Clone, V> Kept<K, V> {
    fn new(rows_max: usize) -> Self {
        Self {
            by_key: BTreeMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            rows_max,
        }
    }

    /// True if the key is new.
    fn keep(&mut self, key: K, value: V, bytes: usize) -> bool {
        if self.by_key.insert(key.clone(), value).is_some() {
            return false;
        }
        self.order.push_back((key, bytes));
        self.bytes += bytes;
        while self.order.len() > self.rows_max || self.bytes > KEPT_BYTES_MAX {
            let Some((oldest, bytes)) = self.order.pop_front() else {
                break;
            };
            self.by_key.remove(&oldest);
            self.bytes -= bytes;
        }
        true
    }
}

impl SetAside {
    /// Nothing is set aside yet; so many messages of each kind are kept at the most.
    pub fn new(dead_max: usize, late_max: usize) -> Self {
        Self {
            dead: Mutex::new(Kept::new(dead_max)),
            late: Mutex::new(Kept::new(late_max)),
        }
    }

    /// Keeps a message that is no row; false if it was met before.
    pub fn dead(&self, letter: DeadLetter) -> bool {
        let message = &letter.message;
        let key = (letter.table.clone(), message.partition, message.offset);
        let bytes = size(message);
        lock(&self.dead).keep(key, letter, bytes)
    }

    /// Keeps a row that came too late; false if its query met it before.
    pub fn late(&self, record: LateRecord) -> bool {
        let message = &record.late.message;
        let key = (record.query.clone(), message.partition, message.offset);
        let bytes = size(message);
        lock(&self.late).keep(key, record, bytes)
    }

    /// The messages that are no rows, by table, partition and offset.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        lock(&self.dead).by_key.values().cloned().collect()
    }

    /// The rows that came too late, by query, partition and offset.
    pub fn late_rows(&self) -> Vec<LateRecord> {
        lock(&self.late).by_key.values().cloned().collect()
    }

    /// Forgets a dropped table's messages.
    pub fn forget_table(&self, table: &str) {
        let mut dead = lock(&self.dead);
        dead.by_key.retain(|key, _| key.0 != table);
        let Kept {
            by_key,
            order,
            bytes,
            ..
        } = &mut *dead;
        order.retain(|(key, size)| {
            let kept = by_key.contains_key(key);
            *bytes -= if kept { 0 } else { *size };
            kept
        });
    }
}

/// Snapshots set messages aside too.
#[derive(Debug)]
pub struct SnapshotRejects {
    set_aside: Arc<SetAside>,
    clock: SharedClock,
    on_error: OnError,
}

impl SnapshotRejects {
    /// Keeps what a table's snapshots reject, as the table wants it.
    pub fn new(set_aside: Arc<SetAside>, clock: SharedClock, on_error: OnError) -> Self {
        Self {
            set_aside,
            clock,
            on_error,
        }
    }
}

impl RejectedSink for SnapshotRejects {
    fn reject(
        &self,
        spec: &ScanSpec,
        messages: &MessageBatch,
        rejected: &[Rejected],
    ) -> Result<()> {
        let at = self.clock.now();
        let letter = |rejected: &Rejected| DeadLetter {
            table: spec.table.clone(),
            topic: spec.topic.clone(),
            message: Rejection::of(messages, rejected.message, rejected.reason.clone()),
            at,
        };
        match (self.on_error, rejected.first()) {
            (OnError::Fail, Some(bad)) => Err(bad_message(&spec.topic, &letter(bad).message)),
            (OnError::DeadLetter, Some(_)) => {
                for letter in rejected.iter().map(letter) {
                    self.set_aside.dead(letter);
                }
                Ok(())
            }
            (OnError::Skip, _) | (_, None) => Ok(()),
        }
    }
}

/// The error of a message that is no row, where the table wants that to be one.
pub(super) fn bad_message(topic: &str, message: &Rejection) -> Error {
    Error::user(SqlState::DataException, message.reason.clone()).detail(format!(
        "The message is at offset {} of partition {} of topic \"{topic}\".",
        message.offset.0, message.partition.0
    ))
}

fn size(message: &Rejection) -> usize {
    let bytes = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
    256 + bytes(&message.key) + bytes(&message.payload) + message.reason.len()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
