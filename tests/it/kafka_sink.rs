//! The sink against a real Kafka. What it wrote is read back with rdkafka directly.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use headwater::error::SqlState;
use headwater::sink::Sink;
use headwater::sink::kafka::{
    KafkaDelivery, KafkaForm, KafkaSink, KafkaSinkOptions, Produced, produce,
};
use headwater::source::Cluster;
use headwater::types::{ChangeBatch, KafkaConnection, ProcessingTime};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::support::broker::real_kafka;

fn topic(test: &str, partitions: u32) -> Option<KafkaSinkOptions> {
    let connection = KafkaConnection {
        bootstrap_servers: real_kafka()?,
        properties: BTreeMap::new(),
    };
    let topic = format!("sink-{test}-{}", uuid::Uuid::new_v4());
    Cluster::connect(&connection)
        .unwrap()
        .create_topic(&topic, partitions, None)
        .unwrap();
    Some(KafkaSinkOptions {
        connection,
        topic,
        key_columns: Vec::new(),
        headers: Vec::new(),
        form: KafkaForm::Append,
        delivery: KafkaDelivery::AtLeastOnce,
    })
}

const AT: ProcessingTime = ProcessingTime(0);

fn changes(numbers: std::ops::Range<i64>) -> ChangeBatch {
    ChangeBatch::inserts(rows(numbers))
}

fn rows(numbers: std::ops::Range<i64>) -> RecordBatch {
    let names: StringViewArray = numbers.clone().map(|n| Some(format!("name {n}"))).collect();
    let names: ArrayRef = Arc::new(names);
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
    RecordBatch::try_from_iter([("n", numbers), ("name", names)]).unwrap()
}

fn open(options: &KafkaSinkOptions) -> KafkaSink {
    KafkaSink::open(options, &rows(0..0).schema()).unwrap()
}

/// A message as it lies in the topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    partition: i32,
    key: Option<String>,
    value: Option<String>,
    headers: String,
}

/// All messages of a topic, by partition and offset.
fn read_back(options: &KafkaSinkOptions) -> Vec<Found> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &options.connection.bootstrap_servers)
        .set("group.id", "test")
        .create()
        .unwrap();
    let timeout = Duration::from_secs(20);
    let metadata = consumer
        .fetch_metadata(Some(&options.topic), timeout)
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    let mut expected = 0;
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = consumer
            .fetch_watermarks(&options.topic, partition.id(), timeout)
            .unwrap();
        expected += high - low;
        assignment
            .add_partition_offset(&options.topic, partition.id(), Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let text = |bytes: Option<&[u8]>| bytes.map(|b| String::from_utf8(b.to_vec()).unwrap());
    let mut found = Vec::new();
    for _ in 0..expected {
        let message = consumer.poll(timeout).expect("a message in time").unwrap();
        let headers = message.headers().map_or_else(String::new, |headers| {
            let all = headers.iter().map(|header| {
                format!(
                    "{}={}",
                    header.key,
                    text(header.value).as_deref().unwrap_or("-")
                )
            });
            all.collect::<Vec<_>>().join(",")
        });
        let (key, value) = (text(message.key()), text(message.payload()));
        found.push(Found {
            partition: message.partition(),
            key,
            value,
            headers,
        });
    }
    found.sort_by_key(|message| message.partition);
    found
}

#[test]
fn what_a_commit_confirmed_is_in_the_topic_in_order() {
    let Some(options) = topic("commit", 1) else {
        return;
    };
    let mut sink = open(&options);
    for epoch in 0..3 {
        let first = i64::try_from(epoch).unwrap() * 1000;
        sink.stage(&changes(first..first + 500), AT).unwrap();
        sink.stage(&changes(first + 500..first + 1000), AT).unwrap();
        sink.commit(epoch).unwrap();
        assert_eq!(
            read_back(&options).len(),
            usize::try_from(first).unwrap() + 1000
        );
    }
    let values: Vec<String> = read_back(&options)
        .into_iter()
        .map(|found| found.value.unwrap())
        .collect();
    let expected: Vec<String> = (0..3000)
        .map(|n| format!("{{\"n\":{n},\"name\":\"name {n}\"}}"))
        .collect();
    assert_eq!(values, expected);
}

