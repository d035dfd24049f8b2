//! Groups as an administrator sees them: ListGroups, DescribeGroups, DeleteGroups.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    GroupId, ListGroupsRequest, ListGroupsResponse,
};

use super::{code_of, text};
use crate::broker::server::Server;

/// What a group that does not exist is called.
const NO_GROUP: &str = "Dead";

/// Lists groups, those in certain states if the client says which.
pub(super) fn list(
    server: &Server,
    request: &ListGroupsRequest,
    version: i16,
) -> ListGroupsResponse {
    let wanted = |state: &str| {
        let states = &request.states_filter;
        states.is_empty()
            || states
                .iter()
                .any(|other| other.as_str().eq_ignore_ascii_case(state))
    };
    let groups = server
        .groups
        .list()
        .into_iter()
        .filter(|(_, group)| wanted(group.state));
    let groups = groups.map(|(id, group)| {
        let listed = ListedGroup::default()
            .with_group_id(GroupId(text(id)))
            .with_protocol_type(text(group.protocol_type));
        if version >= 4 {
            listed.with_group_state(text(group.state))
        } else {
            listed
        }
    });
    ListGroupsResponse::default().with_groups(groups.collect())
}

/// Describes groups and their members.
pub(super) fn describe(server: &Server, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|id| {
        let description = server.groups.describe(&id);
        let described = DescribedGroup::default().with_group_id(id);
        let Some(group) = description else {
            return described.with_group_state(text(NO_GROUP));
        };
        let members = group.members.into_iter().map(|member| {
            DescribedGroupMember::default()
                .with_member_id(text(member.id))
                .with_group_instance_id(member.identity.instance.map(text))
                .with_client_id(text(member.identity.client_id))
                .with_client_host(text(member.identity.client_host))
                .with_member_metadata(member.metadata)
                .with_member_assignment(member.assignment)
        });
        described
            .with_group_state(text(group.state))
            .with_protocol_type(text(group.protocol_type))
            .with_protocol_data(text(group.protocol))
            .with_members(members.collect())
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

/// Deletes groups without members.
pub(super) fn delete(server: &Server, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = request.groups_names.into_iter().map(|id| {
        let deleted = server.groups.delete(&id);
        DeletableGroupResult::default()
            .with_group_id(id)
            .with_error_code(code_of(&deleted))
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}
