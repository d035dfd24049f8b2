//! The tests of the whole: decoder and encoder from outside, and what they share.

mod differential;
mod encode;
mod messages;
mod types;

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::format::{Decoded, JsonDecoder, JsonField};
use crate::types::{Message, MessageBatch, Offset, PartitionId, Span};

/// A batch of these payloads, `None` being a tombstone, with a key in front of each.
fn batch<P: AsRef<[u8]>>(payloads: &[Option<P>]) -> MessageBatch {
    let mut buffer = Vec::new();
    let mut push = |bytes: &[u8]| {
        let start = u32::try_from(buffer.len()).expect("small");
        buffer.extend_from_slice(bytes);
        Span {
            start,
            len: u32::try_from(bytes.len()).expect("small"),
        }
    };
    let mut messages = Vec::new();
    for (row, payload) in payloads.iter().enumerate() {
        messages.push(Message {
            partition: PartitionId(0),
            offset: Offset(i64::try_from(row).expect("small")),
            timestamp_ms: -1,
            key: Some(push(b"key")),
            payload: payload.as_ref().map(|payload| push(payload.as_ref())),
            headers: None,
        });
    }
    // What lies behind the last message must not matter.
    buffer.extend_from_slice(&[b'}'; MessageBatch::PADDING]);
    MessageBatch {
        buffer: Buffer::from_vec(buffer),
        messages,
    }
}

/// Decodes these payloads with a new decoder.
fn decode<P: AsRef<[u8]>>(fields: Vec<JsonField>, payloads: &[P]) -> Decoded {
    let payloads: Vec<_> = payloads.iter().map(Some).collect();
    let mut decoder = JsonDecoder::try_new(fields).expect("the fields can be decoded");
    decoder
        .decode(&batch(&payloads))
        .expect("the batch is sound")
}

/// A value as people read it.
fn shown(column: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::new().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).expect("a plain type");
    formatter.value(row).to_string()
}
