//! What readers are asked and what they give, whichever of them reads.

use std::fmt;
use std::time::Duration;

use crate::types::{FetchMode, KafkaConnection, MessageBatch, Offset, PartitionId};

/// What to read, and how much at once.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// How to reach the cluster.
    pub connection: KafkaConnection,
    /// The topic.
    pub topic: String,
    /// Each partition with its first offset.
    pub assignment: Vec<(PartitionId, Offset)>,
    /// Whether records of open and aborted transactions are hidden.
    pub read_committed: bool,
    /// Whether keys are wanted.
    pub with_keys: bool,
    /// Whether headers are wanted.
    pub with_headers: bool,
    /// Messages of one read at the most.
    pub rows_max: usize,
    /// Bytes after which a read takes no further message; a few times as many are fetched ahead.
    pub bytes_max: usize,
    /// How long the broker keeps an empty fetch before it says that a partition is at its end.
    pub end_wait: Duration,
    /// Who fetches.
    pub fetch: FetchMode,
}

/// What one read gave.
#[derive(Debug)]
pub struct Read {
    /// The messages; may be empty.
    pub batch: MessageBatch,
    /// The partitions that were found at their end, in the order in which it was found. An end
    /// belongs after the partition's messages in `batch`.
    pub ends: Vec<PartitionEnd>,
    /// What went wrong and will be tried again by itself.
    pub problems: Vec<Problem>,
}

/// A partition's end, as the broker told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionEnd {
    /// The partition.
    pub partition: PartitionId,
    /// The offset that its next message will have at the least. After a transaction it lies beyond
    /// the last message by more than one.
    pub next: Offset,
}

/// Something that went wrong and is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The partition, if it is about one.
    pub partition: Option<PartitionId>,
    /// What happened: short, without full stop.
    pub message: String,
}

/// Who fetches a reader's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchedBy {
    /// This server itself.
    Direct,
    /// librdkafka, and why.
    Librdkafka(WhyLibrary),
}

/// Why the direct fetch does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyLibrary {
    /// The table's option says so.
    Asked,
    /// A property is given that means something to the library alone.
    Property,
    /// The mechanism or the protocol of authentication.
    Mechanism,
    /// Certificates or keys that rustls does not take.
    Certificate,
    /// The broker speaks no version of a request that is needed.
    OldBroker,
    /// The partition holds messages of format 0 or 1.
    OldFormat,
}

impl FetchedBy {
    /// The word for it, as in the table's option.
    pub fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Librdkafka(_) => "librdkafka",
        }
    }

    /// Why it is not the direct fetch.
    pub fn reason(self) -> Option<WhyLibrary> {
        match self {
            Self::Direct => None,
            Self::Librdkafka(why) => Some(why),
        }
    }
}

impl fmt::Display for WhyLibrary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "the table says so",
            Self::Property => "a property under kafka. is known to librdkafka alone",
            Self::Mechanism => "the authentication is known to librdkafka alone",
            Self::Certificate => "the certificates are for librdkafka to judge",
            Self::OldBroker => "the broker is older than the requests of the direct fetch",
            Self::OldFormat => "there are messages in a format from before Kafka 0.11",
        })
    }
}
