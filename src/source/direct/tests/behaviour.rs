//! A reader and a broker that moves, lies, goes away or says nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::fake_broker::{Asked, FakeBroker, Reply};
use crate::clock;
use crate::error::{Error, SqlState};
use crate::source::direct::Stop;
use crate::source::direct::reader::DirectReader;
use crate::source::direct::testing::{self, TestBatch, TestPart, fetched};
use crate::source::{FetchedBy, Read, Reader, ReaderOptions, WhyLibrary};
use crate::types::{FetchMode, KafkaConnection, Offset, PartitionId};

const TOPIC: &str = "t";
/// Long for a test, and never reached in one that passes.
const PATIENCE: Duration = Duration::from_secs(20);

fn options(broker: &FakeBroker, properties: &[(&str, &str)]) -> ReaderOptions {
    let properties = properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ReaderOptions {
        connection: KafkaConnection {
            bootstrap_servers: broker.servers(),
            properties: properties.collect(),
        },
        topic: TOPIC.to_owned(),
        assignment: vec![(PartitionId(0), Offset(0))],
        read_committed: true,
        with_keys: false,
        with_headers: false,
        rows_max: 100,
        bytes_max: 1 << 20,
        end_wait: Duration::from_millis(20),
        fetch: FetchMode::Direct,
    }
}

fn open(broker: &FakeBroker) -> Reader {
    Reader::open(options(broker, &[])).unwrap()
}

/// What came until partition 0 stood at `end`.
#[derive(Debug, Default)]
struct Seen {
    values: Vec<String>,
    problems: Vec<String>,
}

impl Seen {
    fn add(&mut self, read: &Read) {
        for row in 0..read.batch.messages.len() {
            let value = read.batch.payload(row).unwrap().to_vec();
            self.values.push(String::from_utf8(value).unwrap());
        }
        let problems = read.problems.iter().map(|problem| problem.message.clone());
        self.problems.extend(problems);
    }
}

fn read_to(reader: &mut Reader, end: i64) -> Seen {
    let mut seen = Seen::default();
    let start = clock::instant();
    loop {
        assert!(start.elapsed() < PATIENCE, "no end: {seen:?}");
        let read = reader.read(Duration::from_millis(200)).unwrap();
        seen.add(&read);
        if read.ends.iter().any(|found| found.next.0 == end) {
            return seen;
        }
    }
}

fn fails(reader: &mut Reader) -> Error {
    let start = clock::instant();
    loop {
        assert!(start.elapsed() < PATIENCE, "no error");
        if let Err(error) = reader.read(Duration::from_millis(200)) {
            return error;
        }
    }
}

/// Three messages, one a batch; behind them the partition ends.
fn log(offset: i64) -> TestPart {
    let all = ["a", "b", "c"];
    let from = usize::try_from(offset).unwrap();
    let batches = all.iter().enumerate().skip(from);
    TestPart {
        end: 3,
        stable: 3,
        records: batches
            .flat_map(|(n, value)| TestBatch::of(i64::try_from(n).unwrap(), &[value]).bytes())
            .collect(),
        ..TestPart::default()
    }
}

fn told(part: TestPart) -> Reply {
    Reply::Body(fetched(TOPIC, &[part]))
}

fn code(code: i16) -> Reply {
    told(TestPart {
        code,
        end: -1,
        stable: -1,
        ..TestPart::default()
    })
}

/// Does the first so many fetches as `first` says, and all others well.
fn at_first(times: usize, mut first: impl FnMut() -> Reply + Send + 'static) -> FakeBroker {
    let mut fetches = 0;
    FakeBroker::leading(TOPIC, 1, move |parts| {
        fetches += 1;
        if fetches <= times {
            return first();
        }
        told(log(parts[0].1))
    })
}

