//! Record batches as bytes: reading and patching their header, walking the records of a plain one.
//!
//! Owns the layout of Kafka's message format 2. Knows nothing of logs, offsets in use or producers.
//! Batches stay opaque otherwise: nothing here compresses or decompresses.
//!
//! ```text
//! base_offset:8 length:4 leader_epoch:4 magic:1 crc:4 | attributes:2 last_offset_delta:4
//! base_timestamp:8 max_timestamp:8 producer_id:8 producer_epoch:2 base_sequence:4 count:4 records..
//! ```
//! The checksum covers what follows the bar, so that offset and leader epoch can be set freely.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;

/// Bytes before the records.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes of the fields that the broker sets: base offset, length, leader epoch.
pub(crate) const PATCHED_BYTES: usize = 16;
/// Bytes before those that the length field counts.
const LENGTH_PREFIX: usize = 12;
/// Where the checksummed part begins.
const CHECKED_FROM: usize = 21;

const MAGIC: i8 = 2;
const COMPRESSION_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The header of a record batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// Offset of the first record.
    pub(crate) base_offset: i64,
    /// Bytes of the whole batch, header included.
    pub(crate) bytes: usize,
    crc: u32,
    attributes: i16,
    /// Offset of the last record, from the base offset.
    pub(crate) last_offset_delta: i32,
    base_timestamp: i64,
    /// The greatest timestamp in it, milliseconds since the Unix epoch.
    pub(crate) max_timestamp: i64,
    /// -1 when the producer is not idempotent.
    pub(crate) producer_id: i64,
    /// Raised each time the producer starts anew.
    pub(crate) producer_epoch: i16,
    /// Number of the first record in the producer's sequence, -1 if there is none.
    pub(crate) base_sequence: i32,
    count: i32,
}

impl BatchHeader {
    /// Reads a header; `None` when the bytes cannot begin a batch of format 2.
    pub(crate) fn parse(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        let base_offset = bytes.get_i64();
        let length = usize::try_from(bytes.get_i32()).ok()?;
        bytes.advance(4);
        if bytes.get_i8() != MAGIC || length < HEADER_BYTES - LENGTH_PREFIX {
            return None;
        }
        Some(Self {
            base_offset,
            bytes: length + LENGTH_PREFIX,
            crc: bytes.get_u32(),
            attributes: bytes.get_i16(),
            last_offset_delta: bytes.get_i32(),
            base_timestamp: bytes.get_i64(),
            max_timestamp: bytes.get_i64(),
            producer_id: bytes.get_i64(),
            producer_epoch: bytes.get_i16(),
            base_sequence: bytes.get_i32(),
            count: bytes.get_i32(),
        })
    }

    /// True when `batch` is whole and its checksum is right.
    pub(crate) fn is_intact(&self, batch: &[u8]) -> bool {
        batch.len() == self.bytes
            && self.last_offset_delta >= 0
            && crc32c::crc32c(&batch[CHECKED_FROM..]) == self.crc
    }

    /// The header as it reads once the batch lies at an offset.
    pub(crate) fn placed_at(&self, base_offset: i64) -> Self {
        Self {
            base_offset,
            ..*self
        }
    }

    /// Offset of the last record.
    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// True for a batch inside a transaction, and for the marker that ends one.
    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// True for a marker that the broker wrote.
    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// The producer's number of the last record; the numbers wrap to zero after `i32::MAX`.
    pub(crate) fn last_sequence(&self) -> i32 {
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        i32::try_from(last % (i64::from(i32::MAX) + 1)).expect("a remainder fits")
    }
}

/// Checks what a producer sent for one partition: exactly one intact batch of records.
///
/// # Errors
/// The code that the producer is to see.
pub(crate) fn check_produced(batch: &[u8]) -> Result<BatchHeader, ResponseError> {
    if batch.len() > PATCHED_BYTES && batch[PATCHED_BYTES] != MAGIC.cast_unsigned() {
        return Err(ResponseError::UnsupportedForMessageFormat);
    }
    let header = BatchHeader::parse(batch).ok_or(ResponseError::CorruptMessage)?;
    if !header.is_intact(batch) {
        return Err(ResponseError::CorruptMessage);
    }
    let counted = header.count >= 1 && header.count - 1 == header.last_offset_delta;
    let numbered = header.producer_id < 0 || header.base_sequence >= 0;
    if !counted || !numbered || header.is_control() {
        return Err(ResponseError::InvalidRecord);
    }
    if header.is_transactional() && header.producer_id < 0 {
        return Err(ResponseError::InvalidRecord);
    }
    Ok(header)
}

/// The first bytes of a batch as the log keeps them.
pub(crate) fn patched_prefix(base_offset: i64, header: &BatchHeader) -> [u8; PATCHED_BYTES] {
    let mut prefix = [0; PATCHED_BYTES];
    let length = i32::try_from(header.bytes - LENGTH_PREFIX).expect("it was read from an i32");
    prefix[..8].copy_from_slice(&base_offset.to_be_bytes());
    prefix[8..12].copy_from_slice(&length.to_be_bytes());
    prefix // The leader epoch stays zero: there is one broker.
}

