//! The part of an epoch's image that is taken down before the epoch ends.
//!
//! ```text
//! micro-batch │ some groups │ short micro-batch │ some groups │ .. │ the rest: the epoch ends
//! ```
//! When very many groups have changed, to take them all down at once would keep the next micro-batch
//! waiting. Groups that change once more after they were taken down are told again by a later part, as
//! in the pre-copy migration of virtual machines (Clark et al., "Live Migration of Virtual Machines",
//! NSDI 2005): each round takes more groups than a micro-batch can change, so that the rest shrinks.
//! Micro-batches are of one read a lane until the epoch ends: the rounds between them stay short.

use crate::types::{StateImage, TableRows};

/// Groups of a round, beside as many as the micro-batch before it had rows: these take about a
/// millisecond.
pub(super) const GROUPS: usize = 4 * 1024;
/// After so many rounds the epoch ends, whatever is left.
const ROUNDS_MAX: u32 = 4 * 1024;

/// What of the next image has been taken down.
#[derive(Default)]
pub(super) struct Ahead {
    image: StateImage,
    rounds: u32,
}

impl Ahead {
    /// Begins a round; gives where it goes.
    pub(super) fn begin(&mut self) -> &mut StateImage {
        self.rounds += 1;
        &mut self.image
    }

    /// Whether an epoch waits for its rounds.
    pub(super) fn is_under_way(&self) -> bool {
        self.rounds > 0
    }

    /// Whether the epoch has waited long enough.
    pub(super) fn is_long(&self) -> bool {
        self.rounds >= ROUNDS_MAX
    }

    /// Hands over what was taken down.
    pub(super) fn take(&mut self) -> Vec<TableRows> {
        self.rounds = 0;
        std::mem::take(&mut self.image.rows)
    }
}
