//! The epoch that a sink's transactions have last committed, as the sink's own cluster keeps it: an
//! offset of a consumer group, because that is what a transaction can set beside its messages.
//!
//! ```text
//! group: the transactional id · partition 0 of the sink's topic · offset: the epoch
//!                                                               · metadata: "epoch writer" as text
//! ```
//! Invariant: nobody else sets it: the group has no members.

use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::producer::{code_of, invalid};
use crate::error::{Error, Result, SqlState};
use crate::source::kafka::properties;
use crate::source::kafka::report::Reports;
use crate::task;
use crate::types::KafkaConnection;

/// A committed epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) epoch: u64,
    /// The number of the process that committed it; earlier versions left it out.
    pub(super) writer: Option<u64>,
}

impl Mark {
    fn text(self) -> String {
        match self.writer {
            Some(writer) => format!("{} {writer}", self.epoch),
            None => self.epoch.to_string(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (epoch, writer) = match text.split_once(' ') {
            Some((epoch, writer)) => (epoch, Some(writer.parse().ok()?)),
            None => (text, None),
        };
        let epoch = epoch.parse().ok()?;
        Some(Self { epoch, writer })
    }
}

/// Asks for, and names, the epoch of one sink.
pub(super) struct Marker {
    /// `None` only while it is dropped.
    consumer: Option<BaseConsumer<Quiet>>,
    group: String,
    topic: String,
}

impl Marker {
    /// Prepares a client; the first question connects.
    ///
    /// # Errors
    /// When a property under `kafka.` is unknown or invalid.
    pub(super) fn new(connection: &KafkaConnection, group: &str, topic: &str) -> Result<Self> {
        let properties = properties::for_offsets(connection, group)?;
        let mut config = ClientConfig::new();
        for (name, value) in properties {
            config.set(name, value);
        }
        config.set_log_level(RDKafkaLogLevel::Notice);
        let quiet = Quiet(Reports::new(&connection.bootstrap_servers));
        let consumer = config.create_with_context(quiet).map_err(invalid)?;
        Ok(Self {
            consumer: Some(consumer),
            group: group.to_owned(),
            topic: topic.to_owned(),
        })
    }

    /// The group, as a transaction wants it named.
    pub(super) fn group(&self) -> Result<ConsumerGroupMetadata> {
        self.consumer()
            .group_metadata()
            .ok_or_else(|| Error::internal("a consumer with a group has no group"))
    }

    /// The epoch that was committed last, if any.
    ///
    /// # Errors
    /// By `told` when there is no answer; 22000 when the group holds what no sink ever set.
    pub(super) fn read(
        &self,
        timeout: Duration,
        told: impl Fn(&KafkaError) -> Error,
    ) -> Result<Option<Mark>> {
        let mut wanted = TopicPartitionList::with_capacity(1);
        wanted.add_partition(&self.topic, 0);
        let answer = self.consumer().committed_offsets(wanted, timeout);
        let answer = answer.map_err(|error| told(&error))?;
        let Some(found) = answer.find_partition(&self.topic, 0) else {
            return Ok(None);
        };
        found.error().map_err(|error| told(&error))?;
        let Offset::Offset(offset) = found.offset() else {
            return Ok(None);
        };
        let epoch = u64::try_from(offset).ok();
        let mark = Mark::parse(found.metadata());
        let mark = mark.filter(|mark| Some(mark.epoch) == epoch);
        mark.map(Some).ok_or_else(|| self.foreign(found.metadata()))
    }

    /// What says in a transaction that the epoch is in it.
    pub(super) fn of(&self, mark: Mark) -> Result<TopicPartitionList> {
        let epoch = mark.epoch;
        let too_many = |_| Error::internal("an epoch's number is larger than an offset can be");
        let offset = i64::try_from(epoch).map_err(too_many)?;
        let mut offsets = TopicPartitionList::with_capacity(1);
        let mut entry = offsets.add_partition(&self.topic, 0);
        let set: KafkaResult<()> = entry.set_offset(Offset::Offset(offset));
        set.map_err(|error| Error::internal(format!("no offset: {error}")))?;
        entry.set_metadata(mark.text());
        Ok(offsets)
    }

    fn foreign(&self, metadata: &str) -> Error {
        let (group, topic) = (&self.group, &self.topic);
        Error::external(
            SqlState::DataException,
            false,
            format!("consumer group \"{group}\" is not a sink's"),
        )
        .detail(format!(
            "Its offset of topic \"{topic}\" does not name an epoch: \"{metadata}\"."
        ))
        .hint("A sink keeps its epoch in the group of its transactional id: choose another id.")
    }

    fn consumer(&self) -> &BaseConsumer<Quiet> {
        self.consumer.as_ref().expect("taken only by drop")
    }
}

impl Drop for Marker {
    /// Returns at once: the library waits for its threads, and for the group's coordinator.
    fn drop(&mut self) {
        let consumer = self.consumer.take();
        if let Err(error) = task::spawn_thread("kafka-drop", move || drop(consumer)) {
            tracing::debug!(target: "kafka", %error, "no thread to destroy a client on");
        }
    }
}

/// Keeps what the library tells away from the terminal.
struct Quiet(Reports);

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.0.log(level as i32, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(code_of(&error), reason);
        // Nobody takes them: the question that they belong to has an error of its own.
        self.0.take_errors();
    }
}

impl ConsumerContext for Quiet {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_by_this_version_and_earlier_ones() {
        for writer in [None, Some(u64::MAX)] {
            let mark = Mark { epoch: 7, writer };
            assert_eq!(Mark::parse(&mark.text()), Some(mark));
        }
        assert_eq!(Mark::parse("7 somebody"), None);
        assert_eq!(Mark::parse(""), None);
    }
}
