//! The source against a real Kafka. Messages are produced with rdkafka
//! directly, so that the source is not judged by our own sink.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use headwater::error::SqlState;
use headwater::source::{ANSWER_TIMEOUT, Cluster, Reader, ReaderOptions};
use headwater::types::{KafkaConnection, Offset, PartitionId};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::broker::real_kafka;
use crate::support::wait;

struct Topic {
    connection: KafkaConnection,
    name: String,
}

impl Topic {
    /// A new topic with a name of its own.
    fn create(test: &str, partitions: u32) -> Option<Self> {
        let connection = KafkaConnection {
            bootstrap_servers: real_kafka()?,
            properties: BTreeMap::new(),
        };
        let name = format!("source-{test}-{}", uuid::Uuid::new_v4());
        let cluster = Cluster::connect(&connection).unwrap();
        assert!(
            cluster.create_topic(&name, partitions, None).unwrap(),
            "the topic is new"
        );
        Some(Self { connection, name })
    }

    fn producer(&self, extra: &[(&str, &str)]) -> BaseProducer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.connection.bootstrap_servers);
        for (name, value) in extra {
            config.set(*name, *value);
        }
        config.create().unwrap()
    }

    /// Produces `count` messages `{"n":i}` to a partition, at time `1000 + i` ms.
    fn fill(&self, partition: i32, count: i64) {
        let producer = self.producer(&[]);
        for n in 0..count {
            send(
                &producer,
                &self.name,
                partition,
                &format!("{{\"n\":{n}}}"),
                1000 + n,
            );
        }
        producer.flush(Duration::from_secs(20)).unwrap();
    }

    fn options(&self, assignment: &[(i32, i64)]) -> ReaderOptions {
        ReaderOptions {
            connection: self.connection.clone(),
            topic: self.name.clone(),
            assignment: assignment
                .iter()
                .map(|(partition, offset)| (PartitionId(*partition), Offset(*offset)))
                .collect(),
            read_committed: true,
            with_keys: false,
            with_headers: false,
            rows_max: 8192,
            bytes_max: 1 << 20,
            end_wait: Duration::from_millis(50),
        }
    }
}

fn send(producer: &BaseProducer, topic: &str, partition: i32, payload: &str, time_ms: i64) {
    loop {
        let record = BaseRecord::<str, str>::to(topic)
            .partition(partition)
            .payload(payload)
            .timestamp(time_ms);
        if producer.send(record).is_ok() {
            return;
        }
        producer.poll(Duration::from_millis(10));
    }
}

/// What a reader gives until every partition stood at its end once.
#[derive(Debug, Default)]
struct Seen {
    payloads: BTreeMap<i32, Vec<String>>,
    ends: BTreeMap<i32, i64>,
    problems: Vec<String>,
}

fn read_to_end(reader: &mut Reader, partitions: usize) -> Seen {
    let mut seen = Seen::default();
    let start = Instant::now();
    while seen.ends.len() < partitions {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "no end: {seen:?}"
        );
        let read = reader.read(Duration::from_millis(200)).unwrap();
        for (row, message) in read.batch.messages.iter().enumerate() {
            let payload = read.batch.payload(row).expect("no tombstones here");
            let payload = String::from_utf8(payload.to_vec()).unwrap();
            seen.payloads
                .entry(message.partition.0)
                .or_default()
                .push(payload);
        }
        seen.ends
            .extend(read.ends.iter().map(|end| (end.partition.0, end.next.0)));
        seen.problems
            .extend(read.problems.into_iter().map(|problem| problem.message));
    }
    seen
}

