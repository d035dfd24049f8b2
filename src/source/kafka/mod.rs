//! Kafka by librdkafka: one client for questions about topics and offsets ([`Cluster`]), one for
//! each reader ([`LibraryReader`]), one for a consumer group that is told how far it was read
//! ([`GroupOffsets`]).
//!
//! The library is called through its C interface: its batch queue costs half of what one safe call a
//! message costs, and its log and error callbacks can be caught instead of reaching the terminal.

mod admin;
pub(crate) mod client;
mod cluster;
pub(crate) mod code;
pub(crate) mod errors;
mod gather;
mod group_offsets;
mod library_reader;
mod metadata;
pub(crate) mod properties;
pub(crate) mod report;

pub use cluster::{ANSWER_TIMEOUT, Cluster};
pub use errors::is_offset_gone;
pub use group_offsets::GroupOffsets;
pub(crate) use library_reader::{LibraryReader, LibraryWaker};
