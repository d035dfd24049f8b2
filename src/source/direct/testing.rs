//! Batches and answers for the tests of this room, made as producers and brokers make them.

use super::compression::testing::pack;
use super::wire::Put;

/// A record of a test.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TestRecord {
    pub(super) delta: i64,
    pub(super) time_delta: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A batch of a test.
#[derive(Debug, Clone)]
pub(super) struct TestBatch {
    pub(super) base_offset: i64,
    /// The number of records that were there before compaction.
    pub(super) offsets: i32,
    pub(super) codec: i16,
    pub(super) attributes: i16,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer: i64,
    pub(super) records: Vec<TestRecord>,
}

pub(super) const LOG_APPEND: i16 = 8;
pub(super) const TRANSACTIONAL: i16 = 16;
pub(super) const CONTROL: i16 = 32;

impl TestBatch {
    /// Values from an offset on, one after the other.
    pub(super) fn of(base_offset: i64, values: &[&str]) -> Self {
        let record = |(delta, value): (usize, &&str)| TestRecord {
            delta: i64::try_from(delta).unwrap(),
            value: Some(value.as_bytes().to_vec()),
            ..TestRecord::default()
        };
        Self {
            base_offset,
            offsets: i32::try_from(values.len()).unwrap(),
            codec: 0,
            attributes: 0,
            base_timestamp: 1000,
            max_timestamp: 9000,
            producer: -1,
            records: values.iter().enumerate().map(record).collect(),
        }
    }

    /// The mark at the end of a producer's transaction.
    pub(super) fn mark(offset: i64, producer: i64, committed: bool) -> Self {
        let mut batch = Self::of(offset, &["\0\0\0\0\0\0"]).by(producer);
        batch.attributes |= CONTROL;
        batch.records[0].key = Some(vec![0, 0, 0, u8::from(committed)]);
        batch
    }

    /// The same in a transaction of a producer.
    pub(super) fn by(mut self, producer: i64) -> Self {
        self.producer = producer;
        self.attributes |= TRANSACTIONAL;
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for record in &self.records {
            let body = record.bytes();
            put_varint(&mut records, i64::try_from(body.len()).unwrap());
            records.extend(body);
        }
        let mut checked = Vec::new();
        let codec = self.codec % 10;
        checked.extend((self.attributes | codec).to_be_bytes());
        checked.extend((self.offsets - 1).to_be_bytes());
        checked.extend(self.base_timestamp.to_be_bytes());
        checked.extend(self.max_timestamp.to_be_bytes());
        checked.extend(self.producer.to_be_bytes());
        checked.extend(0_i16.to_be_bytes());
        checked.extend((-1_i32).to_be_bytes());
        checked.extend(i32::try_from(self.records.len()).unwrap().to_be_bytes());
        checked.extend(pack(self.codec, &records));
        let mut batch = Vec::new();
        batch.extend(self.base_offset.to_be_bytes());
        batch.extend(i32::try_from(checked.len() + 9).unwrap().to_be_bytes());
        batch.extend((-1_i32).to_be_bytes());
        batch.push(2);
        batch.extend(crc32c::crc32c(&checked).to_be_bytes());
        batch.extend(checked);
        batch
    }
}

impl TestRecord {
    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0];
        put_varint(&mut out, self.time_delta);
        put_varint(&mut out, self.delta);
        put_bytes(&mut out, self.key.as_deref());
        put_bytes(&mut out, self.value.as_deref());
        put_varint(&mut out, i64::try_from(self.headers.len()).unwrap());
        for (name, value) in &self.headers {
            put_bytes(&mut out, Some(name));
            put_bytes(&mut out, value.as_deref());
        }
        out
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let len = bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap());
    put_varint(out, len);
    out.extend(bytes.unwrap_or_default());
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while zigzag >= 0x80 {
        out.push(u8::try_from(zigzag & 0x7f).unwrap() | 0x80);
        zigzag >>= 7;
    }
    out.push(u8::try_from(zigzag).unwrap());
}