#[test]
fn messages_come_in_order_and_then_the_end_once() {
    let broker = at_first(0, || Reply::Silence);
    let mut reader = open(&broker);
    let seen = read_to(&mut reader, 3);
    assert_eq!(seen.values, ["a", "b", "c"]);
    assert!(seen.problems.is_empty(), "{seen:?}");
    assert_eq!(reader.fetched_by(), FetchedBy::Direct);
    let read = reader.read(Duration::from_millis(100)).unwrap();
    assert!(
        read.batch.messages.is_empty() && read.ends.is_empty(),
        "{read:?}"
    );
    assert_eq!(reader.partitions(PATIENCE), Some(vec![PartitionId(0)]));
}

#[test]
fn a_moved_leader_is_a_problem_and_reading_goes_on() {
    for moved in [3, 5, 6, 56, 74, 75] {
        let broker = at_first(2, move || code(moved));
        let seen = read_to(&mut open(&broker), 3);
        assert_eq!(seen.values, ["a", "b", "c"], "code {moved}");
        assert_eq!(seen.problems.len(), 2, "code {moved}: {seen:?}");
    }
}

/// What a broker does, and a word of what is told of it.
type Lie = (&'static str, fn() -> Reply);

#[test]
fn a_broker_that_closes_or_lies_is_left_and_tried_again() {
    let half = |_: ()| {
        let whole = fetched(TOPIC, &[log(0)]);
        let mut bytes = super::fake_broker::framed(3, &whole);
        bytes.truncate(bytes.len() - 5);
        Reply::Last(bytes)
    };
    let lies: [Lie; 6] = [
        ("closed", || Reply::Last(Vec::new())),
        ("2147483647 bytes was", || {
            Reply::Raw(vec![0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0])
        }),
        ("-1 bytes was", || Reply::Raw(vec![0xff; 8])),
        ("another question", || {
            Reply::Raw(super::fake_broker::framed(77, &[0; 40]))
        }),
        ("malformed", || {
            Reply::Body([[0; 10].as_slice(), &[0x7f, 0xff, 0xff, 0xff]].concat())
        }),
        ("malformed", || Reply::Body(Vec::new())),
    ];
    for (word, lie) in lies {
        let seen = read_to(&mut open(&at_first(2, lie)), 3);
        assert_eq!(seen.values, ["a", "b", "c"], "{word}");
        assert!(
            seen.problems.iter().any(|text| text.contains(word)),
            "{word}: {seen:?}"
        );
    }
    let seen = read_to(&mut open(&at_first(1, move || half(()))), 3);
    assert_eq!(seen.values, ["a", "b", "c"]);
    assert!(
        seen.problems[0].ends_with("closed the connection"),
        "{seen:?}"
    );
}

#[test]
fn a_broker_that_stops_answering_is_left_after_its_time() {
    let broker = at_first(1, || Reply::Silence);
    let given = [("socket.timeout.ms", "150")];
    let mut reader = Reader::open(options(&broker, &given)).unwrap();
    let seen = read_to(&mut reader, 3);
    assert_eq!(seen.values, ["a", "b", "c"]);
    assert!(
        seen.problems[0].ends_with("the request timed out"),
        "{seen:?}"
    );
}

#[test]
fn failures_do_not_keep_a_processor_busy() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let broker = FakeBroker::leading(TOPIC, 1, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        code(6)
    });
    let mut reader = open(&broker);
    let start = clock::instant();
    let mut reads = 0;
    while start.elapsed() < Duration::from_secs(1) {
        reader.read(Duration::from_millis(100)).unwrap();
        reads += 1;
    }
    assert!(asked.load(Ordering::Relaxed) < 10, "{asked:?} fetches");
    assert!(reads < 40, "{reads} reads");
}

