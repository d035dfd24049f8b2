//! Questions about a cluster: which topics, which partitions, which offsets.
//!
//! Owns the texts of the errors that a user sees when a topic or a broker is not there.
//! Invariant: no question waits longer than its timeout (and a fifth of a second) for an answer.

use std::time::{Duration, Instant};

use rdkafka_sys::rd_kafka_resp_err_t as Resp;

use super::admin::{self, Failure, Which};
use super::client::{Client, sentence};
use super::code::Meaning;
use super::{errors, metadata, properties};
use crate::clock;
use crate::error::{Error, Result, SqlState};
use crate::types::{KafkaConnection, Offset, PartitionId, PartitionRange};

/// How long a broker may take to answer a question.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to leave a cluster alone whose partitions are changing hands.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Near topic names in a hint.
const NEAR_MAX: usize = 3;

/// Asks a cluster about its topics. Its calls block; several threads may use it.
#[derive(Debug)]
pub struct Cluster {
    client: Client,
    servers: String,
    read_committed: bool,
}

impl Cluster {
    /// Prepares a client; the first question connects.
    ///
    /// # Errors
    /// When a property under `kafka.` is unknown or has an invalid value.
    pub fn connect(connection: &KafkaConnection) -> Result<Self> {
        Ok(Self {
            client: Client::new(&properties::for_metadata(connection)?)?,
            servers: connection.bootstrap_servers.clone(),
            read_committed: true,
        })
    }

    /// Whether the ends of partitions are those of committed records (the default) or of all.
    #[must_use]
    pub fn read_committed(mut self, read_committed: bool) -> Self {
        self.read_committed = read_committed;
        self
    }

