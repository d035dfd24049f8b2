//! Logs that do not look as they were written: compacted, stamped by the broker, undecided, emptied.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater::types::FetchMode;
use rdkafka::producer::{BaseRecord, Producer};

use super::{read_to, read_to_end};
use crate::support::broker::real_kafka;
use crate::support::topic::{Topic, everywhere, send};
use crate::support::wait;

const READERS: [FetchMode; 2] = [FetchMode::Direct, FetchMode::Librdkafka];
const HOUR_MS: i64 = 3_600_000;

/// A message as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    offset: i64,
    time_ms: i64,
    payload: String,
}

/// All rows of partition 0 from an offset on, and its end.
fn rows(topic: &Topic, from: i64) -> (Vec<Row>, i64) {
    let mut reader = topic.open(&[(0, from)]);
    let mut rows = Vec::new();
    let end = wait::until("end of the partition", || {
        let read = reader.read(Duration::from_millis(200)).unwrap();
        for (row, message) in read.batch.messages.iter().enumerate() {
            let payload = read.batch.payload(row).expect("no tombstones here");
            rows.push(Row {
                offset: message.offset.0,
                time_ms: message.timestamp_ms,
                payload: String::from_utf8(payload.to_vec()).unwrap(),
            });
        }
        read.ends.first().map(|end| end.next.0)
    });
    topic.check_reader(&reader);
    (rows, end)
}

/// Writes rounds of keys, each an hour after the last and in a segment and a batch of its own, and gives what is left of
/// them when each key has its last message only.
fn write_rounds(topic: &Topic, rounds: &[(&str, Vec<String>)]) -> Vec<Row> {
    let mut last = BTreeMap::new();
    let mut offset = 0;
    for ((codec, keys), round) in rounds.iter().zip(1..) {
        // A number of its own for each producer: compaction keeps its last batch, also without records.
        let producer = topic.producer(&[
            ("enable.idempotence", "true"),
            ("linger.ms", "100"),
            ("compression.type", codec),
        ]);
        for key in keys {
            let row = Row {
                offset,
                time_ms: round * HOUR_MS,
                payload: format!("{key} in round {round}"),
            };
            let record = BaseRecord::to(&topic.name).key(key).payload(&row.payload);
            let sent = producer.send(record.timestamp(row.time_ms));
            sent.map_err(|(error, _)| error).unwrap();
            last.insert(key.clone(), row);
            offset += 1;
        }
        producer.flush(Duration::from_secs(20)).unwrap();
    }
    let mut left: Vec<Row> = last.into_values().collect();
    left.sort_unstable_by_key(|row| row.offset);
    left
}

#[test]
fn a_compacted_topic_is_read_over_its_gaps() {
    let Some(servers) = real_kafka() else {
        return;
    };
    let topic = Topic::create(&servers, "compacted", 1, FetchMode::Direct);
    topic.configure(&[
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("segment.ms", "60000"),
    ]);
    let keys = |step: usize| (0..40).step_by(step).map(|n| format!("key {n}"));
    let gone = || (0..5).map(|n| format!("gone {n}"));
    let left = write_rounds(
        &topic,
        &[
            ("none", keys(1).collect()),
            // Nothing of it is left but a batch without records.
            ("none", gone().collect()),
            ("lz4", keys(2).collect()),
            ("gzip", keys(4).chain(gone()).collect()),
            // What was written last is not compacted.
            ("none", vec!["open segment".to_owned()]),
        ],
    );
    wait::until("compaction", || {
        let (found, _) = rows(&topic, 0);
        assert!(found.is_sorted_by_key(|row| row.offset), "{found:?}");
        let lost = left.iter().find(|row| !found.contains(row));
        assert_eq!(lost, None, "only what was overwritten goes");
        (found.len() == left.len()).then_some(())
    });
    for fetch in READERS {
        let topic = topic.read_by(fetch);
        // From the beginning, from within the batch without records, and from gaps of packed batches.
        for from in [0, 42, 45, 47, 66] {
            let behind = left.iter().filter(|row| row.offset >= from);
            let behind: Vec<Row> = behind.cloned().collect();
            assert_eq!(rows(&topic, from), (behind, 81), "{fetch:?} from {from}");
        }
    }
}

#[test]
fn the_time_is_the_brokers_where_it_stamps_messages() {
    let Some(servers) = real_kafka() else {
        return;
    };
    let topic = Topic::create(&servers, "stamped", 1, FetchMode::Direct);
    topic.configure(&[("message.timestamp.type", "LogAppendTime")]);
    let now_ms = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(since.as_millis()).unwrap()
    };
    let before = now_ms();
    for codec in ["none", "lz4"] {
        let producer = topic.producer(&[("compression.type", codec), ("linger.ms", "20")]);
        for n in 0..100 {
            send(&producer, &topic.name, 0, "{}", n);
        }
        producer.flush(Duration::from_secs(20)).unwrap();
    }
    let after = now_ms();
    let [direct, library] = READERS.map(|fetch| rows(&topic.read_by(fetch), 0));
    assert_eq!(direct, library, "whoever reads, the times are the same");
    assert_eq!(direct.0.len(), 200);
    let told = |row: &Row| (before..=after).contains(&row.time_ms);
    assert!(direct.0.iter().all(told), "{before} {direct:?} {after}");
}

#[test]
fn an_open_transaction_holds_back_what_lies_behind_it() {
    everywhere("undecided", 1, |topic| {
        let patience = Duration::from_secs(20);
        let plain = topic.producer(&[]);
        let beside = |text: &str| {
            send(&plain, &topic.name, 0, text, 1);
            plain.flush(patience).unwrap();
        };
        let within = topic.producer(&[("transactional.id", topic.name.as_str())]);
        within.init_transactions(patience).unwrap();
        let begin = |text: &str| {
            within.begin_transaction().unwrap();
            send(&within, &topic.name, 0, text, 1);
            within.flush(patience).unwrap();
        };
        beside("before");
        begin("aborted");
        beside("behind the first");
        let mut reader = topic.open(&[(0, 0)]);
        assert_eq!(read_to(&mut reader, 1), ["before"]);
        let more = reader.read(Duration::from_millis(300)).unwrap();
        assert!(more.batch.messages.is_empty(), "it is not decided yet");
        within.abort_transaction(patience).unwrap();
        assert_eq!(read_to(&mut reader, 4), ["behind the first"]);
        begin("committed");
        beside("behind the second");
        within.commit_transaction(patience).unwrap();
        let expected = ["committed", "behind the second"];
        assert_eq!(read_to(&mut reader, 7), expected);
        topic.check_reader(&reader);
    });
}

#[test]
fn a_partition_whose_records_are_all_deleted_is_at_its_end() {
    everywhere("emptied", 1, |topic| {
        topic.fill(0, 10);
        let (admin, options) = topic.admin();
        let mut before = rdkafka::TopicPartitionList::new();
        before
            .add_partition_offset(&topic.name, 0, rdkafka::Offset::Offset(10))
            .unwrap();
        futures::executor::block_on(admin.delete_records(&before, &options)).unwrap();
        let mut reader = topic.open(&[(0, 10)]);
        let seen = read_to_end(&mut reader, 1);
        assert_eq!((seen.payloads.len(), seen.ends[&0]), (0, 10));
        topic.fill(0, 1);
        assert_eq!(read_to(&mut reader, 11), ["{\"n\":0}"]);
        topic.check_reader(&reader);
    });
}
