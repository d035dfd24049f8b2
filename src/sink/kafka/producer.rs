//! The producing client: sends with back-pressure, and knows which messages could not be delivered.
//!
//! ```text
//! send → library's queue (bounded) → broker → delivery report → Deliveries: failed ones are counted
//! ```
//! Invariant: after [`Producer::drain`] returned without error, every message sent since the last
//! drain is confirmed by the broker.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};

use crate::clock;
use crate::error::{Culprit, Error, Result, SqlState};
use crate::sink::Stopping;
use crate::source::kafka::client::sentence;
use crate::source::kafka::code::{Code, Meaning};
use crate::source::kafka::errors;
use crate::source::kafka::properties::{self, Again, Properties};
use crate::source::kafka::report::Reports;
use crate::task;
use crate::types::KafkaConnection;

/// How long to wait between two looks at the delivery reports: an eighth of what was waited already. The client's own
/// flush would wait a tenth of a second, and its poll keeps a processor busy for the last millisecond of its wait.
const LOOK_MIN: Duration = Duration::from_micros(100);
const LOOK_MAX: Duration = Duration::from_millis(5);
/// How long it may take until all brokers of a cluster know of a new topic, and how often they are asked.
const TOPIC_SPREADS: Duration = Duration::from_secs(5);
const TOPIC_PAUSE: Duration = Duration::from_millis(20);
/// In so many parts a client that may be told to stop waits for an answer.
const LOOKS: u32 = 5;

/// A header: its name and its value, if it has one.
pub type HeaderText = (String, Option<Vec<u8>>);

/// One message to send.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// It decides the partition.
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// In their order.
    pub headers: &'a [HeaderText],
    /// The record's timestamp, milliseconds since the Unix epoch; `None`: now.
    pub timestamp_ms: Option<i64>,
}

/// Produces to one topic.
pub struct Producer {
    /// `None` only while it is dropped.
    client: Option<BaseProducer<Deliveries>>,
    servers: String,
    topic: String,
    /// How long a message may take before it counts as not delivered.
    delivery_timeout: Duration,
    stopping: Option<Stopping>,
}

impl Producer {
    /// Prepares a client; the first message connects.
    ///
    /// # Errors
    /// When a property under `kafka.` is unknown or invalid.
    pub fn connect(
        connection: &KafkaConnection,
        topic: &str,
        delivery_timeout: Duration,
    ) -> Result<Self> {
        let properties = properties::for_producer(connection, Again::Known)?;
        Self::new(properties, topic, delivery_timeout)
    }

    /// A client whose messages count when their transaction is committed. No message may take longer
    /// than its transaction.
    pub(super) fn transactional(
        connection: &KafkaConnection,
        topic: &str,
        id: &str,
        (transaction, delivery): (Duration, Duration),
    ) -> Result<Self> {
        let properties = properties::for_transactions(connection, id, transaction)?;
        Self::new(properties, topic, delivery.min(transaction))
    }

    /// A client for one statement, which starts sooner.
    pub(super) fn for_statement(
        connection: &KafkaConnection,
        topic: &str,
        delivery_timeout: Duration,
    ) -> Result<Self> {
        let properties = properties::for_producer(connection, Again::Twice)?;
        Self::new(properties, topic, delivery_timeout)
    }

    fn new(properties: Properties, topic: &str, delivery_timeout: Duration) -> Result<Self> {
        let servers = properties.get("bootstrap.servers").cloned();
        let servers = servers.unwrap_or_default();
        let mut config = ClientConfig::new();
        for (name, value) in properties {
            config.set(name, value);
        }
        config.set(
            "delivery.timeout.ms",
            delivery_timeout.as_millis().to_string(),
        );
        config.set_log_level(RDKafkaLogLevel::Notice);
        let deliveries = Deliveries {
            reports: Reports::new(&servers),
            failed: Mutex::new(Failed::default()),
        };
        let client = config.create_with_context(deliveries).map_err(invalid)?;
        Ok(Self {
            client: Some(client),
            servers,
            topic: topic.to_owned(),
            delivery_timeout,
            stopping: None,
        })
    }

    /// Waits end, with an error of SQLSTATE 57014, when this says so.
    pub(super) fn heeding(mut self, stopping: Stopping) -> Self {
        self.stopping = Some(stopping);
        self
    }

