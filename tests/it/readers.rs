//! What every reader of messages promises, for the direct fetch and for librdkafka, against the
//! embedded broker and a real Kafka.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod logs;
mod faults;
mod changeover;
mod secure;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use headwater::error::{Error, SqlState};
use headwater::source::{ANSWER_TIMEOUT, Cluster, Reader};
use headwater::types::{FetchMode, KafkaConnection, Offset, PartitionId};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};

use crate::support::broker::{RealKafka, real_kafka};
use crate::support::topic::{Topic, everywhere, send};
use crate::support::wait;

/// What a reader gives until every partition stood at its end once.
#[derive(Debug, Default)]
struct Seen {
    payloads: BTreeMap<i32, Vec<String>>,
    ends: BTreeMap<i32, i64>,
    problems: Vec<String>,
}

fn read_to_end(reader: &mut Reader, partitions: usize) -> Seen {
    try_read_to_end(reader, partitions).unwrap()
}

/// The same, unless reading ends before that.
fn try_read_to_end(reader: &mut Reader, partitions: usize) -> Result<Seen, Error> {
    let mut seen = Seen::default();
    let start = Instant::now();
    while seen.ends.len() < partitions {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "no end: {seen:?}"
        );
        let read = reader.read(Duration::from_millis(200))?;
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
    Ok(seen)
}

/// Reads on until partition 0 stands at that end.
fn read_to(reader: &mut Reader, end: i64) -> Vec<String> {
    let mut payloads = Vec::new();
    wait::until("end of the partition", || {
        let mut seen = read_to_end(reader, 1);
        payloads.extend(seen.payloads.remove(&0).unwrap_or_default());
        (seen.ends[&0] == end).then_some(())
    });
    payloads
}

/// What [`Topic::fill`] writes as these messages.
fn numbers(range: Range<i64>) -> Vec<String> {
    range.map(|n| format!("{{\"n\":{n}}}")).collect()
}

#[test]
fn a_reader_gives_each_partition_in_order_and_tells_its_end() {
    everywhere("order", 3, |topic| {
        topic.fill(0, 5000);
        topic.fill(2, 10);
        let mut reader = topic.open(&[(0, 0), (1, 0), (2, 4)]);
        let seen = read_to_end(&mut reader, 3);
        assert_eq!(seen.payloads[&0], numbers(0..5000));
        assert_eq!(seen.payloads[&2], numbers(4..10));
        assert!(!seen.payloads.contains_key(&1), "partition 1 is empty");
        assert_eq!(seen.ends, BTreeMap::from([(0, 5000), (1, 0), (2, 10)]));
        assert!(seen.problems.is_empty(), "{:?}", seen.problems);
    });
}

#[test]
fn a_read_keeps_to_its_limits_and_loses_nothing() {
    everywhere("limits", 1, |topic| {
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
                let spans = read.batch.messages.iter().filter_map(|m| m.payload);
                let bytes: usize = spans.map(|span| span.len as usize).sum();
                assert!(bytes < bytes_max + 10, "{bytes} bytes");
                for row in 0..rows {
                    let expected = format!("{{\"n\":{numbers}}}");
                    assert_eq!(read.batch.payload(row).unwrap(), expected.as_bytes());
                    numbers += 1;
                }
            }
        }
    });
}

#[test]
fn keys_headers_times_and_tombstones_arrive() {
    everywhere("parts", 1, |topic| {
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
    });
}

#[test]
fn the_first_message_is_there_soon_and_a_later_one_at_once() {
    everywhere("latency", 1, |topic| {
        topic.fill(0, 1);
        let start = Instant::now();
        let mut reader = topic.open(&[(0, 0)]);
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
    });
}

#[test]
fn a_waker_ends_a_waiting_read() {
    everywhere("waker", 1, |topic| {
        let mut reader = topic.open(&[(0, 0)]);
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
    });
}

#[test]
fn only_committed_records_are_read_and_the_end_lies_behind_the_control_record() {
    everywhere("committed", 1, |topic| {
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

        let mut reader = topic.open(&[(0, 0)]);
        let seen = read_to_end(&mut reader, 1);
        assert_eq!(seen.payloads[&0], ["one", "three"]);
        assert_eq!(seen.ends[&0], 6);

        let mut options = topic.options(&[(0, 0)]);
        options.read_committed = false;
        let mut reader = Reader::open(options).unwrap();
        let seen = read_to_end(&mut reader, 1);
        assert_eq!(seen.payloads[&0], ["one", "two", "three", "open"]);
        assert_eq!(seen.ends[&0], 7);
    });
}

#[test]
fn an_offset_that_is_not_there_is_an_error_that_says_so() {
    everywhere("gone", 1, |topic| {
        topic.fill(0, 3);
        let mut reader = topic.open(&[(0, 1000)]);
        let error = fails(&mut reader);
        assert_eq!(error.state(), SqlState::ObjectNotInPrerequisiteState);
        assert!(
            error.message().starts_with("offset 1000 of partition 0"),
            "{error:?}"
        );
    });
}

#[test]
fn a_deleted_topic_is_an_error_that_says_so() {
    everywhere("deleted", 1, |topic| {
        topic.fill(0, 3);
        let mut reader = topic.open(&[(0, 0)]);
        read_to_end(&mut reader, 1);
        let (admin, options) = topic.admin();
        futures::executor::block_on(admin.delete_topics(&[&topic.name], &options)).unwrap();
        let error = fails(&mut reader);
        assert_eq!(error.state(), SqlState::UndefinedTable, "{error:?}");
    });
}

