//! What a query must remember across a restart.
//!
//! Owns the files under `DIR/queries/`, or where else they are to lie. Knows nothing of running queries.
//!
//! ```text
//! checkpoint-..6.json   epoch 6: text, offsets, watermarks, counters, notes
//!                       table A ── state-..2.arrow [0..900], state-..6.arrow [0..80]
//! checkpoint-..7.json   epoch 7: ..
//!                       table A ── state-..2.arrow [0..900], state-..6.arrow [0..80],
//!                                  state-..7.arrow [0..96]
//!                       table B ── state-..7.arrow [96..320]
//! ```
//! A state file holds the rows that changed in its epoch; a manifest names all that its epoch needs.
//! The last two manifests are kept, and every state file that one of them names.
//! Invariant: a checkpoint that is read is one that was written, whole; otherwise it is refused.

mod storage;
mod in_memory;
mod objects;
mod manifest;
mod segment;
mod fold;
mod decide;
mod store;
mod place;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::{Offset, PartitionId, StateImage};

pub use in_memory::InMemory;
pub use objects::ObjectPlace;
pub use place::{CheckpointPlace, OpenCheckpoints};
pub use storage::{Fill, LocalDirectory, Storage};
pub use store::{CheckpointStore, Recovered, Written};

/// All that a query holds between two micro-batches.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The epoch that ended; 0 before the first row: where the query began to read.
    pub epoch: u64,
    /// The statement that it belongs to; a changed one cannot go on from it.
    pub text: String,
    /// In how many lanes the state lies.
    pub lanes: usize,
    /// How far each of the query's inputs was read, in the plan's order.
    pub inputs: Vec<InputMark>,
    /// The query's watermark. Microseconds since the Unix epoch.
    pub watermark: i64,
    /// The rows that a LIMIT still allows.
    pub left: Option<u64>,
    /// Counters, by the engine's names.
    pub counters: BTreeMap<String, u64>,
    /// What the operators hold.
    pub state: StateImage,
}

/// How far one input was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputMark {
    /// The topic.
    pub topic: String,
    /// The cluster's own name for the topic, where it is known: one that is created again has another.
    pub topic_id: Option<String>,
    /// The cluster's name of itself, where it is known.
    pub cluster_id: Option<String>,
    /// The partitions.
    pub partitions: BTreeMap<PartitionId, PartitionMark>,
}

/// How far one partition was read. Times are microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionMark {
    /// The first offset that was not read.
    pub next: Offset,
    /// Its watermark, if it has said one.
    pub watermark: Option<i64>,
    /// The greatest event time that was seen.
    pub greatest_event: Option<i64>,
}

/// Which epoch is true, by the act that commits one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The newest checkpoint: writing it is the commit.
    Latest,
    /// The one that the sink names; `None`: it has never committed one, so that epoch 0 is true.
    Epoch(Option<u64>),
}