    fn heed(&self) -> Result<()> {
        match &self.stopping {
            Some(stopping) if stopping() => {
                let text = format!("producing to topic \"{}\" was stopped", self.topic);
                Err(Error::external(SqlState::QueryCanceled, true, text))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Asks whether the topic is there. Blocks up to `timeout`.
    ///
    /// # Errors
    /// When no broker answers, or there is no such topic.
    pub(super) fn check_topic(&self, timeout: Duration) -> Result<()> {
        let start = clock::instant();
        loop {
            let Some(code) = self.topic_error(Some(&self.topic), timeout)? else {
                return Ok(());
            };
            // One broker may not know yet what another one does: the topic was made a moment ago.
            let known = || -> Result<bool> { Ok(self.topic_error(None, timeout)?.is_none()) };
            let is_new = code.meaning() == Meaning::TopicGone && start.elapsed() < TOPIC_SPREADS;
            if !is_new || !known()? {
                return Err(self.explain(code, 0));
            }
            std::thread::sleep(TOPIC_PAUSE);
        }
    }

    /// What is wrong with the topic, by an answer about one topic or about all; one that is missing
    /// there is.
    fn topic_error(&self, asked: Option<&str>, timeout: Duration) -> Result<Option<Code>> {
        let client = self.client();
        let mut left = self.stopping.as_ref().map_or(1, |_| LOOKS);
        let part = timeout / left;
        let answer = loop {
            self.heed()?;
            let answer = client.client().fetch_metadata(asked, part);
            client.poll(Duration::ZERO);
            left -= 1;
            match answer {
                Ok(answer) => break answer,
                Err(error) if left == 0 => return Err(self.explain(code_of(&error), 0)),
                Err(_) => {}
            }
        };
        let mut topics = answer.topics().iter();
        let missing = RDKafkaErrorCode::UnknownTopicOrPartition as i32;
        Ok(match topics.find(|topic| topic.name() == self.topic) {
            Some(topic) => topic.error().map(|code| Code(code as i32)),
            None => Some(Code(missing)),
        })
    }

    /// Sends one message; waits while the client's queue is full.
    ///
    /// # Errors
    /// When the queue does not empty in time, a message before could not be delivered, or this one
    /// cannot be one.
    pub fn send(&self, message: Outgoing<'_>) -> Result<()> {
        let client = self.client();
        let mut record = self.record(message);
        let start = clock::instant();
        loop {
            let (error, refused) = match client.send(record) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            let full = RDKafkaErrorCode::QueueFull;
            if error.rdkafka_error_code() != Some(full) {
                return Err(self.explain(code_of(&error), 1));
            }
            self.check()?;
            self.heed()?;
            if start.elapsed() > self.delivery_timeout {
                return Err(self.explain(Code(full as i32), 1));
            }
            self.look(start.elapsed());
            record = refused;
        }
    }

    fn record<'a>(&'a self, message: Outgoing<'a>) -> BaseRecord<'a, [u8], [u8]> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic);
        record.key = message.key;
        record.payload = message.value;
        record.timestamp = message.timestamp_ms;
        if !message.headers.is_empty() {
            record.headers = Some(headers(message.headers));
        }
        record
    }

    /// Sends one message if there is room for it; false if not, or if it cannot be one.
    pub(super) fn try_send(&self, message: Outgoing<'_>) -> bool {
        self.client().send(self.record(message)).is_ok()
    }

    /// Waits up to `patience` until every message is confirmed or given up; gives how many were
    /// given up since the last look.
    pub(super) fn settle(&self, patience: Duration) -> u64 {
        let start = clock::instant();
        while self.in_flight() > 0 && start.elapsed() < patience {
            self.look(start.elapsed());
        }
        self.client().poll(Duration::ZERO);
        self.client().context().take_failed().messages
    }

    /// Serves what came back meanwhile; does not wait.
    ///
    /// # Errors
    /// When a message could not be delivered.
    pub fn check(&self) -> Result<()> {
        self.take_reports();
        let failed = self.client().context().take_failed();
        match failed.first {
            Some(code) => Err(self.explain(code, failed.messages)),
            None => Ok(()),
        }
    }

    /// Takes all delivery reports that have come. A look of the library without waiting takes one,
    /// and what is not taken keeps its messages in memory.
    fn take_reports(&self) {
        let mut before = self.in_flight();
        while before > 0 {
            self.client().poll(Duration::ZERO);
            let after = self.in_flight();
            if after >= before {
                break;
            }
            before = after;
        }
    }

    /// The same, and waits a moment if messages are still under way, for which somebody has `waited` so long.
    fn look(&self, waited: Duration) {
        self.take_reports();
        if self.in_flight() > 0 {
            std::thread::sleep((waited / 8).clamp(LOOK_MIN, LOOK_MAX));
        }
    }

    /// Waits until every message is confirmed or given up.
    ///
    /// # Errors
    /// When a message could not be delivered.
    pub fn drain(&self) -> Result<()> {
        let start = clock::instant();
        // Each message is given up in its time; a little more, so that its own reason is heard.
        let patience = self.delivery_timeout + Duration::from_secs(5);
        while self.in_flight() > 0 {
            self.heed()?;
            self.look(start.elapsed());
            if start.elapsed() > patience {
                let late = Code(RDKafkaErrorCode::MessageTimedOut as i32);
                return Err(self.explain(late, 0));
            }
        }
        self.check()
    }

    /// Messages that the broker has not confirmed yet, by what has come back so far.
    pub(super) fn backlog(&self) -> u64 {
        self.take_reports();
        self.in_flight()
    }

    pub(super) fn in_flight(&self) -> u64 {
        u64::try_from(self.client().in_flight_count()).unwrap_or(0)
    }

    /// Gives up what is not sent yet and forgets what failed. What is under way is waited for up to
    /// `patience`, and given up then: the broker may have it or not.
    pub(super) fn abort(&self, patience: Duration) {
        let client = self.client();
        client.purge(PurgeConfig::default().queue());
        self.settle(patience);
        client.purge(PurgeConfig::default().queue().inflight());
        let start = clock::instant();
        while self.in_flight() > 0 {
            self.look(start.elapsed());
        }
        client.poll(Duration::ZERO);
        client.context().take_failed();
    }

    /// The library's client.
    pub(super) fn client(&self) -> &BaseProducer<Deliveries> {
        self.client.as_ref().expect("taken only by drop")
    }

    /// Where it produces to.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// The cluster, as it was given.
    pub(super) fn servers(&self) -> &str {
        &self.servers
    }

    /// Why the connection failed, as last told; and whether it was for the credentials.
    pub(super) fn last_failure(&self) -> (Option<String>, bool) {
        let reports = &self.client().context().reports;
        (reports.last_failure(), reports.take_credentials_refused())
    }

    /// Why `messages` of them could not be delivered; 0 if none was sent.
    fn explain(&self, code: Code, messages: u64) -> Error {
        let topic = self.topic.as_str();
        let reports = &self.client().context().reports;
        let reason = reports.last_failure().unwrap_or_else(|| code.to_string());
        let error = match code.meaning() {
            Meaning::NotAuthenticated => {
                return errors::not_authenticated(&self.servers, Some(&reason));
            }
            // A message that waits for a broker in vain does not know why.
            Meaning::Unreachable | Meaning::Passing if reports.take_credentials_refused() => {
                return errors::not_authenticated(&self.servers, Some(&reason));
            }
            Meaning::Unreachable => {
                return errors::unreachable(&self.servers, Some(topic), &reason);
            }
            Meaning::Refused => return errors::refused(topic),
            Meaning::TopicGone => Error::external(
                SqlState::UndefinedTable,
                false,
                format!("topic \"{topic}\" does not exist"),
            ),
            _ if code == Code(RDKafkaErrorCode::MessageSizeTooLarge as i32) => Error::external(
                SqlState::ProgramLimitExceeded,
                false,
                format!("a message is larger than topic \"{topic}\" takes"),
            )
            .hint("Raise max.message.bytes of the topic.")
            .about(Culprit::Row),
            _ if code == Code(RDKafkaErrorCode::InvalidRecord as i32) => Error::external(
                SqlState::DataException,
                false,
                format!("topic \"{topic}\" does not take a message"),
            )
            .hint("A topic that is compacted takes messages with a key only.")
            .about(Culprit::Row),
            _ => Error::external(
                SqlState::ConnectionFailure,
                true,
                format!(
                    "kafka at \"{}\" did not confirm messages to topic \"{topic}\"",
                    self.servers
                ),
            ),
        };
        let reason = sentence(&code.to_string());
        match messages {
            0 => error.detail(reason),
            1 => error.detail(format!("One message was not delivered: {reason}")),
            _ => error.detail(format!("{messages} messages were not delivered: {reason}")),
        }
    }
}

impl Drop for Producer {
    /// Returns at once: the library joins its threads on a thread of its own.
    fn drop(&mut self) {
        let client = self.client.take();
        if let Err(error) = task::spawn_thread("kafka-drop", move || drop(client)) {
            tracing::debug!(target: "kafka", %error, "no thread to destroy a client on");
        }
    }
}

/// What became of the messages, as the library reports it while it is polled.
pub(super) struct Deliveries {
    reports: Reports,
    failed: Mutex<Failed>,
}

#[derive(Debug, Default)]
struct Failed {
    messages: u64,
    /// Why the first of them failed.
    first: Option<Code>,
}

impl Deliveries {
    fn take_failed(&self) -> Failed {
        std::mem::take(&mut *self.failed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.reports.log(level as i32, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.reports.error(code_of(&error), reason);
        // Nobody takes them: why a message failed is told with the message.
        self.reports.take_errors();
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.messages += 1;
            failed.first.get_or_insert(code_of(error));
        }
    }
}

fn headers(headers: &[HeaderText]) -> OwnedHeaders {
    headers.iter().fold(
        OwnedHeaders::new_with_capacity(headers.len()),
        |all, (name, value)| {
            all.insert(Header {
                key: name,
                value: value.as_deref(),
            })
        },
    )
}

/// The library's code of an error.
pub(super) fn code_of(error: &KafkaError) -> Code {
    let unknown = RDKafkaErrorCode::Unknown;
    Code(error.rdkafka_error_code().unwrap_or(unknown) as i32)
}

/// The error of properties that the library does not take.
pub(super) fn invalid(error: KafkaError) -> Error {
    let (name, text) = match error {
        KafkaError::ClientConfig(_, text, name, _) => (format!(" \"kafka.{name}\""), text),
        other => (String::new(), other.to_string()),
    };
    Error::user(
        SqlState::InvalidParameterValue,
        format!("invalid kafka property{name}"),
    )
    .detail(sentence(&text))
}
