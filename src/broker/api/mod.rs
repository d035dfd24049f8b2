//! What the broker can be asked: each request is checked, decoded, handled and its answer encoded.
//!
//! Owns the list of requests and versions. The files below hold the handlers, a family each.
//! Versions stop where Kafka brings in topic ids (Fetch 13, Metadata 10) and new protocols.

mod metadata;
mod produce;
mod fetch;
mod list_offsets;
mod topics;
mod configs;
mod membership;
mod offsets;
mod group_admin;
mod transactions;

use std::fmt::Display;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AlterConfigsRequest, ApiKey,
    ApiVersionsRequest, BrokerId, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    DescribeGroupsRequest, EndTxnRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
    ListGroupsRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, ProduceRequest, SyncGroupRequest, TopicName, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::connection::{Client, Request};
use super::server::Server;
use super::shape;
use crate::error::{Error, Result, SqlState};

/// The only broker of the cluster.
const NODE: BrokerId = BrokerId(1);

/// The requests that are served, with their first and last version.
const SERVED: [(ApiKey, i16, i16); 27] = [
    (ApiKey::Produce, 3, 9),
    (ApiKey::Fetch, 4, 12),
    (ApiKey::ListOffsets, 1, 6),
    (ApiKey::Metadata, 0, 12),
    (ApiKey::OffsetCommit, 2, 8),
    (ApiKey::OffsetFetch, 1, 7),
    (ApiKey::FindCoordinator, 0, 3),
    (ApiKey::JoinGroup, 0, 7),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::LeaveGroup, 0, 4),
    (ApiKey::SyncGroup, 0, 5),
    (ApiKey::DescribeGroups, 0, 5),
    (ApiKey::ListGroups, 0, 4),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::CreateTopics, 2, 6),
    (ApiKey::DeleteTopics, 1, 5),
    (ApiKey::DeleteRecords, 0, 2),
    (ApiKey::InitProducerId, 0, 4),
    (ApiKey::AddPartitionsToTxn, 0, 3),
    (ApiKey::AddOffsetsToTxn, 0, 3),
    (ApiKey::EndTxn, 0, 3),
    (ApiKey::TxnOffsetCommit, 0, 3),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::AlterConfigs, 0, 2),
    (ApiKey::CreatePartitions, 0, 3),
    (ApiKey::DeleteGroups, 0, 2),
    (ApiKey::IncrementalAlterConfigs, 0, 1),
];

/// Whether an answer is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is in the buffer.
    Given,
    /// The client asked for none.
    NotWanted,
}

/// Handles a request and appends the answer's body to `out`.
///
/// # Errors
/// The request is malformed or not served: the connection cannot go on.
pub(crate) async fn answer(
    server: &Arc<Server>,
    client: &Client,
    request: Request,
    out: &mut BytesMut,
) -> Result<Answer> {
    let Request {
        key,
        version,
        ref body,
        ..
    } = request;
    if key == ApiKey::ApiVersions && !is_served(key, version) {
        // Answered in the oldest version, so that any client learns what it can ask.
        encode(
            out,
            0,
            &metadata::versions(&SERVED, Some(ResponseError::UnsupportedVersion)),
        )?;
        return Ok(Answer::Given);
    }
    if !is_served(key, version) {
        return Err(violation("this version is not served"));
    }
    if !shape::fits(key, version, body) {
        return Err(violation("the request is malformed"));
    }
    let call = Call {
        out,
        version,
        body: body.clone(),
    };
    match key {
        ApiKey::Produce => {
            let request: ProduceRequest = call.decode()?;
            let wanted = request.acks != 0;
            let response = produce::produce(server, request);
            if !wanted {
                return Ok(Answer::NotWanted);
            }
            encode(call.out, version, &response)?;
        }
        ApiKey::Fetch => {
            let request: FetchRequest = call.decode()?;
            encode(
                call.out,
                version,
                &fetch::fetch(server, client, &request).await?,
            )?;
        }
        ApiKey::JoinGroup => {
            let join: JoinGroupRequest = call.decode()?;
            let response = membership::join(server, client, &request, join).await;
            encode(call.out, version, &response)?;
        }
        ApiKey::SyncGroup => {
            let request: SyncGroupRequest = call.decode()?;
            encode(
                call.out,
                version,
                &membership::sync(server, version, request).await,
            )?;
        }
        _ => answer_at_once(server, client, key, call)?,
    }
    Ok(Answer::Given)
}