    /// The partitions of a topic, in ascending order.
    ///
    /// # Errors
    /// An unknown topic (the hint names near ones), a user who may not see it, no answer in time.
    pub fn partitions(&self, topic: &str, timeout: Duration) -> Result<Vec<PartitionId>> {
        let start = clock::instant();
        loop {
            if let Some(partitions) = self.lookup(topic, timeout)? {
                return Ok(partitions);
            }
            if !self.is_known_elsewhere(topic, timeout, start) {
                return Err(self.unknown_topic(topic, timeout));
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    /// Of a topic that one broker does not know: whether another one does, which is so for a moment
    /// after it was made.
    fn is_known_elsewhere(&self, topic: &str, timeout: Duration, start: Instant) -> bool {
        let names = || self.topics(timeout).unwrap_or_default();
        start.elapsed() + RETRY_PAUSE <= timeout && names().iter().any(|name| name == topic)
    }

    /// What tells a topic from every other one, also from an earlier one of its name; `None` when the
    /// cluster does not say.
    ///
    /// # Errors
    /// A name that no topic can have.
    pub fn topic_id(&self, topic: &str, timeout: Duration) -> Result<Option<String>> {
        let answer = admin::topic_id(&self.client, topic, timeout)?;
        Ok(answer.unwrap_or_else(|failure| {
            let reason = failure.text;
            tracing::debug!(target: "kafka", topic, reason, "the topic's id is not known");
            None
        }))
    }

    /// The names of all topics that the user may see, in order.
    ///
    /// # Errors
    /// No answer in time.
    pub fn topics(&self, timeout: Duration) -> Result<Vec<String>> {
        let topics = metadata::fetch(&self.client, None, timeout)?
            .map_err(|code| self.translate(None, &code.into()))?;
        let mut names: Vec<_> = topics.into_iter().map(|topic| topic.name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// True when both reach the same cluster, however its addresses are written: a broker of the one
    /// is a broker of the other.
    ///
    /// # Errors
    /// No answer in time.
    pub fn is_same(&self, other: &Self, timeout: Duration) -> Result<bool> {
        let brokers = |cluster: &Self| {
            metadata::brokers(&cluster.client, timeout)
                .map_err(|code| cluster.translate(None, &code.into()))
        };
        Ok(!brokers(self)?.is_disjoint(&brokers(other)?))
    }

    /// What each partition holds now: the first offset and the one after the last.
    ///
    /// # Errors
    /// An unknown topic or partition, a user who may not read it, no answer in time.
    pub fn offsets(
        &self,
        topic: &str,
        partitions: &[PartitionId],
        timeout: Duration,
    ) -> Result<Vec<PartitionRange>> {
        let first = self.list(topic, partitions, Which::Earliest, timeout)?;
        let end = self.list(topic, partitions, Which::Latest, timeout)?;
        Ok(first
            .into_iter()
            .zip(end)
            .map(|((partition, start), (_, end))| {
                let start = start.unwrap_or(Offset(0));
                PartitionRange {
                    partition,
                    start,
                    end: end.unwrap_or(start).max(start),
                }
            })
            .collect())
    }

    /// For each partition the first offset whose record's timestamp (milliseconds since the Unix
    /// epoch) is not earlier; where no record is so late, the offset after the last.
    ///
    /// # Errors
    /// An unknown topic or partition, a user who may not read it, no answer in time.
    pub fn offsets_for_time(
        &self,
        topic: &str,
        partitions: &[PartitionId],
        time_ms: i64,
        timeout: Duration,
    ) -> Result<Vec<(PartitionId, Offset)>> {
        // The ends are asked for first: a record that comes in between is not skipped.
        let ends = self.list(topic, partitions, Which::Latest, timeout)?;
        let found = self.list(topic, partitions, Which::AtOrAfter(time_ms), timeout)?;
        Ok(found
            .into_iter()
            .zip(ends)
            .map(|((partition, offset), (_, end))| (partition, offset.or(end).unwrap_or(Offset(0))))
            .collect())
    }

    /// Makes a topic and waits until it can be seen; false if it was there. Without a replication
    /// the broker's default holds.
    ///
    /// # Errors
    /// An invalid name, a user who may not make topics, no answer in time.
    pub fn create_topic(
        &self,
        topic: &str,
        partitions: u32,
        replication: Option<u16>,
    ) -> Result<bool> {
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        let replication = replication.map_or(-1, i32::from);
        let outcome =
            admin::create_topic(&self.client, topic, partitions, replication, ANSWER_TIMEOUT)?;
        match outcome {
            Ok(()) => self.await_topic(topic).map(|()| true),
            Err(failure)
                if failure
                    .code
                    .is(Resp::RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) =>
            {
                Ok(false)
            }
            Err(failure) => Err(self.translate(Some(topic), &failure)),
        }
    }

    /// Whether there is a consumer group of that name, be it only with offsets.
    ///
    /// # Errors
    /// A user who may not see it, no answer in time.
    pub fn group_is_there(&self, group: &str, timeout: Duration) -> Result<bool> {
        self.of_coordinator(timeout, |left| {
            admin::group_is_there(&self.client, group, left)
        })
    }

    /// Deletes a consumer group with its offsets, if it is there.
    ///
    /// # Errors
    /// A group with members, a user who may not delete it, no answer in time.
    pub fn delete_group(&self, group: &str, timeout: Duration) -> Result<()> {
        self.of_coordinator(timeout, |left| {
            admin::delete_group(&self.client, group, left)
        })
    }

    /// Asks a group's coordinator, again while one is chosen or reads its groups: on a new cluster the
    /// first question is what makes it do so.
    fn of_coordinator<T>(
        &self,
        timeout: Duration,
        ask: impl Fn(Duration) -> Result<std::result::Result<T, Failure>>,
    ) -> Result<T> {
        const PASSING: [Resp; 3] = [
            Resp::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
            Resp::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
            Resp::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        ];
        let start = clock::instant();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            let failure = match ask(left)? {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let passes = PASSING.into_iter().any(|code| failure.code.is(code));
            if !passes || start.elapsed() + RETRY_PAUSE > timeout {
                return Err(self.translate(None, &failure));
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    /// A new topic is known to its controller first, to the other brokers a little later, and last
    /// its partitions have leaders that know of it.
    fn await_topic(&self, topic: &str) -> Result<()> {
        let start = clock::instant();
        loop {
            let found = self.lookup(topic, ANSWER_TIMEOUT)?.unwrap_or_default();
            if !found.is_empty() {
                return self
                    .list(topic, &found, Which::Latest, ANSWER_TIMEOUT)
                    .map(drop);
            }
            if start.elapsed() > ANSWER_TIMEOUT {
                return Err(self.unknown_topic(topic, ANSWER_TIMEOUT));
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    /// `None` when there is no such topic.
    fn lookup(&self, topic: &str, timeout: Duration) -> Result<Option<Vec<PartitionId>>> {
        let found = metadata::fetch(&self.client, Some(topic), timeout)?
            .map_err(|code| self.translate(Some(topic), &code.into()))?;
        let Some(found) = found.into_iter().find(|found| found.name == topic) else {
            return Ok(None);
        };
        if found.code.is_ok() || found.code.meaning() == Meaning::Moving {
            return Ok(Some(found.partitions));
        }
        match found.code.meaning() {
            Meaning::TopicGone => Ok(None),
            _ => Err(self.translate(Some(topic), &found.code.into())),
        }
    }

    fn list(
        &self,
        topic: &str,
        partitions: &[PartitionId],
        which: Which,
        timeout: Duration,
    ) -> Result<admin::Offsets> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let start = clock::instant();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            let how = (self.read_committed, left);
            let failure = match admin::offsets(&self.client, topic, partitions, which, how)? {
                Ok(offsets) => return Ok(offsets),
                Err(failure) => failure,
            };
            match failure.code.meaning() {
                Meaning::TopicGone if self.is_known_elsewhere(topic, left, start) => {}
                Meaning::TopicGone => return Err(self.unknown_topic(topic, timeout)),
                Meaning::Moving if start.elapsed() + RETRY_PAUSE <= timeout => {}
                _ => return Err(self.translate(Some(topic), &failure)),
            }
            std::thread::sleep(RETRY_PAUSE);
            self.lookup(topic, left)?;
        }
    }

    fn unknown_topic(&self, topic: &str, timeout: Duration) -> Error {
        let error = Error::user(
            SqlState::UndefinedTable,
            format!("topic \"{topic}\" does not exist"),
        );
        // The hint is a courtesy: without an answer to it the error stands.
        let names = self.topics(timeout).unwrap_or_default();
        let near = near_names(topic, &names);
        if near.is_empty() {
            return error.hint("Set create_topic = true to make the topic.");
        }
        error.hint(format!("Did you mean {}?", near.join(" or ")))
    }

    fn translate(&self, topic: Option<&str>, failure: &Failure) -> Error {
        // Lets errors that came meanwhile explain this one.
        self.client.take_errors();
        let reports = self.client.reports();
        let reason = reports.last_failure();
        let meaning = failure.code.meaning();
        let name = topic.unwrap_or_default();
        let refused = meaning == Meaning::Unreachable && reports.take_credentials_refused();
        if refused || meaning == Meaning::NotAuthenticated {
            return errors::not_authenticated(&self.servers, reason.as_deref());
        }
        if meaning == Meaning::Unreachable {
            let reason = reason.as_ref().unwrap_or(&failure.text);
            return errors::unreachable(&self.servers, topic, reason);
        }
        if meaning == Meaning::Refused {
            return errors::refused(name);
        }
        if failure.code.is(Resp::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION) {
            return Error::user(
                SqlState::InvalidParameterValue,
                format!("invalid topic name \"{name}\""),
            )
            .detail(sentence(&failure.text));
        }
        Error::external(
            SqlState::ConnectionFailure,
            true,
            format!("kafka at \"{}\" could not answer", self.servers),
        )
        .detail(sentence(&failure.text))
    }
}

/// The names that a user may have meant, nearest first, each in quotes.
fn near_names(wanted: &str, names: &[String]) -> Vec<String> {
    let folded = wanted.to_lowercase();
    let mut near: Vec<(f64, &String)> = names
        .iter()
        .filter(|name| !name.starts_with("__"))
        .filter_map(|name| {
            let name_folded = name.to_lowercase();
            let mut likeness = strsim::normalized_damerau_levenshtein(&folded, &name_folded);
            if folded.len() > 2 && (name_folded.contains(&folded) || folded.contains(&name_folded))
            {
                likeness = likeness.max(0.7);
            }
            (likeness >= 0.6).then_some((likeness, name))
        })
        .collect();
    near.sort_by(|(a, a_name), (b, b_name)| b.total_cmp(a).then(a_name.cmp(b_name)));
    near.truncate(NEAR_MAX);
    near.into_iter()
        .map(|(_, name)| format!("\"{name}\""))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Cluster, near_names};
    use crate::clock;
    use crate::error::SqlState;
    use crate::types::KafkaConnection;
    use std::time::Duration;

    fn near(wanted: &str, names: &[&str]) -> Vec<String> {
        near_names(
            wanted,
            &names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_misspelt_topic_finds_its_neighbours_nearest_first() {
        let names = [
            "trades",
            "trade-events",
            "tradez",
            "orders",
            "__consumer_offsets",
        ];
        assert_eq!(near("tradse", &names), ["\"trades\"", "\"tradez\""]);
        assert_eq!(
            near("trade", &names),
            ["\"trades\"", "\"tradez\"", "\"trade-events\""]
        );
        assert_eq!(near("TRADES", &names)[0], "\"trades\"");
        assert!(near("payments", &names).is_empty());
    }

    #[test]
    fn a_broker_that_is_not_there_is_an_error_within_the_timeout() {
        let connection = KafkaConnection {
            bootstrap_servers: "127.0.0.1:1".to_owned(),
            ..KafkaConnection::default()
        };
        let cluster = Cluster::connect(&connection).unwrap();
        let start = clock::instant();
        let error = cluster
            .partitions("trades", Duration::from_millis(700))
            .unwrap_err();
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(error.state(), SqlState::ConnectionUnable);
        assert!(error.detail_text().unwrap().contains("refused"), "{error}");
    }
}