#[test]
fn a_commit_costs_milliseconds() {
    let Some(options) = topic("pace", 1) else {
        return;
    };
    let mut sink = open(&options);
    let mut times = Vec::new();
    for epoch in 0..30 {
        sink.stage(&changes(0..10), AT).unwrap();
        let start = Instant::now();
        sink.commit(epoch).unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    println!("commit p50 {:?}, worst {:?}", times[15], times[29]);
    assert!(times[15] < Duration::from_millis(90), "{times:?}");
}

#[test]
fn keys_choose_partitions_as_java_does_and_headers_leave_the_value() {
    let Some(mut options) = topic("keys", 5) else {
        return;
    };
    options.key_columns = vec!["name".to_owned()];
    options.headers = vec!["n".to_owned()];
    let mut sink = open(&options);
    sink.stage(&changes(0..20), AT).unwrap();
    sink.commit(0).unwrap();
    for found in read_back(&options) {
        let key = found.key.clone().unwrap();
        assert_eq!(
            found.value.as_deref(),
            Some(format!("{{\"name\":\"{key}\"}}").as_str())
        );
        assert_eq!(
            format!("name {}", found.headers.strip_prefix("n=").unwrap()),
            key
        );
        assert_eq!(found.partition, java_partition(key.as_bytes(), 5), "{key}");
    }
}

/// The partition that Java's client chooses: murmur2 of the key.
fn java_partition(key: &[u8], partitions: i32) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ u32::try_from(key.len()).unwrap();
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let word = u32::from_le_bytes(*word).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ (word >> 24)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^= hash >> 15;
    i32::try_from(hash & 0x7fff_ffff).unwrap() % partitions
}

#[test]
fn a_message_that_is_too_large_fails_the_commit_and_an_abort_clears_it() {
    let Some(options) = topic("large", 1) else {
        return;
    };
    let mut sink = open(&options);
    // Of random letters: the client compresses.
    let large: String = (0..3 << 20).map(|_| fastrand::alphanumeric()).collect();
    let large: ArrayRef = Arc::new(StringViewArray::from(vec![large]));
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = RecordBatch::try_from_iter([("n", number), ("name", large)]).unwrap();
    let failed = sink
        .stage(&ChangeBatch::inserts(batch), AT)
        .and_then(|()| sink.commit(0))
        .unwrap_err();
    assert_eq!(failed.state(), SqlState::ProgramLimitExceeded, "{failed:?}");
    sink.abort().unwrap();
    sink.stage(&changes(0..1), AT).unwrap();
    sink.commit(0).unwrap();
    assert_eq!(read_back(&options).len(), 1);
}

#[test]
fn insert_writes_keys_tombstones_and_headers() {
    let Some(options) = topic("insert", 1) else {
        return;
    };
    let start = Instant::now();
    let messages = vec![
        Produced {
            key: Some(b"k".to_vec()),
            value: Some(b"v".to_vec()),
            headers: vec![
                ("a".to_owned(), Some(b"1".to_vec())),
                ("b".to_owned(), None),
            ],
        },
        Produced {
            key: Some(b"k".to_vec()),
            ..Produced::default()
        },
    ];
    assert_eq!(
        produce(&options.connection, &options.topic, messages).unwrap(),
        2
    );
    println!("two messages took {:?}", start.elapsed());
    let found = read_back(&options);
    assert_eq!(found[0].headers, "a=1,b=-");
    assert_eq!(
        (found[0].key.as_deref(), found[0].value.as_deref()),
        (Some("k"), Some("v"))
    );
    assert_eq!(
        (found[1].key.as_deref(), found[1].value.as_deref()),
        (Some("k"), None)
    );
}

#[test]
fn insert_into_a_topic_or_a_broker_that_is_not_there_fails_soon() {
    let Some(options) = topic("absent", 1) else {
        return;
    };
    let one = || {
        vec![Produced {
            value: Some(b"v".to_vec()),
            ..Produced::default()
        }]
    };
    let error = produce(&options.connection, "sink-there-is-no-such-topic", one()).unwrap_err();
    assert_eq!(error.state(), SqlState::UndefinedTable, "{error:?}");
    let nowhere = KafkaConnection {
        bootstrap_servers: "127.0.0.1:1".to_owned(),
        properties: BTreeMap::new(),
    };
    let start = Instant::now();
    let error = produce(&nowhere, "t", one()).unwrap_err();
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(error.state(), SqlState::ConnectionUnable, "{error:?}");
    assert!(
        error.detail_text().unwrap().contains("refused"),
        "{error:?}"
    );
}
