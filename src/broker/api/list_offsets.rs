//! ListOffsets: the first, the last, and the one at a time.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::broker::log::Isolation;
use crate::broker::server::Server;

/// Asks for the offset of the next record.
const LATEST: i64 = -1;
/// Asks for the first offset.
const EARLIEST: i64 = -2;

/// Finds an offset in each of the partitions.
pub(super) fn list_offsets(
    server: &Server,
    request: &ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let isolation = match request.isolation_level {
        1 => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    };
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let response = ListOffsetsPartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_offset(-1)
                .with_timestamp(-1);
            let place = (topic.name.as_str(), partition.partition_index);
            match find(server, place, partition.timestamp, isolation) {
                Ok(Some((offset, timestamp))) => response
                    .with_offset(offset)
                    .with_timestamp(timestamp)
                    .with_leader_epoch(if version >= 4 { 0 } else { -1 }),
                Ok(None) => response,
                Err(error) => response.with_error_code(error.code()),
            }
        });
        ListOffsetsTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// The offset for a timestamp, and the timestamp of its record where one was looked for.
fn find(
    server: &Server,
    place: (&str, i32),
    timestamp: i64,
    isolation: Isolation,
) -> Result<Option<(i64, i64)>, ResponseError> {
    let partition = server.topics.partition(place.0, place.1)?;
    let marks = partition.marks()?;
    let limit = marks.limit(isolation);
    match timestamp {
        LATEST => Ok(Some((limit, -1))),
        EARLIEST => Ok(Some((marks.start, -1))),
        0.. => Ok(partition
            .find_timestamp(timestamp)?
            .filter(|(offset, _)| *offset < limit)),
        _ => Err(ResponseError::UnsupportedVersion),
    }
}
