//! Producers and transactions: InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn,
//! TxnOffsetCommit, EndTxn.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
    InitProducerIdResponse, ProducerId, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use super::{code_of, offsets};
use crate::broker::groups::Caller;
use crate::broker::server::Server;
use crate::broker::transactions::Producer;

/// Gives a producer its id and epoch, and fences those that used its transactional id before.
pub(super) fn init_producer(
    server: &Server,
    request: &InitProducerIdRequest,
    version: i16,
) -> InitProducerIdResponse {
    let current = Producer {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let current = Some(current).filter(|current| version >= 3 && current.id >= 0);
    let id = request.transactional_id.as_ref().map(|id| id.as_str());
    match server
        .transactions
        .init_producer(id, request.transaction_timeout_ms, current)
    {
        Ok(producer) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch),
        Err(error) => InitProducerIdResponse::default()
            .with_error_code(known_code(error, version >= 4))
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

/// Takes partitions into a transaction; all of them or, if one does not exist, none.
pub(super) fn add_partitions(
    server: &Server,
    request: &AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    let topics = &request.v3_and_below_topics;
    let places = topics.iter().flat_map(|topic| {
        topic
            .partitions
            .iter()
            .map(|index| (topic.name.to_string(), *index))
    });
    let places: Vec<_> = places.collect();
    let exists = |place: &(String, i32)| server.topics.partition(&place.0, place.1).map(|_| ());
    let all_exist = places.iter().try_for_each(exists);
    let producer = Producer {
        id: request.v3_and_below_producer_id.0,
        epoch: request.v3_and_below_producer_epoch,
    };
    let id = &request.v3_and_below_transactional_id;
    let added = all_exist.and_then(|()| server.transactions.add_partitions(id, producer, places));
    let results = topics.iter().map(|topic| {
        let results = topic.partitions.iter().map(|index| {
            let code = match (added, exists(&(topic.name.to_string(), *index))) {
                (Ok(()), _) => 0,
                (Err(_), Err(missing)) => missing.code(),
                (Err(_), Ok(())) if all_exist.is_err() => {
                    ResponseError::OperationNotAttempted.code()
                }
                (Err(error), Ok(())) => known_code(error, version >= 2),
            };
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code)
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(results.collect())
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
}

/// Announces that a transaction will set a group's offsets.
pub(super) fn add_group(
    server: &Server,
    request: &AddOffsetsToTxnRequest,
    version: i16,
) -> AddOffsetsToTxnResponse {
    let producer = Producer {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let added = server
        .transactions
        .add_group(&request.transactional_id, producer);
    let code = added
        .err()
        .map_or(0, |error| known_code(error, version >= 2));
    AddOffsetsToTxnResponse::default().with_error_code(code)
}

/// Sets a group's offsets as part of a transaction.
pub(super) fn commit_offsets(
    server: &Server,
    request: TxnOffsetCommitRequest,
    version: i16,
) -> TxnOffsetCommitResponse {
    let mut places = Vec::new();
    let mut checked = Ok(Vec::new());
    for topic in request.topics {
        let mut indexes = Vec::new();
        for partition in topic.partitions {
            let index = partition.partition_index;
            indexes.push(index);
            let offset = (partition.committed_offset, partition.committed_leader_epoch);
            let metadata = partition.committed_metadata;
            match (
                &mut checked,
                offsets::check(server, (&topic.name, index), offset, metadata),
            ) {
                (Ok(offsets), Ok(offset)) => offsets.push(offset),
                (Ok(_), Err(error)) => checked = Err(error),
                (Err(_), _) => {}
            }
        }
        places.push((topic.name, indexes));
    }
    let caller = Caller {
        member_id: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    let producer = Producer {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let group = (request.group_id.as_str(), caller);
    let id = &request.transactional_id;
    let added = checked.and_then(|offsets| {
        server
            .transactions
            .add_offsets(id, producer, group, offsets)
    });
    let code = added
        .err()
        .map_or(0, |error| known_code(error, version >= 3));
    let topics = places.into_iter().map(|(name, indexes)| {
        let partitions = indexes.into_iter().map(|index| {
            let partition = TxnOffsetCommitResponsePartition::default();
            partition.with_partition_index(index).with_error_code(code)
        });
        let partitions = partitions.collect();
        TxnOffsetCommitResponseTopic::default()
            .with_name(name)
            .with_partitions(partitions)
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

/// Commits or aborts.
pub(super) fn end(server: &Server, request: &EndTxnRequest, version: i16) -> EndTxnResponse {
    let producer = Producer {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let ended = server
        .transactions
        .end(&request.transactional_id, producer, request.committed);
    let ended = ended.map_err(|error| ResponseError::Unknown(known_code(error, version >= 2)));
    EndTxnResponse::default().with_error_code(code_of(&ended))
}

/// Clients of old versions know of fencing under another name.
fn known_code(error: ResponseError, knows_fenced: bool) -> i16 {
    match error {
        ResponseError::ProducerFenced if !knows_fenced => {
            ResponseError::InvalidProducerEpoch.code()
        }
        other => other.code(),
    }
}
