//! Topics: created, deleted, given more partitions, emptied.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};

use super::configs::source_of;
use super::text;
use crate::broker::server::Server;
use crate::broker::topics::Refusal;

/// Makes topics.
pub(super) fn create(
    server: &Server,
    request: CreateTopicsRequest,
    version: i16,
) -> CreateTopicsResponse {
    let validate_only = request.validate_only;
    let topics = request.topics.into_iter().map(|topic| {
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        match create_one(server, &topic, validate_only) {
            Ok(_) if version < 5 => result,
            Ok(partitions) => result
                .with_num_partitions(partitions)
                .with_replication_factor(1)
                .with_configs(Some(configs_of(server, &topic.name))),
            Err(refusal) => result
                .with_error_code(refusal.code.code())
                .with_error_message(Some(text(refusal.message))),
        }
    });
    CreateTopicsResponse::default().with_topics(topics.collect())
}

fn create_one(
    server: &Server,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<i32, Refusal> {
    let partitions = match (topic.num_partitions, topic.assignments.len()) {
        (-1, 0) => None,
        (count, 0) => Some(count),
        (_, assigned) => Some(i32::try_from(assigned).unwrap_or(i32::MAX)),
    };
    if !matches!(topic.replication_factor, -1 | 1) {
        let message = "The embedded broker is alone: the replication factor can only be 1.";
        return Err(Refusal::new(
            ResponseError::InvalidReplicationFactor,
            message,
        ));
    }
    let mut configs = std::collections::BTreeMap::new();
    for config in &topic.configs {
        if let Some(value) = &config.value {
            configs.insert(config.name.to_string(), value.to_string());
        }
    }
    server
        .topics
        .create(&topic.name, partitions, configs, validate_only)
}

fn configs_of(server: &Server, name: &str) -> Vec<CreatableTopicConfigs> {
    let Some(topic) = server.topics.get(name) else {
        return Vec::new();
    };
    let settings = topic.config().settings(&server.config).into_iter();
    let config = settings.map(|setting| {
        CreatableTopicConfigs::default()
            .with_config_source(source_of(&setting))
            .with_name(text(setting.name))
            .with_value(Some(text(setting.value)))
    });
    config.collect()
}

/// Deletes topics, and with them what groups committed there.
pub(super) fn delete(
    server: &Server,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let results = request.topic_names.into_iter().map(|name| {
        let deleted = server.topics.delete(&name);
        let result = DeletableTopicResult::default().with_name(Some(name.clone()));
        match deleted {
            Ok(()) => {
                server.groups.forget_topic(&name);
                result
            }
            Err(refusal) if version < 5 => result.with_error_code(refusal.code.code()),
            Err(refusal) => result
                .with_error_code(refusal.code.code())
                .with_error_message(Some(text(refusal.message))),
        }
    });
    DeleteTopicsResponse::default().with_responses(results.collect())
}

/// Raises the number of partitions.
pub(super) fn add_partitions(
    server: &Server,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let validate_only = request.validate_only;
    let results = request
        .topics
        .into_iter()
        .map(|topic: CreatePartitionsTopic| {
            let added = server
                .topics
                .add_partitions(&topic.name, topic.count, validate_only);
            let result = CreatePartitionsTopicResult::default().with_name(topic.name);
            match added {
                Ok(()) => result,
                Err(refusal) => result
                    .with_error_code(refusal.code.code())
                    .with_error_message(Some(text(refusal.message))),
            }
        });
    CreatePartitionsResponse::default().with_results(results.collect())
}

/// Deletes the records before an offset.
pub(super) fn delete_records(
    server: &Server,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            let before = Some(partition.offset).filter(|offset| *offset != -1); // -1 means all.
            let index = partition.partition_index;
            let result = DeleteRecordsPartitionResult::default().with_partition_index(index);
            match server.topics.delete_records(&topic.name, index, before) {
                Ok(start) => result.with_low_watermark(start),
                Err(error) => result.with_error_code(error.code()).with_low_watermark(-1),
            }
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}
