//! The errors that readers, writers and questions have in common, in the user's words.

use super::client::sentence;
use crate::error::{Error, SqlState};
use crate::types::{Offset, PartitionId};

/// The broker does not know the user.
pub(crate) fn not_authenticated(servers: &str, reason: Option<&str>) -> Error {
    let error = Error::external(
        SqlState::ConnectionUnable,
        true,
        format!("kafka at \"{servers}\" refused the credentials"),
    )
    .hint(
        "Check kafka.security.protocol, kafka.sasl.mechanisms, kafka.sasl.username and \
         kafka.sasl.password.",
    );
    match reason {
        Some(reason) => error.detail(sentence(reason)),
        None => error,
    }
}

/// No broker answers.
pub(crate) fn unreachable(servers: &str, topic: Option<&str>, reason: &str) -> Error {
    let about = topic.map_or_else(String::new, |topic| format!(" about topic \"{topic}\""));
    Error::external(
        SqlState::ConnectionUnable,
        true,
        format!("no answer from kafka at \"{servers}\"{about}"),
    )
    .detail(sentence(reason))
    .hint(
        "Check bootstrap_servers, that the broker runs, and that it advertises an address that can \
         be reached from here.",
    )
}

/// The broker knows the user and does not let him.
pub(crate) fn refused(topic: &str) -> Error {
    Error::external(
        SqlState::InsufficientPrivilege,
        false,
        format!("kafka does not allow this on topic \"{topic}\""),
    )
    .hint("The user of the connection needs the rights to describe, read or write the topic.")
}

/// The topic was there and is not.
pub(crate) fn gone(topic: &str) -> Error {
    Error::external(
        SqlState::UndefinedTable,
        false,
        format!("topic \"{topic}\" does not exist any more"),
    )
    .hint("A topic that is made again is another one: drop the query and create it again to read that from its beginning.")
}

/// The wanted offset is not in the partition.
pub(crate) fn offset_gone(
    topic: &str,
    partition: Option<PartitionId>,
    offset: Offset,
    reason: &str,
) -> Error {
    let place = named(partition);
    Error::external(
        SqlState::ObjectNotInPrerequisiteState,
        false,
        format!(
            "offset {} of {place}topic \"{topic}\" is not there",
            offset.0
        ),
    )
    .detail(sentence(reason))
    .hint(OFFSET_GONE)
}

/// Whether an error says that the offset to read next is not there.
pub fn is_offset_gone(error: &Error) -> bool {
    error.state() == SqlState::ObjectNotInPrerequisiteState
        && error.hint_text() == Some(OFFSET_GONE)
}

const OFFSET_GONE: &str = "Retention may have removed it, or the topic was made anew.";

/// What the broker sent cannot be read.
pub(crate) fn corrupt(topic: &str, partition: Option<PartitionId>, reason: &str) -> Error {
    let place = named(partition);
    Error::external(
        SqlState::DataCorrupted,
        true,
        format!("a record in {place}topic \"{topic}\" cannot be read"),
    )
    .detail(sentence(reason))
}

/// Reading cannot go on.
pub(crate) fn unreadable(topic: &str, reason: &str) -> Error {
    Error::external(
        SqlState::ConnectionFailure,
        true,
        format!("topic \"{topic}\" cannot be read"),
    )
    .detail(sentence(reason))
}

fn named(partition: Option<PartitionId>) -> String {
    partition.map_or_else(String::new, |partition| {
        format!("partition {} of ", partition.0)
    })
}
