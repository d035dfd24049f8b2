//! Fetched messages, laid end to end in one buffer: what a source hands to a decoder.
//!
//! ```text
//! buffer   | key | payload | payload | key | payload | .. 64 bytes of padding |
//! messages   { partition, offset, timestamp, key: Span, payload: Span }  one for each message
//! ```
//! Invariant: every span lies inside `buffer` before its padding.

use arrow::buffer::Buffer;

use super::{Offset, PartitionId};

/// A range of bytes in a batch's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Span {
    /// The bytes of this span.
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        &buffer[self.start as usize..self.start as usize + self.len as usize]
    }
}

/// One message's metadata and where its bytes lie.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// The partition that it was read from.
    pub partition: PartitionId,
    /// Its offset in that partition.
    pub offset: Offset,
    /// The record's timestamp, milliseconds since the Unix epoch; -1 if it has none.
    pub timestamp_ms: i64,
    /// The key, if there is one.
    pub key: Option<Span>,
    /// The value; `None` is a tombstone.
    pub payload: Option<Span>,
    /// The headers, if they were asked for: a JSON object of header name to text (or null).
    pub headers: Option<Span>,
}

/// Messages in the order in which they were fetched; those of one partition in offset order.
#[derive(Debug, Clone)]
pub struct MessageBatch {
    /// The bytes of all keys, payloads and headers, followed by [`MessageBatch::PADDING`] bytes.
    pub buffer: Buffer,
    /// One entry a message.
    pub messages: Vec<Message>,
}

impl MessageBatch {
    /// Bytes after the last span, so that vector loads at the end of a payload stay in the buffer.
    pub const PADDING: usize = 64;

    /// The bytes of a message's payload; `None` for a tombstone.
    pub fn payload(&self, row: usize) -> Option<&[u8]> {
        self.messages[row].payload.map(|span| span.of(&self.buffer))
    }

    /// Those of these places alone.
    pub fn some(&self, places: &[usize]) -> Self {
        Self {
            buffer: self.buffer.clone(),
            messages: places.iter().map(|place| self.messages[*place]).collect(),
        }
    }

    /// The bytes of a message's key.
    pub fn key(&self, row: usize) -> Option<&[u8]> {
        self.messages[row].key.map(|span| span.of(&self.buffer))
    }
}
