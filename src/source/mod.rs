//! Fetching messages: which partitions a topic has, which offsets they hold, and their messages by
//! offset range.
//!
//! Owns the consuming side of the client library, and a fetch of its own beside it, behind plain
//! types. Knows nothing of formats, SQL
//! or queries, and keeps no offsets: a caller says where to read and remembers how far it came.
//! Invariant: every call blocks for a bounded time and runs off the runtime; a consumer group is told
//! offsets, and never asked for them.

pub(crate) mod kafka;
mod read;
mod header_object;
mod direct;
mod reader;

pub(crate) use direct::tls_client;
pub use kafka::{ANSWER_TIMEOUT, Cluster, GroupOffsets, is_offset_gone};
pub use read::{FetchedBy, PartitionEnd, Problem, Read, ReaderOptions, WhyLibrary};
pub use reader::{Reader, Waker};