#[test]
fn what_does_not_pass_is_an_error() {
    for (found, state) in [
        (1, SqlState::ObjectNotInPrerequisiteState),
        (29, SqlState::InsufficientPrivilege),
        (2, SqlState::DataCorrupted),
        (35, SqlState::ConnectionFailure),
    ] {
        let broker = at_first(1, move || code(found));
        assert_eq!(fails(&mut open(&broker)).state(), state, "code {found}");
    }
    let broker = at_first(1, || {
        let mut part = log(0);
        *part.records.last_mut().unwrap() ^= 1;
        told(part)
    });
    let error = fails(&mut open(&broker));
    assert_eq!(error.state(), SqlState::DataCorrupted, "{error:?}");
    assert_eq!(
        error.message(),
        "a record in partition 0 of topic \"t\" cannot be read"
    );
    assert!(
        error
            .detail_text()
            .unwrap()
            .starts_with("The checksum of offsets 2 to 2 is")
    );
}

#[test]
fn a_topic_is_gone_when_leader_and_cluster_say_so() {
    let answers = |in_metadata: i16| {
        let mut denied = false;
        FakeBroker::start(move |asked, port| match asked {
            Asked::Versions(version) => Reply::Body(testing::versions(*version)),
            Asked::Leaders => {
                let code = if denied { in_metadata } else { 0 };
                Reply::Body(testing::metadata(TOPIC, code, port, 1))
            }
            Asked::Fetch(parts) if denied && in_metadata == 0 => told(log(parts[0].1)),
            _ => {
                denied = true;
                code(3)
            }
        })
    };
    let error = fails(&mut open(&answers(3)));
    assert_eq!(error.state(), SqlState::UndefinedTable);
    assert_eq!(error.message(), "topic \"t\" does not exist any more");
    let seen = read_to(&mut open(&answers(0)), 3);
    assert_eq!(
        seen.values,
        ["a", "b", "c"],
        "a leader that was wrong is believed no more"
    );
}

#[test]
fn a_batch_larger_than_the_limit_is_asked_for_again() {
    let broker = FakeBroker::leading(TOPIC, 1, |parts| {
        let (_, offset, bytes_max) = parts[0];
        let mut part = log(offset);
        if offset == 0 {
            part.records = TestBatch::of(0, &[&"x".repeat(100_000), "b", "c"]).bytes();
            part.records.truncate(usize::try_from(bytes_max).unwrap());
        }
        told(part)
    });
    let mut options = options(&broker, &[]);
    options.bytes_max = 1;
    let seen = read_to(&mut Reader::open(options).unwrap(), 3);
    assert_eq!(seen.values.len(), 3);
    assert_eq!(seen.values[0].len(), 100_000);
}

/// The same log, of which everything from an offset on has a format from before Kafka 0.11.
fn log_with_old(from: i64, offset: i64) -> TestPart {
    let mut part = log(offset);
    let all = ["a", "b", "c"]
        .iter()
        .zip(0..)
        .skip_while(|(_, n)| *n < offset);
    let bytes = all.map(|(value, n)| match n < from {
        true => TestBatch::of(n, &[value]).bytes(),
        false => testing::old_message(n, value),
    });
    part.records = bytes.flatten().collect();
    part
}

#[test]
fn messages_of_an_old_format_are_left_to_the_library() {
    let broker = FakeBroker::leading(TOPIC, 1, |parts| told(log_with_old(1, parts[0].1)));
    let error = fails(&mut open(&broker));
    assert_eq!(error.state(), SqlState::FeatureNotSupported);
    assert!(
        error.hint_text().unwrap().contains("'librdkafka'"),
        "{error:?}"
    );
    let mut options = options(&broker, &[]);
    options.fetch = FetchMode::Auto;
    let mut reader = Reader::open(options).unwrap();
    let waker = reader.waker();
    let mut seen = Seen::default();
    while reader.fetched_by() == FetchedBy::Direct {
        seen.add(&reader.read(Duration::from_millis(200)).unwrap());
    }
    let firsts = seen.values.iter().filter(|value| *value == "a");
    assert_eq!(firsts.count(), 1, "what came before is not read again");
    let by = FetchedBy::Librdkafka(WhyLibrary::OldFormat);
    assert_eq!(reader.fetched_by(), by);
    // A wake by the handle from before is felt: else the read would wait for the test to fail.
    waker.wake();
    let start = clock::instant();
    reader.read(PATIENCE).unwrap();
    assert!(start.elapsed() < PATIENCE, "it was woken");
}

