//! The real engine in a made-up world: clock, topics, disk, sink and faults come from one seed.
//!
//! ```text
//! Script (rows of all topics)            World (dice, clock, trace)
//!    └► Feed ─► Query, lanes, watermarks, Committer, CheckpointStore ─► Disk, Outside or view
//!         └ lets time pass, epochs end, partitions appear; crashes the process
//! ```
//! Owns everything outside of the engine; what is played is the code of the server, from the supervisor's
//! try downwards. Knows no SQL: plans are handed in. Invariant: a seed gives one trace, byte for byte.

mod disk;
mod feed;
mod follower;
mod lines;
mod outside;
mod run;
mod topic;
mod world;

pub(crate) use lines::Line;
pub(crate) use run::{Case, Played, Target, play};
pub(crate) use topic::{Event, Order, Script};
