//! Members of groups: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};

use super::{code_of, text};
use crate::broker::connection::{Client, Request};
use crate::broker::groups::{Caller, Identity, Join, JoinedGroup};
use crate::broker::server::Server;
use crate::clock;

/// Takes a member in; answers when the generation is complete.
pub(super) async fn join(
    server: &Server,
    client: &Client,
    request: &Request,
    join: JoinGroupRequest,
) -> JoinGroupResponse {
    let (group_id, version) = (join.group_id.clone(), request.version);
    let milliseconds = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let session_timeout = milliseconds(join.session_timeout_ms);
    let protocols = join.protocols.into_iter();
    let join = Join {
        member_id: join.member_id.to_string(),
        identity: Identity {
            instance: join.group_instance_id.map(|instance| instance.to_string()),
            client_id: request.client_id.clone(),
            client_host: format!("/{}", client.remote.ip()),
        },
        session_timeout,
        rebalance_timeout: match version {
            0 => session_timeout,
            _ => milliseconds(join.rebalance_timeout_ms),
        },
        protocol_type: join.protocol_type.to_string(),
        // Copied, so that the group does not hold on to the request's buffer.
        protocols: protocols
            .map(|p| (p.name.to_string(), copied(&p.metadata)))
            .collect(),
    };
    let member_id = join.member_id.clone();
    let joined = match server.groups.join(&group_id, join, clock::instant()) {
        Ok(joined) => joined.await.unwrap_or(Err(ResponseError::UnknownMemberId)),
        Err(error) => Err(error),
    };
    match joined {
        Ok(joined) => joined_response(joined, version),
        Err(error) => JoinGroupResponse::default()
            .with_error_code(error.code())
            .with_generation_id(-1)
            .with_member_id(text(member_id))
            .with_protocol_name((version < 7).then(|| text(""))),
    }
}

fn joined_response(joined: JoinedGroup, version: i16) -> JoinGroupResponse {
    let member = |(id, instance, metadata): (String, Option<String>, Bytes)| {
        JoinGroupResponseMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(instance.filter(|_| version >= 5).map(text))
            .with_metadata(metadata)
    };
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type((version >= 7).then(|| text(joined.protocol_type)))
        .with_protocol_name(Some(text(joined.protocol)))
        .with_leader(text(joined.leader))
        .with_member_id(text(joined.member_id))
        .with_members(joined.members.into_iter().map(member).collect())
}

/// Gives a member its share; answers when the leader has assigned.
pub(super) async fn sync(
    server: &Server,
    version: i16,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let assignments = request.assignments.into_iter();
    let assignments = assignments.map(|a| (a.member_id.to_string(), copied(&a.assignment)));
    let caller = Caller {
        member_id: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    let now = clock::instant();
    let synced = match server
        .groups
        .sync(&request.group_id, caller, assignments.collect(), now)
    {
        Ok(synced) => synced
            .await
            .unwrap_or(Err(ResponseError::RebalanceInProgress)),
        Err(error) => Err(error),
    };
    match synced {
        Ok(share) => SyncGroupResponse::default()
            .with_protocol_type((version >= 5).then(|| text(share.protocol_type)))
            .with_protocol_name((version >= 5).then(|| text(share.protocol)))
            .with_assignment(share.assignment),
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
    }
}

/// A sign of life.
pub(super) fn heartbeat(server: &Server, request: &HeartbeatRequest) -> HeartbeatResponse {
    let caller = Caller {
        member_id: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    let heard = server
        .groups
        .heartbeat(&request.group_id, caller, clock::instant());
    HeartbeatResponse::default().with_error_code(code_of(&heard))
}

/// Members go.
pub(super) fn leave(
    server: &Server,
    request: LeaveGroupRequest,
    version: i16,
) -> LeaveGroupResponse {
    let now = clock::instant();
    let group_id = &request.group_id;
    if version < 3 {
        let left = server.groups.leave(group_id, &request.member_id, None, now);
        return LeaveGroupResponse::default().with_error_code(code_of(&left));
    }
    let members = request.members.into_iter().map(|member| {
        let instance = member.group_instance_id.as_deref();
        let left = server
            .groups
            .leave(group_id, &member.member_id, instance, now);
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(code_of(&left))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}

fn copied(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
