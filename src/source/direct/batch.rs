//! Record batches of format 2, walked where they lie.
//!
//! ```text
//! offset length epoch magic crc │ attributes last-delta times producer count │ record record ..
//!                               └── what the checksum covers ────────────────────────────────┘
//! ```
//! Pure. Invariant: any bytes give messages, "not whole" or a [`Fault`]; no span leaves its batch.

use bytes::Buf;

use crate::types::{Message, Offset, PartitionId, Span};

/// Bytes of a batch before its records.
pub(super) const HEAD_BYTES: usize = 61;
/// Bytes before those that a batch's length counts.
const LENGTH_PREFIX: usize = 12;
/// Where the format's number lies, in the older formats too.
const MAGIC_AT: usize = 16;
const MAGIC: i8 = 2;
/// The checksum covers everything from here on.
const CHECKED_FROM: usize = 21;

const CODEC: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 0b1000;
const TRANSACTIONAL: i16 = 0b1_0000;
const CONTROL: i16 = 0b10_0000;

/// Why a batch cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It has a format from before Kafka 0.11.
    OldFormat,
    /// It is not what the format says.
    Corrupt(String),
}

/// A batch's own fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    base_offset: i64,
    /// The whole batch.
    pub(super) bytes: usize,
    crc: u32,
    attributes: i16,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) count: usize,
}

/// The bytes that the batch at the beginning of `bytes` has, as far as that is told already.
pub(super) fn announced(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(8..LENGTH_PREFIX)?.try_into().ok()?;
    let length = usize::try_from(i32::from_be_bytes(length)).ok()?;
    Some(length + LENGTH_PREFIX)
}

impl Head {
    /// Of the batch that begins `bytes`; `None` when it is not all there.
    pub(super) fn of(bytes: &[u8]) -> Result<Option<Self>, Fault> {
        let Some(magic) = bytes.get(MAGIC_AT) else {
            return Ok(None);
        };
        match i8::from_be_bytes([*magic]) {
            0 | 1 => return Err(Fault::OldFormat),
            MAGIC => {}
            other => return Err(corrupt(&format!("a batch has the unknown format {other}"))),
        }
        let Some(whole) = announced(bytes).filter(|whole| *whole >= HEAD_BYTES) else {
            return Err(corrupt("a batch is shorter than its head"));
        };
        if bytes.len() < whole {
            return Ok(None);
        }
        let mut get = &bytes[..HEAD_BYTES];
        let base_offset = get.get_i64();
        get.advance(4 + 4 + 1);
        let crc = get.get_u32();
        let attributes = get.get_i16();
        let last_offset_delta = get.get_i32();
        let (base_timestamp, max_timestamp) = (get.get_i64(), get.get_i64());
        let producer_id = get.get_i64();
        get.advance(2 + 4);
        let count = get.get_i32();
        let in_range = base_offset >= 0
            && last_offset_delta >= 0
            && base_offset < i64::MAX - i64::from(i32::MAX);
        match usize::try_from(count) {
            Ok(count) if in_range => Ok(Some(Self {
                base_offset,
                bytes: whole,
                crc,
                attributes,
                last_offset_delta,
                base_timestamp,
                max_timestamp,
                producer_id,
                count,
            })),
            _ => Err(corrupt("a batch's offsets cannot be")),
        }
    }

    /// The offset of its last record, also when compaction removed that.
    pub(super) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The number of its compression; 0 is none.
    pub(super) fn codec(&self) -> i16 {
        self.attributes & CODEC
    }

    /// True for a mark that the broker wrote.
    pub(super) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// True within a transaction, and for the mark that ends one.
    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Compares the checksum; `batch` is the whole batch.
    pub(super) fn check(&self, batch: &[u8]) -> Result<(), Fault> {
        let found = crc32c::crc32c(&batch[CHECKED_FROM..]);
        if found == self.crc {
            return Ok(());
        }
        let (from, to, crc) = (self.base_offset, self.last_offset(), self.crc);
        Err(corrupt(&format!(
            "the checksum of offsets {from} to {to} is {found:08x} and not {crc:08x}"
        )))
    }

    fn malformed(&self) -> Fault {
        let (from, to) = (self.base_offset, self.last_offset());
        corrupt(&format!(
            "the records of offsets {from} to {to} are malformed"
        ))
    }
}

fn corrupt(reason: &str) -> Fault {
    Fault::Corrupt(reason.to_owned())
}

/// What is wanted of a batch's records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) partition: PartitionId,
    /// Records before it are left out.
    pub(super) from: i64,
    pub(super) keys: bool,
}

/// Where a record's parts lie in its batch.
struct Record {
    timestamp_delta: i64,
    offset_delta: i64,
    key: Option<(usize, usize)>,
    value: Option<(usize, usize)>,
    /// Where its headers begin.
    headers: usize,
    end: usize,
}