/// The batch that ends a transaction in one partition.
pub(crate) fn control_batch(
    producer_id: i64,
    producer_epoch: i16,
    committed: bool,
    timestamp_ms: i64,
) -> Bytes {
    let mut record = BytesMut::with_capacity(32);
    record.put_u8(0); // Attributes.
    put_varint(&mut record, 0); // Timestamp delta.
    put_varint(&mut record, 0); // Offset delta.
    put_varint(&mut record, 4); // Key: version, type.
    record.put_i16(0);
    record.put_i16(i16::from(committed));
    put_varint(&mut record, 6); // Value: version, coordinator epoch.
    record.put_i16(0);
    record.put_i32(0);
    put_varint(&mut record, 0); // Headers.

    let mut checked = BytesMut::with_capacity(96);
    checked.put_i16(TRANSACTIONAL | CONTROL);
    checked.put_i32(0);
    checked.put_i64(timestamp_ms);
    checked.put_i64(timestamp_ms);
    checked.put_i64(producer_id);
    checked.put_i16(producer_epoch);
    checked.put_i32(-1);
    checked.put_i32(1);
    put_varint(
        &mut checked,
        i64::try_from(record.len()).expect("a marker is short"),
    );
    checked.extend_from_slice(&record);

    let mut batch = BytesMut::with_capacity(CHECKED_FROM + checked.len());
    batch.put_i64(0);
    let length = CHECKED_FROM - LENGTH_PREFIX + checked.len();
    batch.put_i32(i32::try_from(length).expect("a marker is short"));
    batch.put_i32(0);
    batch.put_i8(MAGIC);
    batch.put_u32(crc32c::crc32c(&checked));
    batch.extend_from_slice(&checked);
    batch.freeze()
}

