//! Fetch: batches out, at once or as soon as there are enough.
//!
//! Files are read without holding a partition's lock; a large read runs beside the runtime.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ProducerId, TopicName};
use tokio::time::timeout;

use crate::broker::connection::Client;
use crate::broker::log::Isolation;
use crate::broker::partition::Planned;
use crate::broker::server::Server;
use crate::clock;
use crate::error::Result;
use crate::task;

/// Reads up to this size are served right here: a live tail, which lies in the page cache.
const INLINE_BYTES_MAX: u64 = 128 << 10;

/// Answers once there are enough bytes, an error, or no time left.
///
/// # Errors
/// The read panicked.
pub(super) async fn fetch(
    server: &Arc<Server>,
    client: &Client,
    request: &FetchRequest,
) -> Result<FetchResponse> {
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let until = clock::instant() + wait;
    let bytes_min = u64::try_from(request.min_bytes).unwrap_or(0);
    loop {
        let plan = Plan::new(server, client, request);
        let left = until.saturating_duration_since(clock::instant());
        let must_answer = plan.has_error() || left.is_zero();
        let bytes = plan.bytes_max();
        if must_answer || bytes >= bytes_min.max(1) {
            let read = if bytes <= INLINE_BYTES_MAX {
                plan.read()
            } else {
                task::spawn_blocking(move || Ok(plan.read())).await?
            };
            if must_answer || read.bytes >= bytes_min {
                return Ok(FetchResponse::default().with_responses(read.topics));
            }
        }
        // Either way the loop looks again.
        let _elapsed = timeout(left, client.more.notified()).await;
    }
}

/// What to read, decided under the partitions' locks.
struct Plan {
    topics: Vec<(TopicName, Vec<PlannedPartition>)>,
    isolation: Isolation,
    /// Bytes of records in the whole answer.
    bytes_max: usize,
}

struct PlannedPartition {
    index: i32,
    bytes_max: usize,
    planned: Result<Planned, ResponseError>,
}

/// What was read.
struct Answer {
    topics: Vec<FetchableTopicResponse>,
    bytes: u64,
}

impl Plan {
    fn new(server: &Server, client: &Client, request: &FetchRequest) -> Self {
        let isolation = match request.isolation_level {
            1 => Isolation::ReadCommitted,
            _ => Isolation::ReadUncommitted,
        };
        let plan = |topic: &TopicName, partition: &FetchPartition| PlannedPartition {
            index: partition.partition,
            bytes_max: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
            planned: server
                .topics
                .partition(topic, partition.partition)
                .and_then(|found| found.plan(partition.fetch_offset, isolation, &client.more)),
        };
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic
                .partitions
                .iter()
                .map(|p| plan(&topic.topic, p))
                .collect();
            (topic.topic.clone(), partitions)
        });
        let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0);
        let bytes_max = bytes_max.min(server.config.fetch_bytes_max);
        Self {
            topics: topics.collect(),
            isolation,
            bytes_max,
        }
    }

    fn has_error(&self) -> bool {
        self.partitions()
            .any(|partition| partition.planned.is_err())
    }

    /// Bytes that there are to read; the answer may hold fewer.
    fn bytes_max(&self) -> u64 {
        let planned = self
            .partitions()
            .filter_map(|partition| partition.planned.as_ref().ok());
        planned
            .filter_map(|planned| planned.read.as_ref())
            .map(|read| read.bytes_max())
            .sum()
    }

    fn partitions(&self) -> impl Iterator<Item = &PlannedPartition> {
        self.topics.iter().flat_map(|(_, partitions)| partitions)
    }

    /// Reads it; blocks on the disk.
    fn read(self) -> Answer {
        let mut answer = Answer {
            topics: Vec::with_capacity(self.topics.len()),
            bytes: 0,
        };
        let mut left = self.bytes_max;
        for (topic, planned) in self.topics {
            let mut partitions = Vec::with_capacity(planned.len());
            for partition in planned {
                let bytes_max = partition.bytes_max.min(left);
                let data = partition.read(bytes_max, answer.bytes == 0, self.isolation);
                let bytes = data.records.as_ref().map_or(0, Bytes::len);
                left = left.saturating_sub(bytes);
                answer.bytes += bytes as u64;
                partitions.push(data);
            }
            let response = FetchableTopicResponse::default().with_topic(topic);
            answer.topics.push(response.with_partitions(partitions));
        }
        answer
    }
}

impl PlannedPartition {
    fn read(self, bytes_max: usize, at_least_one: bool, isolation: Isolation) -> PartitionData {
        let data = PartitionData::default()
            .with_partition_index(self.index)
            .with_records(Some(Bytes::new()));
        let planned = match self.planned {
            Ok(planned) => planned,
            Err(error) => {
                let data = data.with_error_code(error.code()).with_high_watermark(-1);
                return data.with_aborted_transactions(None);
            }
        };
        let data = data
            .with_high_watermark(planned.marks.end)
            .with_last_stable_offset(planned.marks.last_stable)
            .with_log_start_offset(planned.marks.start);
        let batches = match planned
            .read
            .map(|read| read.run(bytes_max, at_least_one))
            .transpose()
        {
            Ok(batches) => batches.unwrap_or_default(),
            Err(error) => {
                tracing::error!(%error, "the embedded broker cannot read its storage");
                return data.with_error_code(ResponseError::KafkaStorageError.code());
            }
        };
        let aborted = planned
            .aborted
            .iter()
            .filter(|a| a.first_offset < batches.end_offset);
        let aborted = aborted.map(|aborted| {
            let transaction = AbortedTransaction::default().with_first_offset(aborted.first_offset);
            transaction.with_producer_id(ProducerId(aborted.producer_id))
        });
        let aborted = aborted.collect();
        data.with_records(Some(batches.bytes))
            .with_aborted_transactions(match isolation {
                Isolation::ReadCommitted => Some(aborted),
                Isolation::ReadUncommitted => None,
            })
    }
}
