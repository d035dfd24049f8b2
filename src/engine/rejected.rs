//! Messages that are no rows, and rows that came too late: what is told of one.

use std::sync::Arc;

use super::lane::{LateMessage, Rejection};
use super::set_aside::{SetAside, ToTopic};
use crate::clock::SharedClock;
use crate::error::{Error, Result, SqlState};
use crate::plan::{OnError, ScanSpec};
use crate::scan::{Rejected, RejectedSink};
use crate::types::{MessageBatch, ProcessingTime};

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
                    self.set_aside.dead(letter, None, ToTopic::Later);
                }
                self.set_aside.persist_now_and_then(at)
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
