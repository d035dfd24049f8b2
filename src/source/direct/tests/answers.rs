//! Answers with every kind of batch, and what the walk makes of them.

use std::collections::VecDeque;

use arrow::buffer::Buffer;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::proptest;

use crate::source::direct::batch::{self, Fault};
use crate::source::direct::delivery::{Delivery, Section, Wish};
use crate::source::direct::protocol::{Fetched, Metadata, Versions};
use crate::source::direct::testing::{
    LOG_APPEND, TestBatch, TestPart, TestRecord, fetched, spoken,
};
use crate::types::{MessageBatch, PartitionId};

const TOPIC: &str = "t";

const WISH: Wish = Wish {
    keys: true,
    headers: true,
    rows_max: 1000,
    bytes_max: 1 << 20,
    read_committed: true,
};

/// A message as it came out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    offset: i64,
    time: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Option<String>,
}

/// All messages of an answer, as a reader takes them that wants those from `from` on.
fn read(body: &[u8], from: i64, wish: Wish) -> Result<Vec<Got>, Fault> {
    let answer = [&[0; 4], body].concat();
    let malformed = |_| Fault::Corrupt("the answer".to_owned());
    let fetched = Fetched::read(spoken(), TOPIC, &answer[4..], 4).map_err(malformed)?;
    let mut sections = VecDeque::new();
    for part in fetched.parts {
        let reach = batch::reach(&answer[part.records.clone()], from)?;
        let range = part.records.start..part.records.start + reach.whole;
        sections.push_back(Section::new(
            PartitionId(part.partition),
            range,
            from,
            part.aborted,
        ));
    }
    let buffer = [answer.as_slice(), &[0; MessageBatch::PADDING]].concat();
    let mut delivery = Delivery::new(1, Buffer::from_vec(buffer), sections);
    let mut all = Vec::new();
    while let Some(mut chunk) = delivery.next_chunk(wish).map_err(|e| e.fault)? {
        while !chunk.is_empty() {
            let batch = chunk.take(wish);
            assert!(
                (1..=wish.rows_max).contains(&batch.messages.len()),
                "within the limits"
            );
            all.extend(got(&batch));
        }
    }
    Ok(all)
}

fn got(batch: &MessageBatch) -> Vec<Got> {
    let end = batch.buffer.len() - MessageBatch::PADDING;
    let messages = batch.messages.iter();
    messages
        .map(|message| {
            let bytes = |span: Option<crate::types::Span>| {
                span.map(|span| {
                    assert!(
                        (span.start + span.len) as usize <= end,
                        "before the padding"
                    );
                    span.of(&batch.buffer).to_vec()
                })
            };
            Got {
                offset: message.offset.0,
                time: message.timestamp_ms,
                key: bytes(message.key),
                value: bytes(message.payload),
                headers: bytes(message.headers).map(|text| String::from_utf8(text).unwrap()),
            }
        })
        .collect()
}

fn answer(batches: &[TestBatch], aborted: &[(i64, i64)]) -> Vec<u8> {
    let part = TestPart {
        aborted: aborted.to_vec(),
        records: batches.iter().flat_map(TestBatch::bytes).collect(),
        ..TestPart::default()
    };
    fetched(TOPIC, &[part])
}