/// Requests that never wait.
fn answer_at_once(server: &Server, client: &Client, key: ApiKey, call: Call<'_>) -> Result<()> {
    let v = call.version;
    match key {
        ApiKey::ApiVersions => call.run(|_: ApiVersionsRequest| metadata::versions(&SERVED, None)),
        ApiKey::Metadata => call.run(|r: MetadataRequest| metadata::metadata(server, client, r, v)),
        ApiKey::FindCoordinator => {
            call.run(|_: FindCoordinatorRequest| metadata::find_coordinator(client))
        }
        ApiKey::ListOffsets => {
            call.run(|r: ListOffsetsRequest| list_offsets::list_offsets(server, &r, v))
        }
        ApiKey::CreateTopics => call.run(|r: CreateTopicsRequest| topics::create(server, r, v)),
        ApiKey::DeleteTopics => call.run(|r: DeleteTopicsRequest| topics::delete(server, r, v)),
        ApiKey::CreatePartitions => {
            call.run(|r: CreatePartitionsRequest| topics::add_partitions(server, r))
        }
        ApiKey::DeleteRecords => {
            call.run(|r: DeleteRecordsRequest| topics::delete_records(server, r))
        }
        ApiKey::DescribeConfigs => {
            call.run(|r: DescribeConfigsRequest| configs::describe(server, r))
        }
        ApiKey::AlterConfigs => call.run(|r: AlterConfigsRequest| configs::alter(server, r)),
        ApiKey::IncrementalAlterConfigs => {
            call.run(|r: IncrementalAlterConfigsRequest| configs::alter_some(server, r))
        }
        ApiKey::OffsetCommit => call.run(|r: OffsetCommitRequest| offsets::commit(server, r)),
        ApiKey::OffsetFetch => call.run(|r: OffsetFetchRequest| offsets::fetch(server, r, v)),
        ApiKey::Heartbeat => call.run(|r: HeartbeatRequest| membership::heartbeat(server, &r)),
        ApiKey::LeaveGroup => call.run(|r: LeaveGroupRequest| membership::leave(server, r, v)),
        ApiKey::ListGroups => call.run(|r: ListGroupsRequest| group_admin::list(server, &r, v)),
        ApiKey::DescribeGroups => {
            call.run(|r: DescribeGroupsRequest| group_admin::describe(server, r))
        }
        ApiKey::DeleteGroups => call.run(|r: DeleteGroupsRequest| group_admin::delete(server, r)),
        ApiKey::InitProducerId => {
            call.run(|r: InitProducerIdRequest| transactions::init_producer(server, &r, v))
        }
        ApiKey::AddPartitionsToTxn => {
            call.run(|r: AddPartitionsToTxnRequest| transactions::add_partitions(server, &r, v))
        }
        ApiKey::AddOffsetsToTxn => {
            call.run(|r: AddOffsetsToTxnRequest| transactions::add_group(server, &r, v))
        }
        ApiKey::TxnOffsetCommit => {
            call.run(|r: TxnOffsetCommitRequest| transactions::commit_offsets(server, r, v))
        }
        ApiKey::EndTxn => call.run(|r: EndTxnRequest| transactions::end(server, &r, v)),
        _ => Err(violation("this request is not served")),
    }
}

/// A request that is about to be handled.
struct Call<'a> {
    out: &'a mut BytesMut,
    version: i16,
    body: Bytes,
}

impl Call<'_> {
    fn decode<Q: Decodable>(&self) -> Result<Q> {
        Q::decode(&mut self.body.clone(), self.version).map_err(violation)
    }

    fn run<Q: Decodable, A: Encodable>(self, handle: impl FnOnce(Q) -> A) -> Result<()> {
        let answer = handle(self.decode()?);
        encode(self.out, self.version, &answer)
    }
}

fn encode<A: Encodable>(out: &mut BytesMut, version: i16, answer: &A) -> Result<()> {
    let unencodable = |error| Error::internal(format!("an answer cannot be encoded: {error}"));
    out.reserve(answer.compute_size(version).map_err(unencodable)?);
    answer.encode(out, version).map_err(unencodable)
}

fn is_served(key: ApiKey, version: i16) -> bool {
    let range = SERVED.iter().find(|(served, _, _)| *served == key);
    range.is_some_and(|(_, first, last)| (*first..=*last).contains(&version))
}

fn violation(error: impl Display) -> Error {
    Error::user(SqlState::ProtocolViolation, error.to_string())
}

/// The code of an outcome: zero when all went well.
fn code_of<T>(outcome: &Result<T, ResponseError>) -> i16 {
    outcome.as_ref().err().map_or(0, ResponseError::code)
}

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

fn topic_name(name: impl Into<String>) -> TopicName {
    TopicName(text(name))
}

#[cfg(test)]
mod tests;