/// What a control batch says: true for a commit; `None` when it is no end of a transaction.
pub(crate) fn control_outcome(batch: &[u8]) -> Option<bool> {
    let mut records = Records {
        rest: batch.get(HEADER_BYTES..)?,
    };
    let mut key = records.next()?.key?;
    if key.len() < 4 {
        return None;
    }
    key.advance(2);
    match key.get_i16() {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// The first record at or after a timestamp, as `(offset, timestamp)`, in a batch that has one.
///
/// A compressed batch answers with its base offset: the records before the wanted one in that
/// batch come along, none is lost. The same holds for a batch whose records cannot be read.
pub(crate) fn find_timestamp(header: &BatchHeader, batch: &[u8], wanted: i64) -> (i64, i64) {
    if header.attributes & LOG_APPEND_TIME != 0 {
        return (header.base_offset, header.max_timestamp);
    }
    if header.attributes & COMPRESSION_MASK == 0 {
        let records = Records {
            rest: batch.get(HEADER_BYTES..).unwrap_or_default(),
        };
        for record in records {
            let timestamp = header.base_timestamp.saturating_add(record.timestamp_delta);
            if timestamp >= wanted {
                return (
                    header.base_offset.saturating_add(record.offset_delta),
                    timestamp,
                );
            }
        }
    }
    (header.base_offset, header.base_timestamp)
}

/// A record of an uncompressed batch, as far as the broker looks at it.
struct Record<'a> {
    timestamp_delta: i64,
    offset_delta: i64,
    key: Option<&'a [u8]>,
}

/// Walks the records of an uncompressed batch; ends early where they are malformed.
struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let length = usize::try_from(get_varint(&mut self.rest)?).ok()?;
        let (mut record, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        let (_attributes, tail) = record.split_first()?;
        record = tail;
        let timestamp_delta = get_varint(&mut record)?;
        let offset_delta = get_varint(&mut record)?;
        let key = match get_varint(&mut record)? {
            -1 => None,
            length => Some(record.get(..usize::try_from(length).ok()?)?),
        };
        Some(Record {
            timestamp_delta,
            offset_delta,
            key,
        })
    }
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while zigzag >= 0x80 {
        out.put_u8((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    out.put_u8((zigzag & 0x7f) as u8);
}

fn get_varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut zigzag = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod testing {
    //! Batches for the tests of this room.

    use super::{
        BatchHeader, Bytes, BytesMut, CHECKED_FROM, HEADER_BYTES, LENGTH_PREFIX, MAGIC,
        TRANSACTIONAL, put_varint,
    };
    use bytes::BufMut;

    /// What a test batch is made of; one record a timestamp.
    #[derive(Clone)]
    pub(crate) struct Spec<'a> {
        pub(crate) timestamps: &'a [i64],
        pub(crate) value_bytes: usize,
        pub(crate) producer: Option<(i64, i16, i32)>,
        pub(crate) transactional: bool,
        pub(crate) attributes: i16,
    }

    impl Default for Spec<'_> {
        fn default() -> Self {
            Self {
                timestamps: &[1],
                value_bytes: 10,
                producer: None,
                transactional: false,
                attributes: 0,
            }
        }
    }

    /// A batch as a producer would send it.
    pub(crate) fn batch(spec: &Spec<'_>) -> Bytes {
        let count = i32::try_from(spec.timestamps.len()).unwrap();
        let base = spec.timestamps[0];
        let (pid, epoch, sequence) = spec.producer.unwrap_or((-1, -1, -1));
        let mut checked = BytesMut::new();
        checked.put_i16(spec.attributes | if spec.transactional { TRANSACTIONAL } else { 0 });
        checked.put_i32(count - 1);
        checked.put_i64(base);
        checked.put_i64(*spec.timestamps.iter().max().unwrap());
        checked.put_i64(pid);
        checked.put_i16(epoch);
        checked.put_i32(sequence);
        checked.put_i32(count);
        for (i, timestamp) in spec.timestamps.iter().enumerate() {
            let mut record = BytesMut::new();
            record.put_u8(0);
            put_varint(&mut record, timestamp - base);
            put_varint(&mut record, i64::try_from(i).unwrap());
            put_varint(&mut record, -1);
            put_varint(&mut record, i64::try_from(spec.value_bytes).unwrap());
            record.put_bytes(b'v', spec.value_bytes);
            put_varint(&mut record, 0);
            put_varint(&mut checked, i64::try_from(record.len()).unwrap());
            checked.extend_from_slice(&record);
        }
        let mut batch = BytesMut::new();
        batch.put_i64(0);
        batch.put_i32(i32::try_from(CHECKED_FROM - LENGTH_PREFIX + checked.len()).unwrap());
        batch.put_i32(-1);
        batch.put_i8(MAGIC);
        batch.put_u32(crc32c::crc32c(&checked));
        batch.extend_from_slice(&checked);
        batch.freeze()
    }

    /// The headers of the batches that lie end to end in `bytes`.
    pub(crate) fn headers(mut bytes: &[u8]) -> Vec<BatchHeader> {
        let mut headers = Vec::new();
        while bytes.len() >= HEADER_BYTES {
            let header = BatchHeader::parse(bytes).expect("a batch");
            assert!(
                header.is_intact(&bytes[..header.bytes]),
                "the checksum holds"
            );
            bytes = &bytes[header.bytes..];
            headers.push(header);
        }
        assert!(bytes.is_empty(), "no part of a batch is left over");
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Spec, batch};
    use super::*;

    #[test]
    fn an_intact_batch_is_accepted_and_a_flipped_bit_is_not() {
        let good = batch(&Spec {
            timestamps: &[5, 7, 6],
            ..Spec::default()
        });
        let header = check_produced(&good).unwrap();
        assert_eq!((header.last_offset_delta, header.max_timestamp), (2, 7));
        for at in [16, 17, 22, 40, 61, good.len() - 1] {
            let mut bad = good.to_vec();
            bad[at] ^= 1;
            assert!(check_produced(&bad).is_err(), "byte {at}");
        }
        assert_eq!(
            check_produced(&good[..good.len() - 1]),
            Err(ResponseError::CorruptMessage)
        );
    }

    #[test]
    fn markers_cannot_be_produced_and_say_how_they_end() {
        for committed in [true, false] {
            let marker = control_batch(7, 3, committed, 99);
            assert_eq!(check_produced(&marker), Err(ResponseError::InvalidRecord));
            let header = BatchHeader::parse(&marker).unwrap();
            assert!(header.is_intact(&marker), "the checksum holds");
            assert!(
                header.is_control() && header.is_transactional(),
                "its kind shows"
            );
            assert_eq!((header.producer_id, header.producer_epoch), (7, 3));
            assert_eq!(control_outcome(&marker), Some(committed));
        }
    }

    #[test]
    fn a_timestamp_is_found_by_record_in_plain_batches_and_by_batch_in_compressed_ones() {
        let plain = batch(&Spec {
            timestamps: &[10, 30, 20, 40],
            ..Spec::default()
        });
        let header = BatchHeader::parse(&plain).unwrap();
        assert_eq!(find_timestamp(&header, &plain, 11), (1, 30));
        assert_eq!(find_timestamp(&header, &plain, 40), (3, 40));
        let gzip = batch(&Spec {
            timestamps: &[10, 30],
            attributes: 1,
            ..Spec::default()
        });
        let header = BatchHeader::parse(&gzip).unwrap();
        assert_eq!(find_timestamp(&header, &gzip, 30), (0, 10));
    }

    #[test]
    fn sequence_numbers_wrap() {
        let spec = Spec {
            producer: Some((1, 0, i32::MAX)),
            timestamps: &[1, 1],
            ..Spec::default()
        };
        assert_eq!(check_produced(&batch(&spec)).unwrap().last_sequence(), 0);
    }

    #[test]
    fn varints_survive_a_round_trip_and_refuse_endless_ones() {
        for value in [0, -1, 1, 63, 64, -65, i64::MAX, i64::MIN] {
            let mut bytes = BytesMut::new();
            put_varint(&mut bytes, value);
            assert_eq!(get_varint(&mut &bytes[..]), Some(value));
        }
        assert_eq!(get_varint(&mut &[0xff_u8; 11][..]), None);
        assert_eq!(get_varint(&mut &[0x80_u8][..]), None);
    }
}
