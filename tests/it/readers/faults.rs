//! Brokers that slow down, fall silent, break off or send what cannot be: all messages come in the end, or an error says
//! why not, and no row is wrong.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use headwater::error::{Error, SqlState};
use headwater::source::Reader;
use headwater::types::FetchMode;
use rdkafka::producer::Producer;

use super::{numbers, read_to_end, try_read_to_end};
use crate::support::broker::real_kafka;
use crate::support::proxy::{Answer, Fate, Proxy};
use crate::support::topic::{Topic, everywhere, send};
use crate::support::wait;

/// Runs a test on a topic of each broker there is, as it is and behind a proxy that changes the answers to fetches, read
/// by each of the readers.
fn behind_a_proxy<Change>(test: &str, change: impl Fn() -> Change, check: impl Fn(&Topic, &Topic))
where
    Change: FnMut(&mut Answer) -> Fate + Send + 'static,
{
    everywhere(test, 1, |topic| {
        let proxy = Proxy::start(&topic.connection.bootstrap_servers, change());
        check(topic, &topic.through(&proxy));
    });
}

#[test]
fn a_throttled_reader_gets_every_message_and_no_end_before_its_time() {
    // As a broker does with a client that reads too much: a time to wait, and no records.
    let every_second_is_empty = || {
        let mut answers = 0;
        move |answer: &mut Answer| {
            answers += 1;
            answer.throttle_ms = 20;
            if answers % 2 == 0 {
                answer
                    .parts
                    .iter_mut()
                    .for_each(|part| part.records.clear());
            }
            Fate::Whole
        }
    };
    behind_a_proxy("throttled", every_second_is_empty, |topic, proxied| {
        topic.fill(0, 20_000);
        let mut options = proxied.options(&[(0, 0)]);
        options.bytes_max = 1 << 16;
        let mut reader = Reader::open(options).unwrap();
        let seen = read_to_end(&mut reader, 1);
        assert!(seen.payloads[&0] == numbers(0..20_000), "all in order");
        assert_eq!(seen.ends[&0], 20_000);
        proxied.check_reader(&reader);
    });
}

#[test]
fn a_quota_of_a_real_broker_slows_a_reader_down_and_loses_nothing() {
    let Some(servers) = real_kafka() else {
        return;
    };
    for fetch in [FetchMode::Direct, FetchMode::Librdkafka] {
        let topic = Topic::create(&servers, "quota", 1, fetch);
        // A client may have ten seconds' worth at once.
        limit_bytes_per_second(&servers, &topic.name, 100_000.0);
        let payload = "x".repeat(1000);
        let producer = topic.producer(&[]);
        (0..1200).for_each(|n| send(&producer, &topic.name, 0, &payload, n));
        producer.flush(Duration::from_secs(20)).unwrap();
        let throttled = Arc::new(AtomicI32::new(0));
        let most = Arc::clone(&throttled);
        let proxy = Proxy::start(&servers, move |answer| {
            most.fetch_max(answer.throttle_ms, Ordering::Relaxed);
            Fate::Whole
        });
        let named = [("client.id", topic.name.as_str())];
        let proxied = topic.reached_at(&proxy.bootstrap(), &named);
        wait::until("throttled answer", || {
            let mut options = proxied.options(&[(0, 0)]);
            options.bytes_max = 1 << 16;
            let mut reader = Reader::open(options).unwrap();
            let seen = read_to_end(&mut reader, 1);
            assert_eq!((seen.payloads[&0].len(), seen.ends[&0]), (1200, 1200));
            proxied.check_reader(&reader);
            (throttled.load(Ordering::Relaxed) > 0).then_some(())
        });
    }
}

/// AlterClientQuotas, version 0: what a client of that name may read.
fn limit_bytes_per_second(servers: &str, client_id: &str, bytes: f64) {
    let text = |text: &str| {
        let length = u16::try_from(text.len()).unwrap();
        [&length.to_be_bytes(), text.as_bytes()].concat()
    };
    let one = 1_i32.to_be_bytes();
    let request = [
        &[0, 49, 0, 0, 0, 0, 0, 1],
        text("quotas").as_slice(),
        &one,
        &one,
        &text("client-id"),
        &text(client_id),
        &one,
        &text("consumer_byte_rate"),
        &bytes.to_be_bytes(),
        // It is neither removed nor only checked.
        &[0, 0],
    ]
    .concat();
    let mut socket = TcpStream::connect(servers).unwrap();
    let length = u32::try_from(request.len()).unwrap();
    socket.write_all(&length.to_be_bytes()).unwrap();
    socket.write_all(&request).unwrap();
    // Length, number, throttling, the count of entries, the first one's code.
    let mut answer = [0; 4 + 4 + 4 + 4 + 2];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(answer[12..], [0, 0, 0, 1, 0, 0], "the quota is set");
}

