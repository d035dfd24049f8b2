//! Reading a topic once for all queries that stand at the same place in it.
//!
//! Owns the fetch threads. Knows nothing of what a query does with its rows, but for the columns that
//! it needs, and which queries make the same groups of them.
//!
//! ```text
//! Scan (thread): fetch → decode the union of columns ─┬→ queue of query a ─→ its lanes
//!                                                     └→ queue of query b ─→ its lanes
//! ```
//! Where several members begin alike up to the aggregate (`prefix`), the first lane that comes to a batch
//! makes its groups for all of them; where several begin with one condition (`selection`), it picks the rows that
//! pass it for all.
//! A query begins with a group of its own, or in one that stands where it begins; later it changes over
//! to an older group that has come near. A member that takes nothing while others starve falls out, and
//! reads by itself until it stands near again.
//! Invariant: what a query gets does not depend on who reads with it.

mod alike;
mod gathered;
mod group;
mod part;
mod prefix;
mod queue;
mod read;
mod scan_thread;
mod selection;
#[cfg(test)]
mod tests;

pub(super) use alike::Common;
pub(super) use group::SharedScans;
pub(super) use part::{Manner, Part, Passed};
#[cfg(test)]
pub(super) use prefix::Prefix;
pub(super) use queue::{Note, Queue};
pub(super) use read::{Fetched, MemberRows, UnionDecode, Wanted};
pub(super) use selection::Selection;
