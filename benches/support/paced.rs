//! Messages at a steady rate that carry the moment they were produced, and a reader that tells how
//! long each took.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

/// How long one message may be awaited.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many messages are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// When message 0 is due.
    pub(crate) epoch: Instant,
    /// Messages a second.
    pub(crate) rate: u64,
    pub(crate) count: u64,
}

/// Sends message `i` at `i / rate` seconds after the epoch. `payload` writes it, given its number and
/// the nanoseconds since the epoch.
pub(crate) fn produce(
    servers: &str,
    topic: &str,
    pace: Pace,
    mut payload: impl FnMut(u64, u128) -> String,
) {
    let producer: ThreadedProducer<_> = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("linger.ms", "0")
        .set("queue.buffering.max.messages", "1000000")
        .create()
        .unwrap();
    for index in 0..pace.count {
        let due = Duration::from_nanos(index * 1_000_000_000 / pace.rate);
        std::thread::sleep(due.saturating_sub(pace.epoch.elapsed()));
        let payload = payload(index, pace.epoch.elapsed().as_nanos());
        let mut record: BaseRecord<'_, (), String> = BaseRecord::to(topic).payload(&payload);
        while let Err((error, back)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full, "a message cannot be produced");
            std::thread::sleep(Duration::from_millis(1));
            record = back;
        }
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

/// Reads the messages of a topic's first partition, of which `uncounted` are a warm-up; how many
/// milliseconds each of the others took, from when it was produced.
///
/// # Errors
/// When one does not come, comes twice or out of order.
pub(crate) fn hear(
    servers: &str,
    topic: &str,
    pace: Pace,
    uncounted: u64,
) -> Result<Vec<f64>, String> {
    let consumer = consumer(servers, topic).map_err(|error| error.to_string())?;
    let mut millis = Vec::new();
    for wanted in 0..pace.count {
        let polled = consumer.poll(PATIENCE).ok_or("a message is missing")?;
        let message = polled.map_err(|error| error.to_string())?;
        let heard = pace.epoch.elapsed();
        let payload = message.payload().unwrap_or_default();
        let member = |name| member(payload, name).ok_or("a message without its number or time");
        if member("number")? != wanted {
            return Err(format!("message {wanted} does not come next"));
        }
        if wanted >= uncounted {
            let sent = Duration::from_nanos(member("sent")?);
            millis.push(heard.saturating_sub(sent).as_secs_f64() * 1_000.0);
        }
    }
    Ok(millis)
}

fn consumer(servers: &str, topic: &str) -> rdkafka::error::KafkaResult<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "5")
        .create()?;
    let mut assigned = TopicPartitionList::new();
    assigned.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&assigned)?;
    Ok(consumer)
}

/// The digits behind a member's name.
fn member(payload: &[u8], name: &str) -> Option<u64> {
    let text = std::str::from_utf8(payload).ok()?;
    let behind = text.split_once(name)?.1.strip_prefix("\":")?;
    let end = behind.find(|c: char| !c.is_ascii_digit());
    behind[..end.unwrap_or(behind.len())].parse().ok()
}