#[test]
fn a_broker_that_stops_answering_is_left_and_reading_goes_on() {
    // The first answer would have the messages.
    let silent_once = || {
        let mut answers = 0;
        move |_: &mut Answer| {
            answers += 1;
            if answers == 1 {
                return Fate::Silence;
            }
            Fate::Whole
        }
    };
    behind_a_proxy("silent", silent_once, |topic, proxied| {
        topic.fill(0, 100);
        let servers = &proxied.connection.bootstrap_servers;
        let proxied = proxied.reached_at(servers, &[("socket.timeout.ms", "1000")]);
        let mut reader = proxied.open(&[(0, 0)]);
        let seen = read_to_end(&mut reader, 1);
        assert_eq!(seen.payloads[&0], numbers(0..100));
        let is_told = !seen.problems.is_empty() || proxied.fetch == FetchMode::Librdkafka;
        assert!(
            is_told,
            "it is told, but by the library, which asks another time"
        );
        proxied.check_reader(&reader);
    });
}

#[test]
fn answers_that_break_off_or_make_no_sense_cost_no_message() {
    let fates: [fn() -> Fate; 5] = [
        || Fate::Half,
        || Fate::Instead(Vec::new()),
        // More bytes than any answer has, fewer than none, the answer to another question.
        || Fate::Instead(vec![0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
        || Fate::Instead(vec![0xff; 8]),
        || Fate::Instead([&[0, 0, 0, 40, 0x7f, 0, 0, 0], [0; 36].as_slice()].concat()),
    ];
    for fate in fates {
        let twice = move || {
            let mut answers = 0;
            move |_: &mut Answer| {
                answers += 1;
                if answers <= 2 { fate() } else { Fate::Whole }
            }
        };
        behind_a_proxy("broken", twice, |topic, proxied| {
            topic.fill(0, 100);
            let mut reader = proxied.open(&[(0, 0)]);
            let seen = match try_read_to_end(&mut reader, 1) {
                Ok(seen) => seen,
                // The library takes some of them for the end of the connection, others for broken records.
                Err(error) if proxied.fetch == FetchMode::Librdkafka => {
                    assert_eq!(error.state(), SqlState::DataCorrupted, "{error:?}");
                    return;
                }
                Err(error) => panic!("it is no reason to end: {error:?}"),
            };
            assert_eq!(seen.payloads[&0], numbers(0..100));
            assert_eq!(seen.ends[&0], 100);
            proxied.check_reader(&reader);
        });
    }
}

/// Places in a batch, of which one bit is wrong, and whether that must end the reading of both readers.
///
/// Nothing covers a batch's first offset: brokers write it after the producer's checksum.
const DAMAGE: [(usize, u8, bool); 8] = [
    // A length beyond every answer, and one beyond this batch.
    (8, 0x40, false),
    (10, 0x01, false),
    // The format's number.
    (16, 0x08, true),
    // The checksum, and what it covers: compression, last offset, count, a record.
    (17, 0x01, true),
    (22, 0x01, true),
    (26, 0x01, true),
    (60, 0x01, true),
    (65, 0x10, true),
];

#[test]
fn a_damaged_batch_is_an_error_or_a_problem_and_no_wrong_row() {
    for (place, bit, is_error) in DAMAGE {
        let second_batch = move || {
            move |answer: &mut Answer| {
                for part in &mut answer.parts {
                    let batches = part.batches().into_iter();
                    for (_, batch) in batches.filter(|(offset, _)| *offset == 10) {
                        part.records[batch.start + place] ^= bit;
                    }
                }
                Fate::Whole
            }
        };
        behind_a_proxy("damaged", second_batch, |topic, proxied| {
            let producer = topic.producer(&[("linger.ms", "20")]);
            for batch in 0..3 {
                let fill = |n| send(&producer, &topic.name, 0, &format!("{}", batch * 10 + n), 1);
                (0..10).for_each(fill);
                producer.flush(Duration::from_secs(20)).unwrap();
            }
            // A batch that is never whole the library asks for again and again, without a word.
            let is_told = is_error || proxied.fetch == FetchMode::Direct;
            let reads_max = if is_told { 600 } else { 20 };
            let (read, told) = read_to_trouble(&mut proxied.open(&[(0, 0)]), reads_max);
            let at = format!("byte {place}, {:?}: {read:?}, {told:?}", proxied.fetch);
            // What came with the damaged batch may wait until that is mended; nothing behind it comes.
            let is_whole = read.is_empty() || read == (0..10).collect();
            assert!(is_whole, "a part came, or what is damaged, {at}");
            assert!(told.is_some() || !is_told, "nothing is told, {at}");
            match told {
                Some(Err(error)) => assert_eq!(error.state(), SqlState::DataCorrupted, "{at}"),
                _ => assert!(!is_error, "an error was due, {at}"),
            }
        });
    }
}

/// The numbers that a reader gives until it tells a problem or fails, in so many reads at the most.
fn read_to_trouble(
    reader: &mut Reader,
    reads_max: usize,
) -> (BTreeSet<i64>, Option<Result<String, Error>>) {
    let mut numbers = BTreeSet::new();
    for _ in 0..reads_max {
        let mut read = match reader.read(Duration::from_millis(100)) {
            Ok(read) => read,
            Err(error) => return (numbers, Some(Err(error))),
        };
        for row in 0..read.batch.messages.len() {
            let payload = read.batch.payload(row).expect("no tombstones here");
            let number = std::str::from_utf8(payload).unwrap().parse().unwrap();
            assert!(numbers.insert(number), "{number} comes twice");
        }
        if let Some(problem) = read.problems.pop() {
            return (numbers, Some(Ok(problem.message)));
        }
    }
    (numbers, None)
}
