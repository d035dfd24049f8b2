//! One transaction an epoch, on a producer whose transactional id keeps an older process away.
//!
//! ```text
//! open: init (an older process is fenced, what it left open is aborted) → the last epoch is asked for
//!
//! first row → begin → messages .. → drained → the epoch's number goes in → commit
//!                                 → abort
//! ```
//! Invariant: an epoch's number is committed if and only if all its messages are.

use std::time::{Duration, Instant};

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::Producer as _;
use rdkafka_sys::rd_kafka_resp_err_t as Resp;

use super::marker::{Mark, Marker};
use super::producer::{Outgoing, Producer, code_of};
use crate::clock;
use crate::crash_point;
use crate::error::{Error, Result, SqlState};
use crate::source::ANSWER_TIMEOUT;
use crate::source::kafka::client::sentence;
use crate::source::kafka::code::Meaning;
use crate::source::kafka::errors;
use crate::types::KafkaConnection;

/// How long an act whose outcome is not known is asked for again.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to leave a coordinator alone that is not ready.
const PAUSE: Duration = Duration::from_millis(20);
/// How long what is under way is waited for when an epoch is given up, and how long a producer that is
/// given up may take to abort its transaction, so that readers need not wait until the broker does.
const FAREWELL: Duration = Duration::from_secs(2);
/// A transaction may take at least so long.
const TIMEOUT_MIN: Duration = Duration::from_secs(60);
/// Kafka's own bound (`transaction.max.timeout.ms`), unless a broker is told another.
const TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);

/// Writes epochs to a topic, each in a transaction of its own.
pub(super) struct Transactions {
    /// `None` only while it is dropped.
    producer: Option<Producer>,
    id: String,
    marker: Marker,
    group: ConsumerGroupMetadata,
    /// What was committed when this was opened.
    committed: Option<Mark>,
    /// Who commits, if that is known.
    writer: Option<u64>,
    timeout: Duration,
    /// Since when a transaction is open.
    open: Option<Instant>,
}

impl Transactions {
    /// Connects, fences other users of the id, and asks which epoch was committed last. Epochs end
    /// every `interval`; a message is given up after `delivery`.
    ///
    /// # Errors
    /// When no broker answers in time, there is no such topic, the user may not use transactions, or
    /// a property under `kafka.` is unknown or invalid.
    pub(super) fn open(
        connection: &KafkaConnection,
        topic: &str,
        id: &str,
        (interval, delivery): (Duration, Duration),
    ) -> Result<Self> {
        let timeout = timeout_for(interval);
        let producer = Producer::transactional(connection, topic, id, (timeout, delivery))?;
        producer.check_topic(ANSWER_TIMEOUT)?;
        let marker = Marker::new(connection, id, topic)?;
        let group = marker.group()?;
        let mut opened = Self {
            producer: Some(producer),
            id: id.to_owned(),
            marker,
            group,
            committed: None,
            writer: None,
            timeout,
            open: None,
        };
        opened.insist("begin transactions", |producer, left| {
            producer.client().init_transactions(left)
        })?;
        let told = |error: &KafkaError| opened.explain("tell the last epoch", error);
        opened.committed = opened.marker.read(PATIENCE, told)?;
        Ok(opened)
    }

    /// The epoch that had been committed when this was opened.
    pub(super) fn committed(&self) -> Option<u64> {
        self.committed.map(|mark| mark.epoch)
    }

    /// Who had committed it, if that is known.
    pub(super) fn committed_by(&self) -> Option<u64> {
        self.committed.and_then(|mark| mark.writer)
    }

    /// Whoever commits from now on has this number.
    pub(super) fn sign(&mut self, writer: u64) {
        self.writer = Some(writer);
    }

    /// Messages that the broker has not confirmed yet.
    pub(super) fn backlog(&self) -> u64 {
        self.producer().backlog()
    }

