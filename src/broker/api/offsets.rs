//! Offsets that groups committed: OffsetCommit, OffsetFetch.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{text, topic_name};
use crate::broker::groups::{Caller, FetchedOffset};
use crate::broker::journal::{CommittedOffset, GroupOffset};
use crate::broker::server::Server;
use crate::clock;

/// Apache Kafka's `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4096;

/// Sets what a group has read up to.
pub(super) fn commit(server: &Server, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let mut offsets = Vec::new();
    let mut outcomes = Vec::new();
    for topic in request.topics {
        let mut partitions = Vec::new();
        for partition in topic.partitions {
            let index = partition.partition_index;
            let offset = (partition.committed_offset, partition.committed_leader_epoch);
            let checked = check(
                server,
                (&topic.name, index),
                offset,
                partition.committed_metadata,
            );
            partitions.push((index, checked.map(|offset| offsets.push(offset))));
        }
        outcomes.push((topic.name, partitions));
    }
    let caller = Caller {
        member_id: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
    };
    let committed = server
        .groups
        .commit(&request.group_id, caller, offsets, clock::instant());
    let topics = outcomes.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, checked)| {
            let code = committed.and(checked).err().map_or(0, |error| error.code());
            let partition = OffsetCommitResponsePartition::default().with_partition_index(index);
            partition.with_error_code(code)
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default()
            .with_name(name)
            .with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// An offset to commit, if it is for a partition that exists.
pub(super) fn check(
    server: &Server,
    place: (&str, i32),
    offset: (i64, i32),
    metadata: Option<StrBytes>,
) -> Result<GroupOffset, ResponseError> {
    let (topic, partition) = place;
    server.topics.partition(topic, partition)?;
    if metadata
        .as_ref()
        .is_some_and(|metadata| metadata.len() > METADATA_BYTES_MAX)
    {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    let (offset, leader_epoch) = offset;
    let metadata = metadata.map(|metadata| metadata.to_string());
    let committed = CommittedOffset {
        offset,
        leader_epoch,
        metadata,
    };
    Ok(GroupOffset {
        topic: topic.to_owned(),
        partition,
        committed,
    })
}

/// Tells what a group has read up to.
pub(super) fn fetch(
    server: &Server,
    request: OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    let wanted = request.topics.map(|topics| {
        let topics = topics.into_iter();
        topics
            .map(|topic| (topic.name.to_string(), topic.partition_indexes))
            .collect()
    });
    let partition = |fetched: FetchedOffset| {
        let partition =
            OffsetFetchResponsePartition::default().with_partition_index(fetched.partition);
        if request.require_stable && fetched.is_undecided {
            let code = ResponseError::UnstableOffsetCommit.code();
            return partition.with_error_code(code).with_committed_offset(-1);
        }
        match fetched.committed {
            None => partition
                .with_committed_offset(-1)
                .with_metadata(Some(text(""))),
            Some(committed) => partition
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(if version >= 5 {
                    committed.leader_epoch
                } else {
                    -1
                })
                .with_metadata(Some(text(committed.metadata.unwrap_or_default()))),
        }
    };
    let topics = server.groups.fetch(&request.group_id, wanted).into_iter();
    let topics = topics.map(|(name, offsets)| {
        OffsetFetchResponseTopic::default()
            .with_name(topic_name(name))
            .with_partitions(offsets.into_iter().map(&partition).collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}
