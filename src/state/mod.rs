//! Keyed state: what stateful operators remember between batches.
//!
//! Owns group tables (keys and accumulators), one a pane. Does no I/O, reads no clock.
//!
//! ```text
//! GroupTable   keys          (market)   BTC  ETH  DOGE      interned once, numbered 0, 1, 2
//!              accumulators  count       12    7     3      one vector a function, by that number
//!                            sum        9.5  1.1   0.2
//! ```
//! Invariant: every accumulator of a table has seen exactly the groups that its keys hold.

mod accumulator;
mod dirty;
mod group_table;
mod grouped;
mod interner;
mod keys;
mod native;
mod packed_key;
mod recent_texts;
mod per_group;
#[cfg(test)]
mod tests;
mod values;

pub use accumulator::Refused;
pub use dirty::{Dirty, GoneKeys};
pub use group_table::{ChangedGroups, Frozen, GroupTable, Groups, Rows, TableUse};
pub use keys::Keys;
pub use values::Values;