    /// Sends one message as part of the epoch; waits while the client's queue is full.
    ///
    /// # Errors
    /// When the epoch cannot be committed any more, or this cannot be a message.
    pub(super) fn send(&mut self, message: Outgoing<'_>) -> Result<()> {
        self.begin()?;
        let sent = self.producer().send(message);
        sent.map_err(|error| self.judge(error))
    }

    /// Serves what came back meanwhile; does not wait.
    ///
    /// # Errors
    /// When a message could not be delivered.
    pub(super) fn check(&self) -> Result<()> {
        self.producer().check().map_err(|error| self.judge(error))
    }

    /// Commits everything that was sent, and that it is this epoch.
    ///
    /// # Errors
    /// When it is not committed, or its outcome is not known.
    pub(super) fn commit(&mut self, epoch: u64) -> Result<()> {
        // The library's own wait inside the commit takes a tenth of a second when anything is left.
        let drained = self.producer().drain();
        drained.map_err(|error| self.judge(error))?;
        crash_point::reach("rows delivered, the epoch not in its transaction");
        self.begin()?;
        let writer = self.writer;
        let offsets = self.marker.of(Mark { epoch, writer })?;
        self.insist("take an epoch into its transaction", |producer, left| {
            let client = producer.client();
            client.send_offsets_to_transaction(&offsets, &self.group, left)
        })?;
        crash_point::reach("the epoch in its transaction, not committed");
        self.insist("commit a transaction", |producer, left| {
            producer.client().commit_transaction(left)
        })?;
        self.open = None;
        Ok(())
    }

    /// Gives up everything that was sent since the last commit.
    ///
    /// # Errors
    /// When the broker is not known to have heard of it.
    pub(super) fn abort(&mut self) -> Result<()> {
        // A message that came after its transaction's end would belong to no transaction.
        self.producer().abort(FAREWELL);
        if self.open.is_none() {
            return Ok(());
        }
        self.insist("abort a transaction", |producer, left| {
            producer.client().abort_transaction(left)
        })?;
        self.open = None;
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        let begun = self.producer().client().begin_transaction();
        begun.map_err(|error| self.explain("begin a transaction", &error))?;
        self.open = Some(clock::instant());
        Ok(())
    }

