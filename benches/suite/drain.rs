//! The other references: every message taken and none looked at, by librdkafka and by the product's
//! own fetch.

use std::time::Duration;

use headwater::config::Config;
use headwater::source::{Reader, ReaderOptions};
use headwater::types::{FetchMode, KafkaConnection, PartitionId};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use rdkafka_sys as sys;

use crate::topic::Topic;

/// How long messages may be awaited.
const PATIENCE: Duration = Duration::from_secs(10);

/// The client library's own batch call, and nothing else.
///
/// # Errors
/// When the broker does not answer, or with fewer messages.
pub(crate) fn by_library(topic: &Topic) -> Result<(), String> {
    let consumer = consumer(topic).map_err(|error| error.to_string())?;
    // SAFETY: the handle lives as long as the consumer, which outlives the queue.
    let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
    let mut messages = vec![std::ptr::null_mut(); 1_000];
    let (mut taken, mut idle) = (0, Duration::ZERO);
    let wait_ms = 100;
    while taken < topic.rows && idle < PATIENCE {
        // SAFETY: the queue is valid and the array has room for what is asked.
        let count = unsafe {
            let room = messages.len();
            sys::rd_kafka_consume_batch_queue(queue, wait_ms, messages.as_mut_ptr(), room)
        };
        let count = usize::try_from(count).unwrap_or(0);
        for message in &messages[..count] {
            // SAFETY: the library gave the message to us, once.
            unsafe {
                taken += u64::from(
                    (**message).err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
                );
                sys::rd_kafka_message_destroy(*message);
            }
        }
        idle = match count {
            0 => idle + Duration::from_millis(100),
            _ => Duration::ZERO,
        };
    }
    // SAFETY: it is not used again.
    unsafe { sys::rd_kafka_queue_destroy(queue) };
    all(taken, topic.rows)
}

fn consumer(topic: &Topic) -> rdkafka::error::KafkaResult<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &topic.servers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10")
        .create()?;
    let mut all = TopicPartitionList::new();
    for partition in 0..topic.partitions {
        all.add_partition_offset(&topic.name, partition, Offset::Beginning)?;
    }
    consumer.fetch_metadata(Some(&topic.name), PATIENCE)?;
    consumer.assign(&all)?;
    Ok(consumer)
}

/// The fetch that queries read by, where it serves.
///
/// # Errors
/// When the broker does not answer, or with fewer messages.
pub(crate) fn by_product(topic: &Topic) -> Result<(), String> {
    let limits = Config::default().limits;
    let options = ReaderOptions {
        connection: KafkaConnection {
            bootstrap_servers: topic.servers.clone(),
            ..KafkaConnection::default()
        },
        topic: topic.name.clone(),
        assignment: (0..topic.partitions)
            .map(|partition| (PartitionId(partition), headwater::types::Offset(0)))
            .collect(),
        read_committed: true,
        with_keys: false,
        with_headers: false,
        rows_max: usize::try_from(limits.micro_batch_rows_max).unwrap_or(usize::MAX),
        bytes_max: usize::try_from(limits.micro_batch_bytes_max).unwrap_or(usize::MAX),
        end_wait: Duration::from_millis(10),
        fetch: FetchMode::Direct,
    };
    let mut reader = Reader::open(options).map_err(|error| error.to_string())?;
    let (mut taken, mut waits) = (0, 0);
    // A read returns early when a partition is at its end.
    while taken < topic.rows && waits < 1_000 {
        let read = reader.read(PATIENCE).map_err(|error| error.to_string())?;
        waits = if read.batch.messages.is_empty() {
            waits + 1
        } else {
            0
        };
        taken += read.batch.messages.len() as u64;
    }
    all(taken, topic.rows)
}

fn all(taken: u64, rows: u64) -> Result<(), String> {
    if taken == rows {
        Ok(())
    } else {
        Err(format!("{taken} messages of {rows} came"))
    }
}
