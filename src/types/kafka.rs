//! Where messages live: the cluster, the partition, the offset.

use std::collections::BTreeMap;

/// The number of a topic's partition.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct PartitionId(pub i32);

/// A message's place in its partition.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Offset(pub i64);

/// A partition of one of a query's inputs: a query may read several topics, or one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputPartition {
    /// The input's place in the plan.
    pub input: usize,
    /// The partition of its topic.
    pub partition: PartitionId,
}

/// The offsets that one partition holds: `start` inclusive, `end` exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionRange {
    /// The partition.
    pub partition: PartitionId,
    /// The first offset to read.
    pub start: Offset,
    /// The offset after the last one to read.
    pub end: Offset,
}

/// How to reach a cluster: what the client library needs, nothing about topics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub struct KafkaConnection {
    /// `host:port[,host:port..]`.
    pub bootstrap_servers: String,
    /// librdkafka properties, as given under `kafka.` (without that prefix).
    pub properties: BTreeMap<String, String>,
}

/// Who is to fetch a table's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FetchMode {
    /// This server itself where it can, librdkafka elsewhere.
    #[default]
    Auto,
    /// This server itself, or nobody.
    Direct,
    /// librdkafka.
    Librdkafka,
}
