//! Settings of topics: shown and changed. Those of the broker itself cannot be changed by clients.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as Altered;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::text;
use crate::broker::server::Server;
use crate::broker::topic_config::Setting;
use crate::broker::topics::Refusal;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

const SOURCE_TOPIC: i8 = 1;
const SOURCE_DEFAULT: i8 = 5;

const SET: i8 = 0;
const DELETE: i8 = 1;

/// Where a setting's value comes from, in the protocol's numbers.
pub(super) fn source_of(setting: &Setting) -> i8 {
    if setting.is_default {
        SOURCE_DEFAULT
    } else {
        SOURCE_TOPIC
    }
}

/// Shows settings.
pub(super) fn describe(
    server: &Server,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|resource| {
        let settings = settings_of(server, &resource);
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        let wanted = |setting: &Setting| match &resource.configuration_keys {
            Some(keys) => keys.iter().any(|key| key.as_str() == setting.name),
            None => true,
        };
        match settings {
            Ok(settings) => {
                let settings = settings.into_iter().filter(wanted).map(|setting| {
                    DescribeConfigsResourceResult::default()
                        .with_config_source(source_of(&setting))
                        .with_name(text(setting.name))
                        .with_value(Some(text(setting.value)))
                });
                result.with_configs(settings.collect())
            }
            Err(refusal) => result
                .with_error_code(refusal.code.code())
                .with_error_message(Some(text(refusal.message))),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn settings_of(
    server: &Server,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Setting>, Refusal> {
    match resource.resource_type {
        TOPIC => {
            let topic = server.topics.get(&resource.resource_name);
            let topic = topic.ok_or(ResponseError::UnknownTopicOrPartition)?;
            Ok(topic.config().settings(&server.config))
        }
        BROKER => {
            let config = &server.config;
            let setting = |(name, value): (&str, String)| Setting {
                name: name.to_owned(),
                value,
                is_default: true,
            };
            let settings = [
                (
                    "auto.create.topics.enable",
                    config.auto_create_topics.to_string(),
                ),
                (
                    "log.retention.bytes",
                    config.retention_bytes_max.to_string(),
                ),
                ("log.segment.bytes", config.segment_bytes_max.to_string()),
                ("message.max.bytes", config.batch_bytes_max.to_string()),
                ("num.partitions", config.default_partitions.to_string()),
                (
                    "socket.request.max.bytes",
                    config.request_bytes_max.to_string(),
                ),
            ];
            Ok(settings.into_iter().map(setting).collect())
        }
        _ => Err(ResponseError::InvalidRequest.into()),
    }
}

/// Replaces all settings of topics.
pub(super) fn alter(server: &Server, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let validate_only = request.validate_only;
    let responses = request.resources.into_iter().map(|resource| {
        let settings = resource.configs.into_iter();
        let settings =
            settings.map(|c| (c.name.to_string(), c.value.map(|value| value.to_string())));
        let changed = match resource.resource_type {
            TOPIC => {
                let (name, settings) = (&resource.resource_name, settings.collect());
                server.topics.configure(name, settings, true, validate_only)
            }
            _ => Err(not_a_topic()),
        };
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        match changed {
            Ok(()) => response.with_error_message(None),
            Err(refusal) => response
                .with_error_code(refusal.code.code())
                .with_error_message(Some(text(refusal.message))),
        }
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

/// Changes single settings of topics.
pub(super) fn alter_some(
    server: &Server,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let validate_only = request.validate_only;
    let responses = request.resources.into_iter().map(|resource| {
        let mut changes = BTreeMap::new();
        let mut changed = match resource.resource_type {
            TOPIC => Ok(()),
            _ => Err(not_a_topic()),
        };
        for config in resource.configs {
            let value = config.value.map(|value| value.to_string());
            match (config.config_operation, value) {
                (SET, Some(value)) => changes.insert(config.name.to_string(), Some(value)),
                (DELETE, _) => changes.insert(config.name.to_string(), None),
                _ => {
                    let message = "The embedded broker can set and delete single settings only.";
                    changed = Err(Refusal::new(ResponseError::InvalidRequest, message));
                    None
                }
            };
        }
        let name = &resource.resource_name;
        let changed =
            changed.and_then(|()| server.topics.configure(name, changes, false, validate_only));
        let response = Altered::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        match changed {
            Ok(()) => response.with_error_message(None),
            Err(refusal) => response
                .with_error_code(refusal.code.code())
                .with_error_message(Some(text(refusal.message))),
        }
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn not_a_topic() -> Refusal {
    let message = "Only settings of topics can be changed; the broker's are given at its start.";
    Refusal::new(ResponseError::InvalidRequest, message)
}
