//! Produce: batches in.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use crate::broker::batch::check_produced;
use crate::broker::server::Server;
use crate::broker::transactions::Producer;

/// Appends one batch to each of the partitions.
pub(super) fn produce(server: &Server, request: ProduceRequest) -> ProduceResponse {
    let transactional_id = request.transactional_id.as_ref().map(|id| id.as_str());
    let known_acks = matches!(request.acks, -1..=1);
    let topics = request.topic_data.into_iter().map(|topic| {
        let append = |data: PartitionProduceData| {
            let index = data.index;
            let appended = if known_acks {
                let place = (topic.name.as_str(), index);
                append(
                    server,
                    transactional_id,
                    place,
                    &data.records.unwrap_or_default(),
                )
            } else {
                Err(ResponseError::InvalidRequiredAcks)
            };
            let response = PartitionProduceResponse::default()
                .with_index(index)
                .with_log_append_time_ms(-1);
            match appended {
                Ok((offset, start)) => response
                    .with_base_offset(offset)
                    .with_log_start_offset(start),
                Err(error) => response.with_error_code(error.code()).with_base_offset(-1),
            }
        };
        let responses = topic.partition_data.into_iter().map(append).collect();
        TopicProduceResponse::default()
            .with_name(topic.name)
            .with_partition_responses(responses)
    });
    ProduceResponse::default().with_responses(topics.collect())
}

/// Appends a batch; answers with its offset and the log's start.
fn append(
    server: &Server,
    transactional_id: Option<&str>,
    place: (&str, i32),
    batch: &Bytes,
) -> Result<(i64, i64), ResponseError> {
    let (name, index) = place;
    let topic = server
        .topics
        .get(name)
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    let partition = topic
        .partition(index)
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    if batch.len() as u64 > topic.config().batch_bytes_max(&server.config) {
        return Err(ResponseError::MessageTooLarge);
    }
    let header = check_produced(batch)?;
    if !header.is_transactional() {
        return partition.append(&header, batch);
    }
    let producer = Producer {
        id: header.producer_id,
        epoch: header.producer_epoch,
    };
    server
        .transactions
        .within(transactional_id, producer, place, || {
            partition.append(&header, batch)
        })
}