/// Reads until an error comes.
fn fails(reader: &mut Reader) -> Error {
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
    everywhere("large", 1, |topic| {
        topic.configure(&[("max.message.bytes", "10485760")]);
        let producer = topic.producer(&[("message.max.bytes", "10485760")]);
        let large = "x".repeat(5 << 20);
        send(&producer, &topic.name, 0, &large, 1);
        send(&producer, &topic.name, 0, "after", 1);
        producer.flush(Duration::from_secs(20)).unwrap();
        let mut reader = topic.open(&[(0, 0)]);
        let seen = read_to_end(&mut reader, 1);
        assert_eq!(seen.payloads[&0].len(), 2);
        assert_eq!(seen.payloads[&0][0].len(), 5 << 20);
        assert_eq!(seen.payloads[&0][1], "after");
        assert_eq!(seen.ends[&0], 2);
    });
}

#[test]
fn dropping_a_reader_returns_at_once() {
    everywhere("drop", 1, |topic| {
        topic.fill(0, 20_000);
        let mut reader = topic.open(&[(0, 0)]);
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
    });
}

/// Against librdkafka's mock cluster, whose brokers can be switched off.
#[test]
fn a_broker_that_goes_away_and_comes_back_is_a_problem_and_no_error() {
    for fetch in [FetchMode::Direct, FetchMode::Librdkafka] {
        let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let topic = Topic {
            connection: KafkaConnection {
                bootstrap_servers: cluster.bootstrap_servers(),
                properties: BTreeMap::new(),
            },
            name: "t".to_owned(),
            fetch,
        };
        topic.fill(0, 10);
        let mut reader = topic.open(&[(0, 0)]);
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
        topic.check_reader(&reader);
    }
}

#[test]
fn every_compression_is_read() {
    everywhere("packed", 1, |topic| {
        let codecs = ["gzip", "snappy", "lz4", "zstd", "none"];
        let mut expected = Vec::new();
        for codec in codecs {
            let producer = topic.producer(&[("compression.type", codec), ("linger.ms", "20")]);
            for n in 0..500 {
                let payload = format!("{{\"codec\":\"{codec}\",\"n\":{n}}}");
                send(&producer, &topic.name, 0, &payload, n);
                expected.push(payload);
            }
            producer.flush(Duration::from_secs(20)).unwrap();
        }
        let mut reader = topic.open(&[(0, 0)]);
        let seen = read_to_end(&mut reader, 1);
        assert_eq!(seen.payloads[&0], expected);
        topic.check_reader(&reader);
        // From within a batch on.
        let seen = read_to_end(&mut topic.open(&[(0, 1250)]), 1);
        assert_eq!(seen.payloads[&0], expected[1250..]);
    });
}

#[test]
fn deleted_records_are_an_error_that_says_so() {
    everywhere("removed", 1, |topic| {
        topic.fill(0, 10);
        let (admin, options) = topic.admin();
        let mut before = rdkafka::TopicPartitionList::new();
        before
            .add_partition_offset(&topic.name, 0, rdkafka::Offset::Offset(5))
            .unwrap();
        futures::executor::block_on(admin.delete_records(&before, &options)).unwrap();
        let error = fails(&mut topic.open(&[(0, 2)]));
        assert_eq!(error.state(), SqlState::ObjectNotInPrerequisiteState);
        assert!(
            error.message().starts_with("offset 2 of partition 0"),
            "{error:?}"
        );
        let seen = read_to_end(&mut topic.open(&[(0, 5)]), 1);
        assert_eq!(seen.payloads[&0].len(), 5);
    });
}

#[test]
fn partitions_that_are_added_are_seen() {
    everywhere("grown", 1, |topic| {
        topic.fill(0, 3);
        let mut reader = topic.open(&[(0, 0)]);
        read_to_end(&mut reader, 1);
        let patience = Duration::from_secs(10);
        assert_eq!(reader.partitions(patience), Some(vec![PartitionId(0)]));
        let (admin, options) = topic.admin();
        let grown = rdkafka::admin::NewPartitions::new(&topic.name, 3);
        futures::executor::block_on(admin.create_partitions([&grown], &options)).unwrap();
        let found = wait::until("three partitions", || {
            let found = reader.partitions(patience)?;
            (found.len() == 3).then_some(found)
        });
        assert_eq!(found, [PartitionId(0), PartitionId(1), PartitionId(2)]);
        topic.fill(0, 2);
        let seen = read_to_end(&mut reader, 1);
        assert_eq!(seen.payloads[&0].len(), 2, "the first is read on");
    });
}

#[test]
fn reading_goes_on_at_another_broker_when_a_leader_is_gone() {
    if real_kafka().is_none() {
        return;
    }
    for (fetch, node) in [(FetchMode::Direct, 1), (FetchMode::Librdkafka, 2)] {
        let kafka = RealKafka::start_three();
        let topic = Topic::create(kafka.bootstrap(), "moved", 3, fetch);
        (0..3).for_each(|partition| topic.fill(partition, 100));
        let mut reader = topic.open(&[(0, 0), (1, 0), (2, 0)]);
        let seen = read_to_end(&mut reader, 3);
        assert!(seen.payloads.values().all(|payloads| payloads.len() == 100));
        kafka.kill_one(node);
        (0..3).for_each(|partition| topic.fill(partition, 50));
        let mut counts = BTreeMap::new();
        wait::until("the messages that came after", || {
            let read = reader.read(Duration::from_millis(200)).unwrap();
            for message in &read.batch.messages {
                *counts.entry(message.partition.0).or_insert(0) += 1;
            }
            (counts.values().sum::<i32>() >= 150).then_some(())
        });
        assert_eq!(counts, BTreeMap::from([(0, 50), (1, 50), (2, 50)]));
        topic.check_reader(&reader);
    }
}
