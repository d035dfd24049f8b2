//! What lies in an outbox, and what is told of it. Plain data.

use std::time::Duration;

use crate::types::ProcessingTime;

/// A row that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its place in the outbox: later ones have greater numbers.
    pub number: u64,
    /// The epoch that brought it.
    pub epoch: u64,
    /// Its place in the epoch, from 0 on.
    pub row: u64,
    /// The time of its micro-batch.
    pub at: ProcessingTime,
    /// The same whenever it is sent, and no other's.
    pub key: String,
    /// The row as a JSON object.
    pub payload: Vec<u8>,
}

/// A row that is to wait, or several that go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sink) struct Item {
    pub(in crate::sink) at: ProcessingTime,
    /// Its idempotency key, if the row brings one; for files the folder.
    pub(in crate::sink) key: Option<String>,
    /// How many rows it is.
    pub(in crate::sink) rows: u64,
    pub(in crate::sink) payload: Vec<u8>,
}

/// What is known of a waiting item without reading what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sink) struct Head {
    /// Its place in the outbox.
    pub(in crate::sink) number: u64,
    pub(in crate::sink) at: ProcessingTime,
    /// As it was given; empty if none was.
    pub(in crate::sink) key: String,
    /// The length of what it holds.
    pub(in crate::sink) bytes: u64,
}

/// What an entry costs beside its row.
const ENTRY_BYTES: u64 = 64;

impl Item {
    /// What it counts for in the outbox's bound.
    pub(super) fn bytes(&self) -> u64 {
        bytes(self.key.as_deref().unwrap_or_default(), &self.payload)
    }
}

/// What a message counts for in the outbox's bound.
pub(super) fn bytes(key: &str, payload: &[u8]) -> u64 {
    (key.len() + payload.len()) as u64 + ENTRY_BYTES
}

/// Why a message could not be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: Option<u16>,
    pub(super) attempts: u32,
    pub(super) reason: String,
}

/// A message that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// What it was.
    pub message: Message,
    /// What the destination answered, if that was an HTTP status.
    pub status: Option<u16>,
    /// How often it was sent.
    pub attempts: u32,
    /// Why it was given up.
    pub reason: String,
    /// When it was given up.
    pub died_at: ProcessingTime,
}

/// How an outbox stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxState {
    /// Rows that wait for the destination.
    pub waiting: u64,
    /// What these count for in the outbox's bound.
    pub waiting_bytes: u64,
    /// The time of the oldest of them.
    pub oldest_at: Option<ProcessingTime>,
    /// Rows that the destination has taken since the server started.
    pub delivered: u64,
    /// Sendings that did not succeed and were repeated, since the server started.
    pub retried: u64,
    /// Messages given up and kept as dead letters.
    pub dead: u64,
    /// What went wrong last, and when.
    pub last_error: Option<(String, ProcessingTime)>,
    /// The last attempt did not succeed.
    pub is_failing: bool,
    /// Rows have waited for room since then, and nothing has left.
    pub full_since: Option<ProcessingTime>,
}

impl OutboxState {
    /// True if rows have waited for room for so long, and the destination takes none: who waits for them has
    /// no end in sight.
    pub fn is_stuck(&self, now: ProcessingTime, patience: Duration) -> bool {
        let Some(since) = self.full_since else {
            return false;
        };
        let waited = u64::try_from(now.0.saturating_sub(since.0)).unwrap_or(0);
        self.is_failing && Duration::from_micros(waited) >= patience
    }
}