    /// Does what may be done again until its outcome is known, within [`PATIENCE`].
    fn insist(
        &self,
        what: &str,
        act: impl Fn(&Producer, Duration) -> KafkaResult<()>,
    ) -> Result<()> {
        let start = clock::instant();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            let error = match act(self.producer(), left) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let may_again = matches!(&error, KafkaError::Transaction(e) if e.is_retriable());
            if !may_again || start.elapsed() + PAUSE > PATIENCE {
                return Err(self.explain(what, &error));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// What a message's error means if the whole producer has failed.
    fn judge(&self, error: Error) -> Error {
        match self.producer().client().client().fatal_error() {
            Some((code, text)) if is_fenced(code as i32) => self.fenced(&text),
            Some(_) | None => error,
        }
    }

    fn explain(&self, what: &str, error: &KafkaError) -> Error {
        let code = code_of(error);
        let fatal = self.producer().client().client().fatal_error();
        let text = match (&fatal, error) {
            (Some((_, text)), _) => text.clone(),
            (None, KafkaError::Transaction(error)) => error.string(),
            (None, _) => code.to_string(),
        };
        if is_fenced(code.0) || fatal.is_some_and(|(code, _)| is_fenced(code as i32)) {
            return self.fenced(&text);
        }
        let (servers, topic) = (self.producer().servers(), self.producer().topic());
        let (reason, refused) = self.producer().last_failure();
        let id = &self.id;
        if code.is(Resp::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
            || code.is(Resp::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED)
            || code.is(Resp::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED)
        {
            return not_allowed(id);
        }
        match code.meaning() {
            Meaning::NotAuthenticated => errors::not_authenticated(servers, reason.as_deref()),
            Meaning::Unreachable if refused => {
                errors::not_authenticated(servers, reason.as_deref())
            }
            Meaning::Refused => errors::refused(topic),
            _ if code.is(Resp::RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT) => {
                self.too_long(&text)
            }
            _ if code.is(Resp::RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE)
                || code.is(Resp::RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION) =>
            {
                Error::external(
                    SqlState::FeatureNotSupported,
                    false,
                    format!("kafka at \"{servers}\" has no transactions"),
                )
                .detail(sentence(&text))
                .hint("Use delivery = 'at least once'.")
            }
            _ => Error::external(
                SqlState::ConnectionFailure,
                true,
                format!("kafka at \"{servers}\" did not {what} for topic \"{topic}\""),
            )
            .detail(format!(
                "{} The transactional id is \"{id}\".",
                sentence(&text)
            )),
        }
    }

    /// Another producer has the id now, or the broker has given the transaction up: it says the same.
    fn fenced(&self, text: &str) -> Error {
        let (id, topic) = (&self.id, self.producer().topic());
        let since = self.open.map(|open| open.elapsed());
        if since.is_some_and(|since| since + PAUSE > self.timeout) {
            return Error::external(
                SqlState::ConnectionFailure,
                true,
                format!("a transaction for topic \"{topic}\" took too long and was aborted"),
            )
            .detail(format!(
                "The broker waits {} s. The transactional id is \"{id}\".",
                self.timeout.as_secs()
            ));
        }
        Error::external(
            SqlState::ObjectInUse,
            false,
            format!("another process has taken over the sink to topic \"{topic}\""),
        )
        .detail(format!("The transactional id is \"{id}\". {}", sentence(text)))
        .hint(
            "Stop the other process, or give the sinks different ids: WITH (.., transactional_id = '..').",
        )
    }

    fn too_long(&self, text: &str) -> Error {
        Error::external(
            SqlState::InvalidParameterValue,
            false,
            format!(
                "kafka does not allow a transaction to take {} s",
                self.timeout.as_secs()
            ),
        )
        .detail(sentence(text))
        .hint("Choose a shorter checkpoint_interval, or raise the broker's transaction.max.timeout.ms.")
    }

    fn producer(&self) -> &Producer {
        self.producer.as_ref().expect("taken only by drop")
    }
}

impl Drop for Transactions {
    /// Returns at once; readers are freed of an open transaction beside it.
    fn drop(&mut self) {
        let Some(producer) = self.producer.take() else {
            return;
        };
        if self.open.is_none() {
            return;
        }
        let abort = move || {
            producer.abort(FAREWELL);
            if let Err(error) = producer.client().abort_transaction(FAREWELL) {
                tracing::debug!(target: "kafka", %error, "an open transaction is left to the broker");
            }
        };
        if let Err(error) = crate::task::spawn_thread("kafka-drop", abort) {
            tracing::debug!(target: "kafka", %error, "no thread to abort a transaction on");
        }
    }
}

/// How long a transaction may take whose epoch ends every `interval`: a slow epoch is no reason to
/// lose it, but readers wait for a process that has died.
fn timeout_for(interval: Duration) -> Duration {
    interval.saturating_mul(3).clamp(TIMEOUT_MIN, TIMEOUT_MAX)
}

fn is_fenced(code: i32) -> bool {
    let fenced = [
        Resp::RD_KAFKA_RESP_ERR__FENCED,
        Resp::RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
        Resp::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
    ];
    fenced.iter().any(|fenced| *fenced as i32 == code)
}

fn not_allowed(id: &str) -> Error {
    Error::external(
        SqlState::InsufficientPrivilege,
        false,
        "kafka does not allow this user the sink's transactions",
    )
    .detail(format!("The transactional id is \"{id}\"."))
    .hint(
        "The user needs the rights to describe and write the transactional id and to read the consumer \
         group of the same name; or use delivery = 'at least once'.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_may_take_longer_than_an_epoch_within_the_broker_s_bound() {
        let seconds = |interval| timeout_for(Duration::from_secs(interval)).as_secs();
        assert_eq!((seconds(0), seconds(1), seconds(30)), (60, 60, 90));
        assert_eq!((seconds(600), seconds(100_000)), (900, 900));
    }
}
