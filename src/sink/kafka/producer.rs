//! A producer that knows which of its messages did not arrive.
//!
//! Invariant: after [`Producer::drain`] without an error every message sent before it is in the
//! topic, on as many brokers as `acks = all` asks for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use crate::clock;
use crate::error::{Error, Result, SqlState};
use crate::source::kafka::properties;
use crate::types::KafkaConnection;

/// How long one wait for the library is.
const POLL: Duration = Duration::from_micros(500);
/// How long messages may be on their way before that is an error.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(130);

/// A message to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Produced {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Writes messages and waits until they have arrived; gives their number. Blocks.
///
/// # Errors
/// When one of them did not arrive; those before and after it may have.
pub fn produce(connection: &KafkaConnection, topic: &str, messages: Vec<Produced>) -> Result<u64> {
    let producer = Producer::open(connection, topic)?;
    let count = messages.len() as u64;
    for message in messages {
        producer.send(&message)?;
    }
    producer.drain()?;
    Ok(count)
}

/// Writes to one topic.
pub struct Producer {
    inner: BaseProducer<Deliveries>,
    failed: Arc<Mutex<Option<Error>>>,
    topic: String,
}

/// Keeps the first failure.
struct Deliveries {
    failed: Arc<Mutex<Option<Error>>>,
    topic: String,
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(topic = %self.topic, %error, reason, "producer meets trouble");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let size = message.payload().map_or(0, <[u8]>::len);
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert_with(|| not_delivered(&self.topic, error, size));
        }
    }
}

impl Producer {
    /// Prepares a producer; the first message connects.
    ///
    /// # Errors
    /// When the connection has a property that the client library refuses.
    pub fn open(connection: &KafkaConnection, topic: &str) -> Result<Self> {
        let mut config = ClientConfig::new();
        for (name, value) in properties::for_producer(connection)? {
            config.set(name, value);
        }
        let failed = Arc::new(Mutex::new(None));
        let context = Deliveries {
            failed: Arc::clone(&failed),
            topic: topic.to_owned(),
        };
        let inner = BaseProducer::from_config_and_context(&config, context).map_err(|error| {
            Error::user(
                SqlState::InvalidParameterValue,
                format!("kafka refuses the options: {error}"),
            )
        })?;
        Ok(Self {
            inner,
            failed,
            topic: topic.to_owned(),
        })
    }

    /// Hands a message over; waits while the library's queue is full.
    ///
    /// # Errors
    /// When the library refuses the message, or an earlier one did not arrive.
    pub fn send(&self, message: &Produced) -> Result<()> {
        self.send_at(message, None)
    }

    /// The same, with the record's own time (milliseconds since the Unix epoch).
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub fn send_at(&self, message: &Produced, time_ms: Option<i64>) -> Result<()> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.topic);
        record.timestamp = time_ms;
        record.key = message.key.as_deref();
        record.payload = message.value.as_deref();
        if !message.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(message.headers.len());
            record.headers = Some(
                message
                    .headers
                    .iter()
                    .fold(headers, |headers, (key, value)| {
                        headers.insert(Header {
                            key,
                            value: value.as_deref(),
                        })
                    }),
            );
        }
        loop {
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.inner.poll(POLL);
                    self.check()?;
                }
                Err((error, _)) => {
                    let size = message.value.as_ref().map_or(0, Vec::len);
                    return Err(not_delivered(&self.topic, &error, size));
                }
            }
        }
    }

    /// Lets the library tell what arrived, without waiting.
    pub fn serve(&self) {
        self.inner.poll(Duration::ZERO);
    }

    /// Waits until everything has arrived. The library's own flush waits a tenth of a second for
    /// nothing, so its queue is emptied first.
    ///
    /// # Errors
    /// When a message sent since the last call did not arrive.
    pub fn drain(&self) -> Result<()> {
        let deadline = clock::instant() + DRAIN_TIMEOUT;
        while self.inner.in_flight_count() > 0 {
            self.inner.poll(POLL);
            if clock::instant() > deadline {
                return Err(Error::external(
                    SqlState::ConnectionFailure,
                    true,
                    format!("topic \"{}\" does not take messages", self.topic),
                ));
            }
        }
        self.check()
    }

    /// Gives up what is on its way.
    pub(super) fn purge(&self) {
        self.inner
            .purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
        self.inner.poll(Duration::ZERO);
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    fn check(&self) -> Result<()> {
        match self
            .failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

fn not_delivered(topic: &str, error: &KafkaError, bytes: usize) -> Error {
    let code = error.rdkafka_error_code();
    let (state, retry) = match code {
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
            (SqlState::ProgramLimitExceeded, false)
        }
        Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
            (SqlState::UndefinedTable, true)
        }
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            (SqlState::InsufficientPrivilege, false)
        }
        _ => (SqlState::ConnectionFailure, true),
    };
    Error::external(
        state,
        retry,
        format!("a message did not reach topic \"{topic}\""),
    )
    .detail(format!("It has {bytes} bytes. The broker says: {error}."))
}