#[test]
fn what_came_beside_an_old_format_is_not_lost() {
    // In one answer partitions 0 and 2 have batches, and partition 1 between them old messages.
    let broker = FakeBroker::leading(TOPIC, 3, |parts| {
        let parts = parts.iter().map(|(partition, offset, _)| TestPart {
            partition: *partition,
            ..log_with_old(if *partition == 1 { 0 } else { 3 }, *offset)
        });
        Reply::Body(fetched(TOPIC, &parts.collect::<Vec<_>>()))
    });
    let mut options = options(&broker, &[]);
    options.assignment = (0..3).map(|n| (PartitionId(n), Offset(0))).collect();
    let Ok(mut reader) = DirectReader::open(&options) else {
        panic!("it serves so far")
    };
    let (mut values, start) = (BTreeMap::<_, String>::new(), clock::instant());
    let stop = loop {
        assert!(start.elapsed() < PATIENCE, "no old format: {values:?}");
        match reader.read(Duration::from_millis(200)) {
            Err(stop) => break stop,
            Ok(Read { batch, .. }) => {
                for (row, message) in batch.messages.iter().enumerate() {
                    let value = std::str::from_utf8(batch.payload(row).unwrap()).unwrap();
                    values.entry(message.partition).or_default().push_str(value);
                }
            }
        }
    };
    assert!(matches!(stop, Stop::Unserved(WhyLibrary::OldFormat)));
    // Who reads on begins where the messages end that were handed out.
    for (partition, at) in reader.positions() {
        let read = values.get(&partition).map_or("", String::as_str);
        let at = usize::try_from(at.0).unwrap();
        assert_eq!(read, &"abc"[..at], "{partition:?} goes on at {at}");
    }
}

#[test]
fn a_mechanism_that_is_refused_later_is_an_error_that_names_the_others() {
    let mut fetches = 0;
    let broker = FakeBroker::start(move |asked, port| match asked {
        Asked::Versions(version) => Reply::Body(testing::versions(*version)),
        Asked::Mechanism if fetches == 0 => Reply::Body(testing::mechanisms(0, &["PLAIN"])),
        Asked::Mechanism => Reply::Body(testing::mechanisms(33, &["OTHER", "ANOTHER"])),
        Asked::Authenticate => Reply::Body(testing::authenticated()),
        Asked::Leaders => Reply::Body(testing::metadata(TOPIC, 0, port, 1)),
        Asked::Fetch(parts) if fetches == 0 => {
            fetches += 1;
            told(log(parts[0].1))
        }
        Asked::Fetch(_) | Asked::Other => Reply::Last(Vec::new()),
    });
    let given = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanisms", "PLAIN"),
        ("sasl.username", "me"),
        ("sasl.password", "secret"),
    ];
    let mut options = options(&broker, &given);
    options.fetch = FetchMode::Auto;
    let mut reader = Reader::open(options).unwrap();
    let mut seen = Seen::default();
    let start = clock::instant();
    let error = loop {
        assert!(start.elapsed() < PATIENCE, "no error: {seen:?}");
        match reader.read(Duration::from_millis(200)) {
            Ok(read) => seen.add(&read),
            Err(error) => break error,
        }
    };
    assert_eq!(seen.values, ["a", "b", "c"]);
    assert_eq!(error.state(), SqlState::ConnectionUnable, "{error:?}");
    let detail = error.detail_text().unwrap();
    assert!(detail.contains("OTHER, ANOTHER"), "{detail}");
    assert_eq!(reader.fetched_by(), FetchedBy::Direct, "{error:?}");
}

/// The log, whose first batch says that it has so many bytes.
fn log_that_announces(bytes: i32, offset: i64) -> TestPart {
    let mut part = log(offset);
    if offset == 0 {
        part.records[8..12].copy_from_slice(&bytes.to_be_bytes());
    }
    part
}

