//! Copies messages out of the library into one buffer, and frees them.

#![expect(
    unsafe_code,
    reason = "messages are C structures until they are copied"
)]

use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::slice;

use arrow::buffer::{Buffer, MutableBuffer};
use rdkafka_sys as sys;

use super::code::Code;
use crate::source::header_object::HeaderObject;
use crate::types::{Message, MessageBatch, Offset, PartitionId, Span};

/// What the library's queue holds: a message, or an error in its place. Owned; freed when dropped.
#[derive(Debug)]
pub(super) struct Item(*mut sys::rd_kafka_message_t);

// SAFETY: a message belongs to whoever took it off the queue, on whichever thread.
unsafe impl Send for Item {}

impl Item {
    /// # Safety
    /// `message` must come from the library's queue and be owned by nobody else.
    pub(super) unsafe fn new(message: *mut sys::rd_kafka_message_t) -> Self {
        Self(message)
    }

    /// [`Code::OK`] if it is a message.
    pub(super) fn code(&self) -> Code {
        // SAFETY: the message is valid until it is dropped.
        unsafe { Code::read(&raw const (*self.0).err) }
    }

    /// The partition, or -1 for an error of no partition.
    pub(super) fn partition(&self) -> PartitionId {
        // SAFETY: as above.
        PartitionId(unsafe { (*self.0).partition })
    }

    /// The offset of the message; at a partition's end the next one.
    pub(super) fn offset(&self) -> Offset {
        // SAFETY: as above.
        Offset(unsafe { (*self.0).offset })
    }

    /// An error's text.
    pub(super) fn text(&self) -> String {
        // SAFETY: as above; for an error the text is a C string.
        unsafe {
            let text = sys::rd_kafka_message_errstr(self.0);
            if text.is_null() {
                return String::new();
            }
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        // SAFETY: owned, and not used again.
        unsafe { sys::rd_kafka_message_destroy(self.0) };
    }
}

/// Which parts of a message are wanted beside its payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    pub(super) keys: bool,
    pub(super) headers: bool,
}

/// A batch in the making.
#[derive(Debug)]
pub(super) struct Gather {
    buffer: MutableBuffer,
    messages: Vec<Message>,
    parts: Parts,
}

impl Gather {
    /// Begins with room for as many bytes and rows as are expected.
    pub(super) fn new(parts: Parts, bytes: usize, rows: usize) -> Self {
        Self {
            buffer: MutableBuffer::with_capacity(bytes + MessageBatch::PADDING),
            messages: Vec::with_capacity(rows),
            parts,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Copies one message.
    pub(super) fn add(&mut self, item: &Item) {
        // SAFETY: the item holds a valid message, whose key and payload are valid for their lengths.
        let (raw, key, payload) = unsafe {
            let raw = &*item.0;
            (
                raw,
                bytes(raw.key, raw.key_len),
                bytes(raw.payload, raw.len),
            )
        };
        let key = if self.parts.keys {
            key.map(|key| self.append(key))
        } else {
            None
        };
        let headers = if self.parts.headers {
            self.append_headers(item)
        } else {
            None
        };
        let payload = payload.map(|payload| self.append(payload));
        let mut kind = MaybeUninit::uninit();
        // SAFETY: the message is valid; the kind is written and not read.
        let timestamp_ms = unsafe { sys::rd_kafka_message_timestamp(item.0, kind.as_mut_ptr()) };
        self.messages.push(Message {
            partition: PartitionId(raw.partition),
            offset: Offset(raw.offset),
            timestamp_ms,
            key,
            payload,
            headers,
        });
    }

    /// The batch, with its padding.
    pub(super) fn finish(mut self) -> MessageBatch {
        self.buffer
            .resize(self.buffer.len() + MessageBatch::PADDING, 0);
        MessageBatch {
            buffer: Buffer::from(self.buffer),
            messages: self.messages,
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Span {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        Span {
            start: u32::try_from(start).expect("a reader's limit on bytes keeps a batch small"),
            len: u32::try_from(bytes.len()).expect("the broker's limit keeps a message small"),
        }
    }

    /// The headers as a JSON object.
    fn append_headers(&mut self, item: &Item) -> Option<Span> {
        let mut list = ptr::null_mut();
        // SAFETY: the message is valid; the list belongs to it.
        let code = Code(unsafe { sys::rd_kafka_message_headers(item.0, &raw mut list) } as i32);
        if !code.is_ok() || list.is_null() {
            return None;
        }
        let mut object = HeaderObject::default();
        for index in 0.. {
            let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the list is valid; the three places are written if there is such a header.
            let header = unsafe {
                let code = sys::rd_kafka_header_get_all(
                    list,
                    index,
                    &raw mut name,
                    &raw mut value,
                    &raw mut len,
                );
                Code(code as i32)
                    .is_ok()
                    .then(|| (CStr::from_ptr(name).to_string_lossy(), bytes(value, len)))
            };
            let Some((name, value)) = header else { break };
            object.insert(&name, value);
        }
        Some(self.append(object.into_text().as_bytes()))
    }
}

/// # Safety
/// `first` must be null or point to `len` bytes that live as long as the result.
unsafe fn bytes<'a>(first: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!first.is_null()).then(|| unsafe { slice::from_raw_parts(first.cast(), len) })
}
