//! What a statement, or a session, sets for a continuous query beside its SQL.

use std::time::Duration;

use super::Trigger;

/// How a query runs, as far as its SQL does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueryOptions {
    /// A group of an aggregate without a window is dropped when no row touched it for so long.
    /// `None`: it is kept.
    pub state_ttl: Option<Duration>,
    /// How long a window still takes rows after the watermark has reached its end. `None`: what
    /// its own clause says, or not at all.
    pub allowed_lateness: Option<Duration>,
    /// When micro-batches run.
    pub trigger: Trigger,
    /// How often an epoch ends. `None`: as the server has it.
    pub checkpoint_interval: Option<Duration>,
    /// One that takes its messages by their times takes so many of a partition in a micro-batch at the most.
    /// `None`: some thousand.
    pub rows_max: Option<usize>,
    /// Messages of several partitions are taken in the order of their event times, as far as they are read.
    pub by_time: bool,
    /// It stands still until it is told to go on.
    pub paused: bool,
}
