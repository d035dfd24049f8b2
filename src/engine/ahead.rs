//! The part of an epoch's image that is taken down before the epoch ends.
//!
//! ```text
//! micro-batch │ 16,384 groups │ micro-batch │ 16,384 groups │ micro-batch │ the rest: the epoch ends
//! ```
//! When very many groups have changed, to take them all down at once would keep the next micro-batch
//! waiting. Groups that change once more after they were taken down are told again by a later part, as
//! in the pre-copy migration of virtual machines (Clark et al., "Live Migration of Virtual Machines",
//! NSDI 2005): each round takes more groups than a micro-batch can change, so that the rest shrinks.

use crate::types::{StateImage, TableRows};

/// Groups of a round, beside those of the micro-batch before it: these take about a millisecond.
pub(super) const GROUPS: usize = 16 * 1024;
/// After so many rounds the epoch ends, whatever is left.
const ROUNDS_MAX: u32 = 256;

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
