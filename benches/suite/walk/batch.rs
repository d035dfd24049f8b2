//! Record batches: their checksum, and one step a record. Pure.

use std::io::Read;

/// Bytes of a batch before its records.
const HEAD_BYTES: usize = 61;
/// Bytes before those that its length counts.
const PREFIX_BYTES: usize = 12;
/// Where what the checksum covers begins.
const CHECKED_FROM: usize = 21;
const CODEC: u16 = 0x07;
const CONTROL: u16 = 0x20;

/// What was walked.
pub(super) struct Walked {
    pub(super) records: u64,
    /// The offset behind the last batch.
    pub(super) next: i64,
}

/// Steps over the whole batches that `bytes` begin with; `plain` is room for compressed ones.
pub(super) fn walk(bytes: &[u8], next: i64, plain: &mut Vec<u8>) -> Result<Walked, String> {
    let mut walked = Walked { records: 0, next };
    let mut left = bytes;
    while left.len() >= HEAD_BYTES {
        let length = PREFIX_BYTES + number(left, 8) as usize;
        let Some((batch, behind)) = left.split_at_checked(length) else {
            break;
        };
        if batch.len() < HEAD_BYTES || batch[16] != 2 {
            return Err("a batch of another format".to_owned());
        }
        if crc32c::crc32c(&batch[CHECKED_FROM..]) != number(batch, 17) {
            return Err("a checksum does not match".to_owned());
        }
        let attributes = u16::from_be_bytes([batch[21], batch[22]]);
        let (last, count) = (number(batch, 23), number(batch, 57));
        let records = plain_records(attributes & CODEC, &batch[HEAD_BYTES..], plain)?;
        step(records, count)?;
        if attributes & CONTROL == 0 {
            walked.records += u64::from(count);
        }
        let base = (u64::from(number(batch, 0)) << 32) | u64::from(number(batch, 4));
        walked.next = base.cast_signed() + i64::from(last) + 1;
        left = behind;
    }
    Ok(walked)
}

fn plain_records<'a>(
    codec: u16,
    records: &'a [u8],
    plain: &'a mut Vec<u8>,
) -> Result<&'a [u8], String> {
    plain.clear();
    let read = match codec {
        0 => return Ok(records),
        3 => lz4_flex::frame::FrameDecoder::new(records).read_to_end(plain),
        4 => zstd::stream::read::Decoder::new(records).and_then(|mut all| all.read_to_end(plain)),
        _ => return Err(format!("codec {codec} is not for the walk")),
    };
    read.map_err(|error| error.to_string())?;
    Ok(plain)
}

/// Goes from one record to the next by their lengths.
fn step(records: &[u8], count: u32) -> Result<(), String> {
    let mut at = 0_usize;
    for _ in 0..count {
        let (mut length, mut shift) = (0_u32, 0);
        loop {
            let byte = *records.get(at).ok_or("a batch ends within a record")?;
            at += 1;
            length |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 28 {
                return Err("a record's length is none".to_owned());
            }
        }
        // Zigzag of a number that is not negative.
        at += (length >> 1) as usize;
    }
    if at == records.len() {
        Ok(())
    } else {
        Err("a batch is not as long as its records".to_owned())
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