/// A message of format 1, which was before Kafka 0.11.
pub(super) fn old_message(offset: i64, value: &str) -> Vec<u8> {
    let mut body = vec![1, 0];
    body.extend(1000_i64.to_be_bytes());
    body.extend((-1_i32).to_be_bytes());
    body.extend(i32::try_from(value.len()).unwrap().to_be_bytes());
    body.extend(value.as_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let mut message = offset.to_be_bytes().to_vec();
    message.extend(i32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend(crc.sum().to_be_bytes());
    message.extend(body);
    message
}

/// One partition in an answer to a fetch.
#[derive(Debug, Clone, Default)]
pub(super) struct TestPart {
    pub(super) partition: i32,
    pub(super) code: i16,
    pub(super) end: i64,
    pub(super) stable: i64,
    pub(super) aborted: Vec<(i64, i64)>,
    pub(super) records: Vec<u8>,
}

/// The body of an answer to a fetch of version 11.
pub(super) fn fetched(topic: &str, parts: &[TestPart]) -> Vec<u8> {
    let mut out = Put::default();
    out.i32(0);
    out.i16(0);
    out.i32(0);
    out.count(1);
    out.string(topic);
    out.count(parts.len());
    for part in parts {
        out.i32(part.partition);
        out.i16(part.code);
        out.i64(part.end);
        out.i64(part.stable);
        out.i64(0);
        out.count(part.aborted.len());
        for (producer, first) in &part.aborted {
            out.i64(*producer);
            out.i64(*first);
        }
        out.i32(-1);
        out.bytes(&part.records);
    }
    out.framed().split_off(4)
}

/// The body of an answer about versions, in which a broker has those that answers here are of. One
/// who asks in another version than the first is refused, and may ask again.
pub(super) fn versions(version: i16) -> Vec<u8> {
    let mut out = Put::default();
    out.i16(if version == 0 { 0 } else { 35 });
    let all = [(1, 4, 11), (3, 8, 8), (17, 0, 1), (18, 0, 0), (36, 0, 2)];
    out.count(all.len());
    for (api, min, max) in all {
        out.i16(api);
        out.i16(min);
        out.i16(max);
    }
    out.framed().split_off(4)
}

/// The body of an answer to a mechanism: its code, and the mechanisms there are.
pub(super) fn mechanisms(code: i16, all: &[&str]) -> Vec<u8> {
    let mut out = Put::default();
    out.i16(code);
    out.count(all.len());
    all.iter().for_each(|name| out.string(name));
    out.framed().split_off(4)
}

/// The body of an answer of version 1 to credentials that are taken for good.
pub(super) fn authenticated() -> Vec<u8> {
    let mut out = Put::default();
    out.i16(0);
    out.i16(-1);
    out.bytes(&[]);
    out.i64(0);
    out.framed().split_off(4)
}

/// What a reader speaks with such a broker.
pub(super) fn spoken() -> super::protocol::Versions {
    super::protocol::Versions::read(&versions(0))
        .unwrap()
        .unwrap()
}

/// The body of an answer to a question about leaders of version 8: one broker, which leads all.
pub(super) fn metadata(topic: &str, code: i16, port: u16, partitions: i32) -> Vec<u8> {
    let mut out = Put::default();
    out.i32(0);
    out.count(1);
    out.i32(1);
    out.string("127.0.0.1");
    out.i32(port.into());
    out.i16(-1);
    out.i16(-1);
    out.i32(1);
    out.count(1);
    out.i16(code);
    out.string(topic);
    out.i8(0);
    let partitions = if code == 0 { partitions } else { 0 };
    out.i32(partitions);
    for partition in 0..partitions {
        out.i16(0);
        out.i32(partition);
        out.i32(1);
        out.i32(5);
        for _ in 0..3 {
            out.count(0);
        }
    }
    out.i32(0);
    out.i32(0);
    out.framed().split_off(4)
}