#[test]
fn a_reader_gives_each_partition_in_order_and_tells_its_end() {
    let Some(topic) = Topic::create("order", 3) else {
        return;
    };
    topic.fill(0, 5000);
    topic.fill(2, 10);
    let mut reader = Reader::open(topic.options(&[(0, 0), (1, 0), (2, 4)])).unwrap();
    let seen = read_to_end(&mut reader, 3);
    let numbers = |from: i64, to: i64| {
        (from..to)
            .map(|n| format!("{{\"n\":{n}}}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(seen.payloads[&0], numbers(0, 5000));
    assert_eq!(seen.payloads[&2], numbers(4, 10));
    assert!(!seen.payloads.contains_key(&1), "partition 1 is empty");
    assert_eq!(seen.ends, BTreeMap::from([(0, 5000), (1, 0), (2, 10)]));
    assert!(seen.problems.is_empty(), "{:?}", seen.problems);
}

#[test]
fn a_read_keeps_to_its_limits_and_loses_nothing() {
    let Some(topic) = Topic::create("limits", 1) else {
        return;
    };
    topic.fill(0, 1000);
    for (rows_max, bytes_max) in [(7, 1 << 20), (8192, 100)] {
        let mut options = topic.options(&[(0, 0)]);
        options.rows_max = rows_max;
        options.bytes_max = bytes_max;
        let mut reader = Reader::open(options).unwrap();
        let mut numbers = 0;
        while numbers < 1000 {
            let read = reader.read(Duration::from_secs(5)).unwrap();
            let rows = read.batch.messages.len();
            assert!(rows <= rows_max, "{rows} rows");
            let bytes = read.batch.buffer.len() - headwater::types::MessageBatch::PADDING;
            assert!(bytes < bytes_max + 10, "{bytes} bytes");
            for row in 0..rows {
                let expected = format!("{{\"n\":{numbers}}}");
                assert_eq!(read.batch.payload(row).unwrap(), expected.as_bytes());
                numbers += 1;
            }
        }
    }
}

#[test]
fn keys_headers_times_and_tombstones_arrive() {
    let Some(topic) = Topic::create("parts", 1) else {
        return;
    };
    let producer = topic.producer(&[]);
    let headers = OwnedHeaders::new()
        .insert(Header {
            key: "a",
            value: Some("x\"y"),
        })
        .insert(Header {
            key: "none",
            value: None::<&str>,
        })
        .insert(Header {
            key: "a",
            value: Some("last"),
        });
    producer
        .send(
            BaseRecord::to(&topic.name)
                .key("k1")
                .payload("{}")
                .timestamp(42)
                .headers(headers),
        )
        .map_err(|(error, _)| error)
        .unwrap();
    producer
        .send(
            BaseRecord::<str, str>::to(&topic.name)
                .key("k2")
                .timestamp(43),
        )
        .map_err(|(error, _)| error)
        .unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
    let mut options = topic.options(&[(0, 0)]);
    options.with_keys = true;
    options.with_headers = true;
    let mut reader = Reader::open(options).unwrap();
    let mut batch = reader.read(Duration::from_secs(10)).unwrap().batch;
    if batch.messages.is_empty() {
        batch = reader.read(Duration::from_secs(10)).unwrap().batch;
    }
    assert_eq!(batch.messages.len(), 2);
    assert_eq!(batch.key(0).unwrap(), b"k1");
    assert_eq!(batch.messages[0].timestamp_ms, 42);
    let headers = batch.messages[0].headers.unwrap().of(&batch.buffer);
    let headers: serde_json::Value = serde_json::from_slice(headers).unwrap();
    assert_eq!(headers, serde_json::json!({"a": "last", "none": null}));
    assert_eq!(batch.key(1).unwrap(), b"k2");
    assert_eq!(batch.payload(1), None);
    assert_eq!(batch.messages[1].headers, None);
}

#[test]
fn the_first_message_is_there_soon_and_a_later_one_at_once() {
    let Some(topic) = Topic::create("latency", 1) else {
        return;
    };
    topic.fill(0, 1);
    let start = Instant::now();
    let mut reader = Reader::open(topic.options(&[(0, 0)])).unwrap();
    while reader
        .read(Duration::from_secs(5))
        .unwrap()
        .batch
        .messages
        .is_empty()
    {}
    let first = start.elapsed();
    let producer = topic.producer(&[("linger.ms", "0")]);
    let mut delays = Vec::new();
    for n in 0..50 {
        let sent = Instant::now();
        send(&producer, &topic.name, 0, "{}", n);
        while reader
            .read(Duration::from_secs(5))
            .unwrap()
            .batch
            .messages
            .is_empty()
        {}
        delays.push(sent.elapsed());
    }
    delays.sort();
    println!(
        "first message after {first:?}, then p50 {:?}, worst {:?}",
        delays[25], delays[49]
    );
    assert!(
        first < Duration::from_secs(3),
        "first message after {first:?}"
    );
    assert!(
        delays[25] < Duration::from_millis(100),
        "half of them after {:?}",
        delays[25]
    );
}

#[test]
fn a_waker_ends_a_waiting_read() {
    let Some(topic) = Topic::create("waker", 1) else {
        return;
    };
    let mut reader = Reader::open(topic.options(&[(0, 0)])).unwrap();
    read_to_end(&mut reader, 1);
    let waker = reader.waker();
    let waking = std::thread::spawn(move || {
        wait::pause(Duration::from_millis(100));
        waker.wake();
        waker
    });
    let start = Instant::now();
    let read = reader.read(Duration::from_secs(20)).unwrap();
    assert!(read.batch.messages.is_empty());
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    let waker = waking.join().unwrap();
    drop(reader);
    waker.wake();
}

#[test]
fn only_committed_records_are_read_and_the_end_lies_behind_the_control_record() {
    let Some(topic) = Topic::create("committed", 1) else {
        return;
    };
    let producer = topic.producer(&[("transactional.id", topic.name.as_str())]);
    let wait = Duration::from_secs(20);
    producer.init_transactions(wait).unwrap();
    for (text, commit) in [("one", true), ("two", false), ("three", true)] {
        producer.begin_transaction().unwrap();
        send(&producer, &topic.name, 0, text, 1);
        producer.flush(wait).unwrap();
        if commit {
            producer.commit_transaction(wait).unwrap();
        } else {
            producer.abort_transaction(wait).unwrap();
        }
    }
    producer.begin_transaction().unwrap();
    send(&producer, &topic.name, 0, "open", 1);
    producer.flush(wait).unwrap();

    let partitions = [PartitionId(0)];
    let committed = Cluster::connect(&topic.connection).unwrap();
    let range = committed
        .offsets(&topic.name, &partitions, ANSWER_TIMEOUT)
        .unwrap()[0];
    assert_eq!(
        (range.start, range.end),
        (Offset(0), Offset(6)),
        "the last stable offset"
    );
    let all = Cluster::connect(&topic.connection)
        .unwrap()
        .read_committed(false);
    let range = all
        .offsets(&topic.name, &partitions, ANSWER_TIMEOUT)
        .unwrap()[0];
    assert_eq!(range.end, Offset(7));

    let mut reader = Reader::open(topic.options(&[(0, 0)])).unwrap();
    let seen = read_to_end(&mut reader, 1);
    assert_eq!(seen.payloads[&0], ["one", "three"]);
    assert_eq!(seen.ends[&0], 6);

    let mut options = topic.options(&[(0, 0)]);
    options.read_committed = false;
    let mut reader = Reader::open(options).unwrap();
    let seen = read_to_end(&mut reader, 1);
    assert_eq!(seen.payloads[&0], ["one", "two", "three", "open"]);
    assert_eq!(seen.ends[&0], 7);
}

#[test]
fn offsets_are_found_by_time() {
    let Some(topic) = Topic::create("times", 2) else {
        return;
    };
    topic.fill(0, 100);
    let cluster = Cluster::connect(&topic.connection).unwrap();
    let partitions = cluster.partitions(&topic.name, ANSWER_TIMEOUT).unwrap();
    assert_eq!(partitions, [PartitionId(0), PartitionId(1)]);
    let at = |time_ms| {
        cluster
            .offsets_for_time(&topic.name, &partitions, time_ms, ANSWER_TIMEOUT)
            .unwrap()
            .into_iter()
            .map(|(_, offset)| offset.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(at(i64::MIN), [0, 0]);
    assert_eq!(at(1050), [50, 0]);
    assert_eq!(at(1099), [99, 0]);
    assert_eq!(at(1100), [100, 0]);
}

#[test]
fn an_unknown_topic_names_its_neighbours_and_makes_no_topic() {
    let Some(topic) = Topic::create("neighbour", 1) else {
        return;
    };
    let cluster = Cluster::connect(&topic.connection).unwrap();
    let wrong = format!("{}x", topic.name);
    let error = cluster.partitions(&wrong, ANSWER_TIMEOUT).unwrap_err();
    assert_eq!(error.state(), SqlState::UndefinedTable);
    assert_eq!(error.message(), format!("topic \"{wrong}\" does not exist"));
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains(&format!("\"{}\"", topic.name)),
        "{error:?}"
    );
    assert!(
        !cluster.topics(ANSWER_TIMEOUT).unwrap().contains(&wrong),
        "it was not made"
    );
    let error = cluster
        .partitions("not a name!", ANSWER_TIMEOUT)
        .unwrap_err();
    assert!(error.message().contains("not a name!"), "{error:?}");
}

#[test]
fn a_topic_is_made_once() {
    let Some(topic) = Topic::create("twice", 2) else {
        return;
    };
    let cluster = Cluster::connect(&topic.connection).unwrap();
    assert!(
        !cluster.create_topic(&topic.name, 5, None).unwrap(),
        "it is there"
    );
    assert_eq!(
        cluster
            .partitions(&topic.name, ANSWER_TIMEOUT)
            .unwrap()
            .len(),
        2
    );
    let error = cluster.create_topic("bad/name", 1, None).unwrap_err();
    assert_eq!(error.state(), SqlState::InvalidParameterValue, "{error:?}");
}

#[test]
fn an_offset_that_is_not_there_is_an_error_that_says_so() {
    let Some(topic) = Topic::create("gone", 1) else {
        return;
    };
    topic.fill(0, 3);
    let mut reader = Reader::open(topic.options(&[(0, 1000)])).unwrap();
    let error = fails(&mut reader);
    assert_eq!(error.state(), SqlState::ObjectNotInPrerequisiteState);
    assert!(
        error.message().starts_with("offset 1000 of partition 0"),
        "{error:?}"
    );
}

#[test]
fn a_deleted_topic_is_an_error_that_says_so() {
    let Some(topic) = Topic::create("deleted", 1) else {
        return;
    };
    topic.fill(0, 3);
    let mut reader = Reader::open(topic.options(&[(0, 0)])).unwrap();
    read_to_end(&mut reader, 1);
    let admin: rdkafka::admin::AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", &topic.connection.bootstrap_servers)
        .create()
        .unwrap();
    let options = rdkafka::admin::AdminOptions::new();
    futures::executor::block_on(admin.delete_topics(&[&topic.name], &options)).unwrap();
    let error = fails(&mut reader);
    assert_eq!(error.state(), SqlState::UndefinedTable, "{error:?}");
}

/// Reads until an error comes.
fn fails(reader: &mut Reader) -> headwater::error::Error {
    let start = Instant::now();
    loop {
        match reader.read(Duration::from_millis(200)) {
            Ok(read) => assert!(
                start.elapsed() < Duration::from_secs(60),
                "no error; problems {:?}",
                read.problems
            ),
            Err(error) => return error,
        }
    }
}

#[test]
fn a_message_of_five_megabytes_is_read() {
    let Some(topic) = Topic::create("large", 1) else {
        return;
    };
    let admin: rdkafka::admin::AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", &topic.connection.bootstrap_servers)
        .create()
        .unwrap();
    let resource = rdkafka::admin::ResourceSpecifier::Topic(&topic.name);
    let change = rdkafka::admin::AlterConfig::new(resource).set("max.message.bytes", "10485760");
    let options = rdkafka::admin::AdminOptions::new();
    futures::executor::block_on(admin.alter_configs([&change], &options)).unwrap();
    let producer = topic.producer(&[("message.max.bytes", "10485760")]);
    let large = "x".repeat(5 << 20);
    send(&producer, &topic.name, 0, &large, 1);
    send(&producer, &topic.name, 0, "after", 1);
    producer.flush(Duration::from_secs(20)).unwrap();
    let mut reader = Reader::open(topic.options(&[(0, 0)])).unwrap();
    let seen = read_to_end(&mut reader, 1);
    assert_eq!(seen.payloads[&0].len(), 2);
    assert_eq!(seen.payloads[&0][0].len(), 5 << 20);
    assert_eq!(seen.payloads[&0][1], "after");
    assert_eq!(seen.ends[&0], 2);
}

#[test]
fn dropping_a_reader_returns_at_once() {
    let Some(topic) = Topic::create("drop", 1) else {
        return;
    };
    topic.fill(0, 20_000);
    let mut reader = Reader::open(topic.options(&[(0, 0)])).unwrap();
    while reader
        .read(Duration::from_secs(5))
        .unwrap()
        .batch
        .messages
        .is_empty()
    {}
    let start = Instant::now();
    drop(reader);
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );

    let mut options = topic.options(&[(0, 0)]);
    options.connection.bootstrap_servers = "127.0.0.1:1".to_owned();
    let mut reader = Reader::open(options).unwrap();
    let read = reader.read(Duration::from_millis(300)).unwrap();
    assert!(read.batch.messages.is_empty());
    let start = Instant::now();
    drop(reader);
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );
}

/// Against librdkafka's mock cluster, whose brokers can be switched off.
#[test]
fn a_broker_that_goes_away_and_comes_back_is_a_problem_and_no_error() {
    let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = Topic {
        connection: KafkaConnection {
            bootstrap_servers: cluster.bootstrap_servers(),
            properties: BTreeMap::new(),
        },
        name: "t".to_owned(),
    };
    topic.fill(0, 10);
    let mut reader = Reader::open(topic.options(&[(0, 0)])).unwrap();
    assert_eq!(read_to_end(&mut reader, 1).payloads[&0].len(), 10);

    cluster.broker_down(1).unwrap();
    let start = Instant::now();
    while reader
        .read(Duration::from_millis(200))
        .unwrap()
        .problems
        .is_empty()
    {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "nobody told of the dead broker"
        );
    }
    cluster.broker_up(1).unwrap();
    topic.fill(0, 5);
    let seen = read_to_end(&mut reader, 1);
    assert_eq!(seen.payloads[&0].len(), 5);
    assert_eq!(seen.ends[&0], 15);
}