/// Adds the records of a batch to `messages`. `records` are the batch's records, unpacked; they
/// begin at `start` of the buffer to which spans refer. `with_headers` is given the place of each
/// message in `messages` and the bytes of its headers.
#[inline]
pub(super) fn walk(
    head: &Head,
    (records, start): (&[u8], usize),
    wanted: Wanted,
    messages: &mut Vec<Message>,
    mut with_headers: impl FnMut(usize, &[u8]),
) -> Result<(), Fault> {
    let malformed = || head.malformed();
    if head.count > records.len() {
        return Err(malformed());
    }
    assert!(
        u32::try_from(start + records.len()).is_ok(),
        "spans are 32 bits wide"
    );
    messages.reserve(head.count);
    let appended = head.attributes & LOG_APPEND_TIME != 0;
    let (mut at, mut last) = (0, -1);
    for _ in 0..head.count {
        let record = Record::at(records, at).ok_or_else(malformed)?;
        at = record.end;
        if record.offset_delta <= last || record.offset_delta > head.last_offset_delta.into() {
            return Err(malformed());
        }
        last = record.offset_delta;
        let offset = head.base_offset + record.offset_delta;
        if offset < wanted.from {
            continue;
        }
        let timestamp_ms = if appended {
            head.max_timestamp
        } else {
            head.base_timestamp.wrapping_add(record.timestamp_delta)
        };
        with_headers(messages.len(), &records[record.headers..record.end]);
        let key = if wanted.keys { record.key } else { None };
        messages.push(Message {
            partition: wanted.partition,
            offset: Offset(offset),
            timestamp_ms,
            key: key.map(|range| span(start, range)),
            payload: record.value.map(|range| span(start, range)),
            headers: None,
        });
    }
    if at == records.len() {
        Ok(())
    } else {
        Err(malformed())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the walk begins by checking that all of the batch lies within 32 bits"
)]
fn span(start: usize, (from, to): (usize, usize)) -> Span {
    Span {
        start: (start + from) as u32,
        len: (to - from) as u32,
    }
}

impl Record {
    #[inline]
    fn at(records: &[u8], mut at: usize) -> Option<Self> {
        let len = varint(records, &mut at)?;
        let end = at.checked_add(usize::try_from(len).ok()?)?;
        // One comparison with the batch's end; the rest compares with the record's.
        let record = records.get(..end)?;
        at += 1;
        let timestamp_delta = varint(record, &mut at)?;
        let offset_delta = varint(record, &mut at)?;
        let key = bytes(record, &mut at)?;
        let value = bytes(record, &mut at)?;
        Some(Self {
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers: at,
            end,
        })
    }
}

/// A range behind its length; the inner `None` is null.
#[inline]
#[expect(clippy::option_option, reason = "malformed, or null")]
fn bytes(record: &[u8], at: &mut usize) -> Option<Option<(usize, usize)>> {
    let len = varint(record, at)?;
    if len < 0 {
        return (len == -1).then_some(None);
    }
    let from = *at;
    let to = from.checked_add(usize::try_from(len).ok()?)?;
    if to > record.len() {
        return None;
    }
    *at = to;
    Some(Some((from, to)))
}

/// A number in 7-bit groups, the lowest first; its sign is the lowest bit.
#[inline]
fn varint(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let first = *bytes.get(*at)?;
    *at += 1;
    if first < 0x80 {
        return Some(signed(first.into()));
    }
    let second = *bytes.get(*at)?;
    *at += 1;
    let both = u64::from(first & 0x7f) | u64::from(second & 0x7f) << 7;
    if second < 0x80 {
        return Some(signed(both));
    }
    long_varint(bytes, at, both)
}

fn long_varint(bytes: &[u8], at: &mut usize, mut value: u64) -> Option<i64> {
    for shift in (14..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(signed(value));
        }
    }
    None
}

fn signed(zigzag: u64) -> i64 {
    (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed()
}

/// A header's name and value, one after the other; ends where they are malformed.
pub(super) struct Headers<'a> {
    bytes: &'a [u8],
    at: usize,
    left: i64,
}

impl<'a> Headers<'a> {
    /// From the bytes that [`walk`] gave.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut at = 0;
        let left = varint(bytes, &mut at).unwrap_or(0);
        Self { bytes, at, left }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left <= 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let (from, to) = bytes(self.bytes, &mut self.at)??;
        let value = bytes(self.bytes, &mut self.at)?;
        Some((
            &self.bytes[from..to],
            value.map(|(from, to)| &self.bytes[from..to]),
        ))
    }
}

/// True for the mark of an aborted transaction. `records` are those of a control batch.
pub(super) fn is_abort(records: &[u8]) -> bool {
    const ABORT: [u8; 2] = [0, 0];
    let key = Record::at(records, 0).and_then(|record| record.key);
    key.and_then(|(from, to)| records[from..to].get(2..4)) == Some(&ABORT)
}

/// How far a partition's part of an answer reaches.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// Bytes of whole batches.
    pub(super) whole: usize,
    /// The offset to read next.
    pub(super) next: i64,
}

/// Hops over the batches that lie end to end in `bytes`, up to one that is not whole or has an old
/// format; an error only when that is the first.
pub(super) fn reach(bytes: &[u8], from: i64) -> Result<Reach, Fault> {
    let mut reach = Reach {
        whole: 0,
        next: from,
    };
    while reach.whole < bytes.len() {
        match Head::of(&bytes[reach.whole..]) {
            Ok(Some(head)) => {
                reach.whole += head.bytes;
                reach.next = reach.next.max(head.last_offset() + 1);
            }
            Ok(None) => break,
            Err(fault) if reach.whole == 0 => return Err(fault),
            Err(_) => break,
        }
    }
    Ok(reach)
}
