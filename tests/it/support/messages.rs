//! Messages written to and read from topics by librdkafka alone, so that the product is not judged by its own code.
//!
//! Invariant: reading is read-committed and ends at the offsets that the topic had when it began.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use super::wait::PATIENCE;

/// One message to write, or as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) key: Option<String>,
    /// `None` is a tombstone. Bytes: a message need not be text.
    pub(crate) payload: Option<Vec<u8>>,
    /// Milliseconds since the Unix epoch; `None` lets the client library stamp it.
    pub(crate) time_ms: Option<i64>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Record {
    /// A message without a key in partition 0.
    pub(crate) fn of(payload: impl Into<Vec<u8>>) -> Self {
        Self {
            payload: Some(payload.into()),
            ..Self::default()
        }
    }

    /// The same in another partition.
    pub(crate) fn in_partition(mut self, partition: i32) -> Self {
        self.partition = partition;
        self
    }

    /// The payload as text; `NULL` for a tombstone.
    pub(crate) fn text(&self) -> String {
        let bytes = self.payload.as_deref();
        bytes.map_or("NULL".to_owned(), |bytes| {
            String::from_utf8_lossy(bytes).into_owned()
        })
    }
}

/// A cluster as the tests see it.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    bootstrap: String,
}

impl Cluster {
    /// The cluster behind `host:port`.
    pub(crate) fn at(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
        }
    }

    /// Makes a topic; one that is there already must have as many partitions.
    pub(crate) async fn create_topic(&self, topic: &str, partitions: i32) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        self.create(topic, new).await;
    }

    /// Makes a topic of one partition that takes no larger messages.
    pub(crate) async fn create_topic_of_small_messages(&self, topic: &str, bytes_max: usize) {
        let bytes_max = bytes_max.to_string();
        let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
        self.create(topic, new.set("max.message.bytes", &bytes_max))
            .await;
    }

    async fn create(&self, topic: &str, new: NewTopic<'_>) {
        let partitions = new.num_partitions;
        let admin: AdminClient<DefaultClientContext> =
            self.config().create().expect("an admin client");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let made = admin
            .create_topics([&new], &options)
            .await
            .expect("the broker answers");
        for result in made {
            if let Err((name, code)) = result {
                assert_eq!(code, RDKafkaErrorCode::TopicAlreadyExists, "topic {name}");
                assert_eq!(self.partitions(topic), partitions, "partitions of {name}");
            }
        }
    }

    /// Gives a topic more partitions: so many in all.
    pub(crate) async fn grow_topic(&self, topic: &str, partitions: usize) {
        let admin: AdminClient<DefaultClientContext> =
            self.config().create().expect("an admin client");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let grown = [NewPartitions::new(topic, partitions)];
        let grown = admin.create_partitions(&grown, &options);
        for result in grown.await.expect("the broker answers") {
            result.unwrap_or_else(|(name, code)| panic!("topic {name}: {code}"));
        }
    }

    /// Deletes a topic.
    pub(crate) async fn delete_topic(&self, topic: &str) {
        let admin: AdminClient<DefaultClientContext> =
            self.config().create().expect("an admin client");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let deleted = admin.delete_topics(&[topic], &options).await;
        for result in deleted.expect("the broker answers") {
            result.unwrap_or_else(|(name, code)| panic!("topic {name}: {code}"));
        }
    }

    /// Deletes a consumer group without members.
    pub(crate) async fn delete_group(&self, group: &str) {
        let admin: AdminClient<DefaultClientContext> =
            self.config().create().expect("an admin client");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let deleted = admin.delete_groups(&[group], &options).await;
        for result in deleted.expect("the broker answers") {
            result.unwrap_or_else(|(name, code)| panic!("group {name}: {code}"));
        }
    }

    /// Deletes every message that a topic of one partition holds.
    pub(crate) async fn delete_records(&self, topic: &str) {
        let admin: AdminClient<DefaultClientContext> =
            self.config().create().expect("an admin client");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let mut up_to = TopicPartitionList::new();
        up_to
            .add_partition_offset(topic, 0, Offset::End)
            .expect("an offset");
        let deleted = admin.delete_records(&up_to, &options).await;
        for partition in deleted.expect("the broker answers").elements() {
            partition.error().expect("they are deleted");
        }
    }

    /// Writes messages in their order; returns when the broker has them all.
    pub(crate) fn produce(&self, topic: &str, records: &[Record]) {
        self.writer().produce(topic, records);
    }

    /// A client that stays connected, for many small writes.
    pub(crate) fn writer(&self) -> Writer {
        let producer = self
            .config()
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("message.max.bytes", "16000000")
            .set("enable.idempotence", "true")
            .create()
            .expect("a producer");
        Writer { producer }
    }

    /// All messages that a topic holds now, partition by partition in offset order.
    pub(crate) fn read(&self, topic: &str) -> Vec<Record> {
        let consumer = self.consumer();
        let mut assignment = TopicPartitionList::new();
        let mut open = 0;
        for partition in 0..self.partitions(topic) {
            let (low, high) = consumer
                .fetch_watermarks(topic, partition, PATIENCE)
                .expect("offsets");
            if low < high {
                open += 1;
                let start = Offset::Offset(low);
                assignment
                    .add_partition_offset(topic, partition, start)
                    .expect("an offset");
            }
        }
        consumer.assign(&assignment).expect("an assignment");
        let mut records = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while open > 0 {
            assert!(
                Instant::now() < deadline,
                "{topic} was not read to its end within {PATIENCE:?}"
            );
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => records.push(record_of(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                Some(Err(error)) => panic!("{topic}: {error}"),
                None => {}
            }
        }
        records.sort_by_key(|record| record.partition);
        records
    }

    fn partitions(&self, topic: &str) -> i32 {
        let metadata = self
            .consumer()
            .fetch_metadata(Some(topic), PATIENCE)
            .expect("metadata");
        let partitions = metadata
            .topics()
            .first()
            .map_or(0, |topic| topic.partitions().len());
        i32::try_from(partitions).expect("a topic has few partitions")
    }

    fn consumer(&self) -> BaseConsumer {
        self.config()
            .set("group.id", "tests")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("fetch.message.max.bytes", "16000000")
            .create()
            .expect("a consumer")
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }
}

/// Writes messages over one connection.
pub(crate) struct Writer {
    producer: BaseProducer,
}

impl Writer {
    /// Writes messages in their order; returns when the broker has them all.
    pub(crate) fn produce(&self, topic: &str, records: &[Record]) {
        for record in records {
            self.send(topic, record);
        }
        self.producer
            .flush(PATIENCE)
            .expect("the broker takes every message");
    }

    fn send(&self, topic: &str, record: &Record) {
        loop {
            let mut headers = OwnedHeaders::new();
            for (key, value) in &record.headers {
                headers = headers.insert(Header {
                    key,
                    value: Some(value),
                });
            }
            let mut message: BaseRecord<'_, str, [u8]> = BaseRecord::to(topic)
                .partition(record.partition)
                .headers(headers);
            message.key = record.key.as_deref();
            message.payload = record.payload.as_deref();
            message.timestamp = record.time_ms;
            match self.producer.send(message) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => panic!("{topic}: {error}"),
            }
        }
    }
}

fn record_of(message: &impl Message) -> Record {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Record {
        partition: message.partition(),
        key: message.key().map(text),
        payload: message.payload().map(<[u8]>::to_vec),
        time_ms: message.timestamp().to_millis(),
        headers: headers
            .map(|header| {
                (
                    header.key.to_owned(),
                    header.value.map(text).unwrap_or_default(),
                )
            })
            .collect(),
    }
}