fn values(batches: &[TestBatch], aborted: &[(i64, i64)], wish: Wish) -> String {
    let got = read(&answer(batches, aborted), 0, wish).unwrap();
    let shown = got.into_iter().map(|got| {
        let value = String::from_utf8(got.value.unwrap()).unwrap();
        format!("{}:{value}", got.offset)
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn keys_times_headers_and_nulls_come_out_of_every_codec() {
    let mut batch = TestBatch::of(5, &["{}", ""]);
    batch.records[0].key = Some(b"k".to_vec());
    batch.records[0].time_delta = -7;
    batch.records[0].headers = vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)];
    batch.records[1].value = None;
    let (key, value) = (Some(b"k".to_vec()), Some(b"{}".to_vec()));
    let headers = Some("{\"a\":\"1\",\"b\":null}".to_owned());
    for codec in [0, 1, 2, 12, 3, 4] {
        batch.codec = codec;
        batch.attributes = 0;
        let body = answer(&[batch.clone()], &[]);
        let all = read(&body, 0, WISH).unwrap();
        let first = Got {
            offset: 5,
            time: 993,
            key: key.clone(),
            value: value.clone(),
            headers: headers.clone(),
        };
        assert_eq!(all[0], first, "codec {codec}");
        assert_eq!(
            (all[1].offset, &all[1].value, &all[1].headers),
            (6, &None, &None)
        );
        let bare = Wish {
            keys: false,
            headers: false,
            ..WISH
        };
        let all = read(&body, 6, bare).unwrap();
        assert_eq!(all.len(), 1, "codec {codec}: the one before is not wanted");
        let all = read(&body, 0, bare).unwrap();
        assert_eq!((&all[0].key, &all[0].headers), (&None, &None));
        batch.attributes = LOG_APPEND;
        let all = read(&answer(&[batch.clone()], &[]), 0, WISH).unwrap();
        assert_eq!((all[0].time, all[1].time), (9000, 9000));
    }
}

#[test]
fn aborted_transactions_and_marks_are_left_out() {
    let batches = [
        TestBatch::of(0, &["a"]),
        TestBatch::of(1, &["b"]).by(7),
        TestBatch::of(2, &["c"]).by(8),
        TestBatch::mark(3, 7, false),
        TestBatch::of(4, &["d"]).by(7),
        TestBatch::mark(5, 8, true),
        TestBatch::mark(6, 7, true),
        TestBatch::of(7, &["e"]),
        TestBatch::of(8, &["f"]).by(8),
        TestBatch::mark(9, 8, false),
    ];
    let aborted = [(8, 8), (7, 1)];
    assert_eq!(values(&batches, &aborted, WISH), "0:a 2:c 4:d 7:e");
    let all = Wish {
        read_committed: false,
        ..WISH
    };
    assert_eq!(values(&batches, &[], all), "0:a 1:b 2:c 4:d 7:e 8:f");
}

#[test]
fn packed_and_plain_batches_keep_their_order_within_the_limits() {
    let mut batches: Vec<_> = (0..9)
        .map(|n| TestBatch::of(n * 3, &["one", "two", "three"]))
        .collect();
    for (place, codec) in [(1, 4), (2, 3), (5, 1), (8, 12)] {
        batches[place].codec = codec;
    }
    let (headers, keys) = (false, false);
    for (rows_max, bytes_max) in [
        (1, 1 << 20),
        (2, 1 << 20),
        (4, 9),
        (1000, 1),
        (1000, 1 << 20),
    ] {
        let wish = Wish {
            headers,
            keys,
            rows_max,
            bytes_max,
            read_committed: true,
        };
        let shown = values(&batches, &[], wish);
        let offsets: Vec<_> = shown
            .split(' ')
            .map(|v| v.split(':').next().unwrap())
            .collect();
        let expected: Vec<_> = (0..27).map(|n| n.to_string()).collect();
        assert_eq!(offsets, expected, "{rows_max} rows, {bytes_max} bytes");
    }
}

#[test]
fn small_batches_stay_together_however_they_are_packed() {
    let large = "x".repeat(70_000);
    let mut batches = [
        TestBatch::of(0, &["a"]),
        TestBatch::of(1, &["b"]),
        TestBatch::of(2, &[&large]),
        TestBatch::of(3, &["c"]),
    ];
    batches[0].records[0].key = Some(b"k".to_vec());
    batches[1].codec = 4;
    let wish = Wish {
        headers: false,
        ..WISH
    };
    let part = TestPart {
        records: batches.iter().flat_map(TestBatch::bytes).collect(),
        ..TestPart::default()
    };
    let end = part.records.len();
    let buffer = Buffer::from_vec([part.records, vec![0; MessageBatch::PADDING]].concat());
    let section = Section::new(PartitionId(0), 0..end, 0, Vec::new());
    let mut delivery = Delivery::new(1, buffer, [section].into());
    let mut chunks = Vec::new();
    while let Some(mut chunk) = delivery.next_chunk(wish).unwrap() {
        let got = got(&chunk.take(wish));
        chunks.push(got.iter().map(|got| got.offset).collect::<Vec<_>>());
        if got[0].offset == 0 {
            assert_eq!(got[0].key.as_deref(), Some(&b"k"[..]));
        }
    }
    assert_eq!(chunks, [vec![0, 1], vec![2, 3]]);
}

#[test]
fn gaps_of_compaction_and_batches_without_records_are_read_over() {
    let mut gaps = TestBatch::of(10, &["a", "b"]);
    gaps.records[1].delta = 7;
    gaps.offsets = 20;
    let mut empty = TestBatch::of(30, &[]);
    empty.offsets = 5;
    let batches = [gaps, empty, TestBatch::of(35, &["c"])];
    assert_eq!(values(&batches, &[], WISH), "10:a 17:b 35:c");
    let bytes: Vec<u8> = batches.iter().flat_map(TestBatch::bytes).collect();
    let reach = batch::reach(&bytes, 0).unwrap();
    assert_eq!((reach.whole, reach.next), (bytes.len(), 36));
    let cut = batch::reach(&bytes[..bytes.len() - 1], 0).unwrap();
    assert_eq!(cut.next, 35, "the last batch is not whole");
    assert!(cut.whole < bytes.len() - 1);
}

#[test]
fn what_is_wrong_with_a_batch_is_told() {
    let good = TestBatch::of(0, &["value"]).bytes();
    let change = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        batch::reach(&bytes, 0)
    };
    assert_eq!(change(16, 1).unwrap_err(), Fault::OldFormat);
    assert_eq!(change(16, 0).unwrap_err(), Fault::OldFormat);
    assert!(matches!(change(16, 3).unwrap_err(), Fault::Corrupt(_)));
    assert!(matches!(change(0, 0x80).unwrap_err(), Fault::Corrupt(_)));
    let mut backwards = TestBatch::of(0, &["a", "b"]);
    backwards.records[1].delta = 0;
    let twice = read(&answer(&[backwards.clone()], &[]), 0, WISH).unwrap_err();
    assert!(matches!(&twice, Fault::Corrupt(reason) if reason.ends_with("malformed")));
    backwards.records[1].delta = 2;
    read(&answer(&[backwards], &[]), 0, WISH).unwrap_err();
}