#[test]
fn a_batch_that_no_answer_can_hold_is_an_error() {
    let broker = FakeBroker::leading(TOPIC, 1, |parts| {
        told(log_that_announces(1 << 30, parts[0].1))
    });
    let error = fails(&mut open(&broker));
    assert_eq!(error.state(), SqlState::DataCorrupted, "{error:?}");
    let detail = error.detail_text().unwrap();
    assert!(
        detail.starts_with("A batch of 1073741836 bytes is announced"),
        "{detail}"
    );
}

#[test]
fn a_batch_that_never_comes_whole_is_told_and_keeps_no_processor_busy() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let broker = FakeBroker::leading(TOPIC, 1, move |parts| {
        // More than there is, and no more than was asked for; well after a while.
        match counted.fetch_add(1, Ordering::Relaxed) {
            0..3 => told(log_that_announces(1000, parts[0].1)),
            _ => told(log(parts[0].1)),
        }
    });
    let seen = read_to(&mut open(&broker), 3);
    assert_eq!(seen.values, ["a", "b", "c"]);
    let told = "the broker sent a part only of the batch at offset 0";
    assert_eq!(seen.problems, [told; 3]);
}

#[test]
fn a_wake_ends_a_waiting_read_also_when_it_comes_before() {
    let broker = at_first(usize::MAX, || Reply::Silence);
    let mut reader = open(&broker);
    let waker = reader.waker();
    waker.wake();
    let start = clock::instant();
    let read = reader.read(PATIENCE).unwrap();
    assert!(
        read.batch.messages.is_empty() && start.elapsed() < PATIENCE,
        "it was woken"
    );
    let waking = waker.clone();
    let thread = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| reader.read(PATIENCE).unwrap());
        waking.wake();
        waiting.join().unwrap()
    });
    assert!(
        thread.batch.messages.is_empty() && start.elapsed() < PATIENCE,
        "it was woken"
    );
    drop(reader);
    waker.wake();
}

#[test]
fn that_messages_were_the_last_is_told_with_them() {
    let asked = AtomicUsize::new(0);
    let broker = FakeBroker::leading(TOPIC, 1, move |parts| {
        let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        match is_first {
            true => Reply::Body(fetched(TOPIC, &[log(parts[0].1)])),
            false => Reply::Silence,
        }
    });
    let seen = read_to(&mut open(&broker), 3);
    assert_eq!(seen.values, ["a", "b", "c"]);
}

#[test]
fn partitions_share_answers_and_each_comes_to_its_end() {
    let broker = FakeBroker::leading(TOPIC, 3, |parts| {
        let mut left = 1;
        let parts: Vec<_> = parts
            .iter()
            .map(|(partition, offset, _)| {
                // Like a broker whose limit holds one partition's batches.
                let mut part = log(*offset);
                part.partition = *partition;
                if !part.records.is_empty() {
                    if left == 0 {
                        part.records.clear();
                    }
                    left = 0;
                }
                part
            })
            .collect();
        Reply::Body(fetched(TOPIC, &parts))
    });
    let mut options = options(&broker, &[]);
    options.assignment = (0..3)
        .map(|partition| (PartitionId(partition), Offset(0)))
        .collect();
    let mut reader = Reader::open(options).unwrap();
    let (mut counts, mut ends) = (BTreeMap::new(), BTreeMap::new());
    let start = clock::instant();
    while ends.len() < 3 {
        assert!(start.elapsed() < PATIENCE, "{counts:?} {ends:?}");
        let read = reader.read(Duration::from_millis(200)).unwrap();
        for message in &read.batch.messages {
            assert!(!ends.contains_key(&message.partition), "an end comes last");
            *counts.entry(message.partition).or_insert(0) += 1;
        }
        ends.extend(read.ends.iter().map(|end| (end.partition, end.next.0)));
    }
    assert!(counts.values().all(|count| *count == 3), "{counts:?}");
    assert!(ends.values().all(|end| *end == 3), "{ends:?}");
}
