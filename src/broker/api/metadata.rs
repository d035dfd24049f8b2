//! Who serves what: ApiVersions, Metadata, FindCoordinator.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, FindCoordinatorResponse, MetadataRequest, MetadataResponse,
};

use uuid::Uuid;

use super::{NODE, text, topic_name};
use crate::broker::connection::Client;
use crate::broker::server::Server;
use crate::broker::topics::Topic;

const CLUSTER_ID: &str = "headwater-embedded";

/// The requests that are served.
pub(super) fn versions(
    served: &[(ApiKey, i16, i16)],
    error: Option<ResponseError>,
) -> ApiVersionsResponse {
    let version = |(key, first, last): &(ApiKey, i16, i16)| {
        let version = ApiVersion::default().with_api_key(*key as i16);
        version.with_min_version(*first).with_max_version(*last)
    };
    ApiVersionsResponse::default()
        .with_error_code(error.map_or(0, |error| error.code()))
        .with_api_keys(served.iter().map(version).collect())
}

/// The broker and the topics that were asked for, or all of them.
pub(super) fn metadata(
    server: &Server,
    client: &Client,
    request: MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let may_create =
        server.config.auto_create_topics && (version < 4 || request.allow_auto_topic_creation);
    let asked = request
        .topics
        .filter(|topics| version > 0 || !topics.is_empty());
    let topics = match asked {
        None => server
            .topics
            .all()
            .iter()
            .map(|topic| describe(topic))
            .collect(),
        Some(asked) => {
            let found = asked.into_iter().map(|topic| match topic.name {
                Some(name) => find(server, name.as_str(), may_create),
                None => find_by_id(server, topic.topic_id),
            });
            found.collect()
        }
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(NODE)
        .with_host(text(client.local.ip().to_string()))
        .with_port(i32::from(client.local.port()));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(CLUSTER_ID)))
        .with_controller_id(NODE)
        .with_topics(topics)
}

/// The broker is the coordinator of everything.
pub(super) fn find_coordinator(client: &Client) -> FindCoordinatorResponse {
    FindCoordinatorResponse::default()
        .with_node_id(NODE)
        .with_host(text(client.local.ip().to_string()))
        .with_port(i32::from(client.local.port()))
}

fn find(server: &Server, name: &str, may_create: bool) -> MetadataResponseTopic {
    let mut error = ResponseError::UnknownTopicOrPartition;
    if may_create
        && let Err(refusal) = server.topics.create(name, None, Default::default(), false)
        && refusal.code != ResponseError::TopicAlreadyExists
    {
        error = refusal.code;
    }
    match server.topics.get(name) {
        Some(topic) => describe(&topic),
        None => MetadataResponseTopic::default()
            .with_name(Some(topic_name(name)))
            .with_error_code(error.code()),
    }
}

fn find_by_id(server: &Server, uid: Uuid) -> MetadataResponseTopic {
    let topics = server.topics.all();
    match topics.iter().find(|topic| topic.uid() == uid) {
        Some(topic) if !uid.is_nil() => describe(topic),
        _ => MetadataResponseTopic::default()
            .with_topic_id(uid)
            .with_error_code(ResponseError::UnknownTopicId.code()),
    }
}

fn describe(topic: &Topic) -> MetadataResponseTopic {
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(NODE)
            .with_leader_epoch(0)
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    };
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(topic.name())))
        .with_topic_id(topic.uid())
        .with_partitions((0..topic.partition_count()).map(partition).collect())
        .with_unknown_tagged_fields(padding())
}

/// A field that no client knows, and every client skips. librdkafka takes four times the answer's
/// length for what it makes of it, which many topics with short names and few partitions exceed
/// (`rd_kafka_parse_Metadata0`: "tmpabuf memory shortage"); a real broker's answers are longer.
fn padding() -> BTreeMap<i32, Bytes> {
    const UNKNOWN_TAG: i32 = 10_000;
    BTreeMap::from([(UNKNOWN_TAG, Bytes::from_static(&[0; 64]))])
}