fn any_record() -> impl Strategy<Value = TestRecord> {
    let bytes = || option::of(vec(any::<u8>(), 0..40));
    let headers = vec((vec(any::<u8>(), 0..5), bytes()), 0..3);
    (bytes(), bytes(), headers, -1000_i64..100_000).prop_map(|(key, value, headers, time_delta)| {
        TestRecord {
            delta: 0,
            time_delta,
            key,
            value,
            headers,
        }
    })
}

fn any_batch() -> impl Strategy<Value = TestBatch> {
    let codec = prop_oneof![Just(0_i16), Just(1), Just(2), Just(12), Just(3), Just(4)];
    (vec((any_record(), 1_i64..4), 1..20), codec).prop_map(|(records, codec)| {
        let mut batch = TestBatch::of(0, &[]);
        let mut delta = -1;
        for (mut record, step) in records {
            delta += step;
            record.delta = delta;
            batch.records.push(record);
        }
        batch.offsets = i32::try_from(delta + 1).unwrap();
        batch.codec = codec;
        batch
    })
}

/// The batches, one behind the other.
fn placed(mut batches: Vec<TestBatch>) -> Vec<TestBatch> {
    let mut next = 0;
    for batch in &mut batches {
        batch.base_offset = next;
        next += i64::from(batch.offsets);
    }
    batches
}

/// Offset, key and value.
type Expected = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn expected(batches: &[TestBatch]) -> Vec<Expected> {
    let of = |batch: &TestBatch| {
        let base = batch.base_offset;
        let records = batch.records.clone().into_iter();
        records.map(move |r| (base + r.delta, r.key, r.value))
    };
    batches.iter().flat_map(of).collect()
}

proptest! {
    #[test]
    fn what_went_in_comes_out(
        batches in vec(any_batch(), 1..5).prop_map(placed),
        rows_max in 1_usize..50,
        headers in any::<bool>(),
    ) {
        let wish = Wish { rows_max, headers, ..WISH };
        let got = read(&answer(&batches, &[]), 0, wish).unwrap();
        let got: Vec<_> = got.into_iter().map(|got| (got.offset, got.key, got.value)).collect();
        assert_eq!(got, expected(&batches));
    }

    /// Whatever happens to an answer's records, no message comes out that did not go in: the
    /// checksum covers all that a message is made of.
    #[test]
    fn a_flipped_bit_or_a_cut_gives_an_error_or_some_of_the_messages(
        batches in vec(any_batch(), 1..4).prop_map(placed),
        place in any::<proptest::sample::Index>(),
        bit in 0_u8..8,
        cut in option::of(any::<proptest::sample::Index>()),
    ) {
        let mut records: Vec<u8> = batches.iter().flat_map(TestBatch::bytes).collect();
        let place = place.index(records.len());
        records[place] ^= 1 << bit;
        if let Some(cut) = cut {
            records.truncate(cut.index(records.len()));
        }
        let part = TestPart { records, ..TestPart::default() };
        if let Ok(got) = read(&fetched(TOPIC, &[part]), 0, WISH) {
            let expected = expected(&batches);
            let values: Vec<_> = expected.iter().map(|(_, key, value)| (key, value)).collect();
            for got in got {
                // A batch's own offset is not covered: brokers set it after the producer's checksum.
                assert!(values.contains(&(&got.key, &got.value)), "{got:?}");
            }
        }
    }

    #[test]
    fn any_bytes_are_an_answer_or_an_error(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Versions::read(&bytes);
        let _ = Metadata::read(spoken(), TOPIC, &bytes);
        let _ = read(&bytes, 0, WISH);
    }

    #[test]
    fn a_damaged_answer_is_an_error_or_gives_messages_in_order(
        batches in vec(any_batch(), 1..4).prop_map(placed),
        place in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = answer(&batches, &[]);
        let place = place.index(body.len());
        body[place] = byte;
        if let Ok(got) = read(&body, 0, WISH) {
            assert!(got.is_sorted_by_key(|got| got.offset));
        }
    }
}
