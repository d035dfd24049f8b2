//! What the broker is told at its start, with every limit it has.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Where the broker listens, where it keeps its data, and its limits.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// The address to listen on and to advertise; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where topics and offsets are kept; `None` keeps them in memory only.
    pub data_dir: Option<PathBuf>,
    /// Partitions of a topic that is created without saying how many.
    pub default_partitions: i32,
    /// Bytes that a partition keeps at most. Past it the oldest segment is dropped whole. A topic's
    /// `retention.bytes` can lower it.
    pub retention_bytes_max: u64,
    /// Whether a client may make a topic by asking for it.
    pub auto_create_topics: bool,
    /// Bytes after which a segment is closed and the next one begun. A topic's `segment.bytes` can
    /// lower it, and so does a retention of less than eight of them.
    pub segment_bytes_max: u64,
    /// Bytes of one record batch; a topic's `max.message.bytes` overrides it. Larger ones are
    /// refused with `MESSAGE_TOO_LARGE`.
    pub batch_bytes_max: u64,
    /// Bytes of one request. A connection that announces more is closed.
    pub request_bytes_max: usize,
    /// Bytes of records in one fetch response; a single larger batch still goes out whole.
    pub fetch_bytes_max: usize,
    /// Connections at a time. Further ones wait to be accepted.
    pub connections_max: u32,
    /// Partitions of all topics together: each holds one file open. Past it, topics are refused
    /// with `POLICY_VIOLATION`.
    pub partitions_max: usize,
    /// Consumer groups, and as many transactional ids; they are kept until they are deleted. Past
    /// it, new ones are refused with `POLICY_VIOLATION`.
    pub groups_max: usize,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9092)),
            data_dir: None,
            default_partitions: 1,
            retention_bytes_max: 1 << 30,
            auto_create_topics: false,
            segment_bytes_max: 64 << 20,
            batch_bytes_max: 10 << 20,
            request_bytes_max: 32 << 20,
            fetch_bytes_max: 8 << 20,
            connections_max: 1024,
            partitions_max: 512,
            groups_max: 10_000,
        }
    }
}
