//! One answer's messages on their way out: taken batch by batch, as much at once as is wanted.
//!
//! ```text
//! answer  │ head │ batch batch │ head │ batch[packed] │   shared by all chunks whose messages lie in it
//!                  └ chunk of spans ┘      └→ unpacked: a chunk with a buffer of its own
//! ```
//! Pure. Invariant: all messages of a chunk lie in one buffer, which ends in padding; within a
//! partition they come in offset order, and those of aborted transactions never.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use arrow::buffer::Buffer;

use super::batch::{self, Fault, HEAD_BYTES, Head, Headers};
use super::compression;
use crate::source::header_object::HeaderObject;
use crate::source::read::PartitionEnd;
use crate::types::{Message, MessageBatch, PartitionId, Span};

/// Bytes of one unpacked batch at the most.
const UNPACKED_BYTES_MAX: usize = 256 << 20;
/// Batches that are copied, so that they come with packed ones, are not larger together.
const COPIED_BYTES_MAX: usize = 64 << 10;
/// Bytes of a chunk's own buffer at the most: spans are 32 bits wide.
const OWN_BYTES_MAX: usize = 1 << 30;

/// How much is wanted of a message, and how much of them at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) keys: bool,
    pub(super) headers: bool,
    pub(super) rows_max: usize,
    pub(super) bytes_max: usize,
    pub(super) read_committed: bool,
}

/// What is left of an answer.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The node that it came from.
    pub(super) node: i32,
    buffer: Buffer,
    sections: VecDeque<Section>,
    /// Told once everything else is handed out.
    pub(super) ends: Vec<PartitionEnd>,
}

/// The whole batches of one partition.
#[derive(Debug)]
pub(super) struct Section {
    partition: PartitionId,
    /// Where the next batch begins, and where the last one ends.
    at: usize,
    end: usize,
    /// Messages before this offset are not wanted.
    from: i64,
    aborted: Aborted,
}

/// Messages in one buffer.
#[derive(Debug)]
pub(super) struct Chunk {
    buffer: Buffer,
    messages: Vec<Message>,
    /// So many are handed out already.
    given: usize,
    /// About how many bytes all of them have.
    bytes: usize,
}

/// Why a partition cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) partition: PartitionId,
    pub(super) fault: Fault,
}

impl Delivery {
    /// `buffer` holds the answer and its padding.
    pub(super) fn new(node: i32, buffer: Buffer, sections: VecDeque<Section>) -> Self {
        Self {
            node,
            buffer,
            sections,
            ends: Vec::new(),
        }
    }

    /// The first offset of a partition that is still to be taken; `None` when there is none.
    pub(super) fn position(&self, partition: PartitionId) -> Option<i64> {
        let ours = self
            .sections
            .iter()
            .filter(|section| section.partition == partition);
        ours.filter_map(|section| section.position(&self.buffer))
            .min()
    }

    /// True if there are certainly no messages left.
    pub(super) fn is_handed_out(&self) -> bool {
        self.sections.is_empty()
    }

    /// The next messages, one whole batch at least; `None` when there are none left.
    pub(super) fn next_chunk(&mut self, wish: Wish) -> Result<Option<Chunk>, Unreadable> {
        let mut gather = Gather::default();
        while let Some(section) = self.sections.front_mut() {
            let partition = section.partition;
            let step = section.step(&self.buffer, wish, &mut gather);
            match step.map_err(|fault| Unreadable { partition, fault })? {
                Step::Done => {
                    self.sections.pop_front();
                }
                Step::Taken if gather.is_full(wish) => break,
                Step::Taken => {}
                Step::OtherKind => break,
            }
        }
        Ok(gather.finish(&self.buffer))
    }
}

enum Step {
    /// The section is at its end.
    Done,
    /// One batch was taken or left out.
    Taken,
    /// The next batch needs another buffer than those before.
    OtherKind,
}

impl Section {
    pub(super) fn new(
        partition: PartitionId,
        batches: Range<usize>,
        from: i64,
        aborted: Vec<(i64, i64)>,
    ) -> Self {
        Self {
            partition,
            at: batches.start,
            end: batches.end,
            from,
            aborted: Aborted::new(aborted),
        }
    }

    fn position(&self, buffer: &Buffer) -> Option<i64> {
        // A batch that cannot be read is still to be read.
        match Head::of(&buffer[self.at..self.end]) {
            Ok(None) => None,
            Ok(Some(_)) | Err(_) => Some(self.from),
        }
    }

    fn step(&mut self, buffer: &Buffer, wish: Wish, gather: &mut Gather) -> Result<Step, Fault> {
        let bytes = &buffer[self.at..self.end];
        let Some(head) = Head::of(bytes)? else {
            return Ok(Step::Done);
        };
        let bytes = &bytes[..head.bytes];
        let records = &bytes[HEAD_BYTES..];
        if head.last_offset() < self.from {
            self.at += head.bytes;
            return Ok(Step::Taken);
        }
        let packed = head.codec() != 0;
        let Some(own) = gather.agrees(&head, packed || wish.headers) else {
            return Ok(Step::OtherKind);
        };
        head.check(bytes)?;
        gather.expect(&head, self.end - self.at, wish);
        let start = self.at + HEAD_BYTES;
        let from = self.from;
        self.at += head.bytes;
        self.from = head.last_offset() + 1;
        if self.aborted.hides(&head, records, wish.read_committed) {
            return Ok(Step::Taken);
        }
        let wanted = batch::Wanted {
            partition: self.partition,
            from,
            keys: wish.keys,
        };
        if own {
            gather.move_from(buffer);
            gather.take_own(&head, records, wanted, wish.headers)?;
        } else {
            gather.take_in_place(&head, (records, start), wanted)?;
        }
        Ok(Step::Taken)
    }
}

/// A chunk in the making.
#[derive(Debug, Default)]
struct Gather {
    messages: Vec<Message>,
    /// The buffer of messages that do not lie in the answer.
    own: Option<Vec<u8>>,
    bytes: usize,
}

impl Gather {
    /// Whether a batch goes into a buffer of our own, where it may as well lie in the answer
    /// unless it `must`; `None` when it fits neither with those before it. Small ones are copied, so
    /// that messages which came together stay together.
    fn agrees(&self, head: &Head, must: bool) -> Option<bool> {
        match &self.own {
            _ if self.messages.is_empty() => Some(must),
            Some(own) if own.len() + UNPACKED_BYTES_MAX * 2 > OWN_BYTES_MAX => None,
            Some(_) => (must || head.bytes <= COPIED_BYTES_MAX).then_some(true),
            None if must => (self.bytes <= COPIED_BYTES_MAX).then_some(true),
            None => Some(false),
        }
    }

    /// Makes room for the messages that `bytes` may hold, going by their first batch, or for as many as are wanted.
    fn expect(&mut self, first: &Head, bytes: usize, wish: Wish) {
        if self.messages.is_empty() {
            let bytes_each = first.bytes.div_ceil(first.count.max(1));
            let expected = bytes / bytes_each.max(1);
            self.messages
                .reserve(expected.min(wish.rows_max.saturating_mul(2)));
        }
    }

    /// Copies what lies in the answer into a buffer of our own.
    fn move_from(&mut self, answer: &Buffer) {
        if self.own.is_some() {
            return;
        }
        let own = self.own.insert(Vec::new());
        for message in &mut self.messages {
            let spans = [&mut message.key, &mut message.payload];
            for span in spans.into_iter().flatten() {
                *span = append(own, span.of(answer));
            }
        }
    }

    fn is_full(&self, wish: Wish) -> bool {
        self.messages.len() >= wish.rows_max || self.bytes >= wish.bytes_max
    }

    fn take_in_place(
        &mut self,
        head: &Head,
        records: (&[u8], usize),
        wanted: batch::Wanted,
    ) -> Result<(), Fault> {
        // Batches that gave no message may have left a buffer behind.
        self.own = None;
        self.bytes += head.bytes;
        batch::walk(head, records, wanted, &mut self.messages, |_, _| {})
    }

    fn take_own(
        &mut self,
        head: &Head,
        records: &[u8],
        wanted: batch::Wanted,
        headers: bool,
    ) -> Result<(), Fault> {
        let own = self.own.get_or_insert_default();
        let start = own.len();
        if head.codec() == 0 {
            own.extend_from_slice(records);
        } else {
            compression::unpack(head.codec(), records, own, UNPACKED_BYTES_MAX)
                .map_err(Fault::Corrupt)?;
        }
        let mut texts: Vec<(usize, String)> = Vec::new();
        let unpacked = (&own[start..], start);
        batch::walk(head, unpacked, wanted, &mut self.messages, |row, bytes| {
            let all = Headers::new(bytes);
            if headers && !all.is_empty() {
                let mut object = HeaderObject::default();
                all.for_each(|(name, value)| object.insert(&String::from_utf8_lossy(name), value));
                texts.push((row, object.into_text()));
            }
        })?;
        for (row, text) in texts {
            self.messages[row].headers = Some(append(own, text.as_bytes()));
        }
        self.bytes += own.len() - start;
        Ok(())
    }

    fn finish(self, answer: &Buffer) -> Option<Chunk> {
        if self.messages.is_empty() {
            return None;
        }
        let buffer = match self.own {
            None => answer.clone(),
            Some(mut own) => {
                own.resize(own.len() + MessageBatch::PADDING, 0);
                Buffer::from_vec(own)
            }
        };
        Some(Chunk {
            buffer,
            messages: self.messages,
            given: 0,
            bytes: self.bytes,
        })
    }
}

fn append(own: &mut Vec<u8>, bytes: &[u8]) -> Span {
    let start = u32::try_from(own.len()).expect("a chunk's own buffer has a limit");
    own.extend_from_slice(bytes);
    Span {
        start,
        len: u32::try_from(bytes.len()).expect("a batch has a limit"),
    }
}

impl Chunk {
    /// Takes up to the limits off; one message at least.
    pub(super) fn take(&mut self, wish: Wish) -> MessageBatch {
        let left = &self.messages[self.given..];
        let mut count = left.len().min(wish.rows_max);
        if self.bytes >= wish.bytes_max {
            let mut bytes = 0;
            let fits = left[..count].iter().take_while(|message| {
                let fits = bytes < wish.bytes_max;
                bytes += len(message.key) + len(message.payload) + len(message.headers);
                fits
            });
            count = fits.count();
        }
        let others = left.len() - count;
        let messages = if self.given == 0 && others <= count {
            // The first part stays where it is, and what is left is copied once.
            let others = self.messages.split_off(count);
            std::mem::replace(&mut self.messages, others)
        } else {
            let messages = left[..count].to_vec();
            self.given += count;
            messages
        };
        MessageBatch {
            buffer: self.buffer.clone(),
            messages,
        }
    }

    /// The first offset of a partition that is still to be handed out.
    pub(super) fn position(&self, partition: PartitionId) -> Option<i64> {
        let mut left = self.messages[self.given..].iter();
        let first = left.find(|message| message.partition == partition)?;
        Some(first.offset.0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.given == self.messages.len()
    }
}

fn len(span: Option<Span>) -> usize {
    span.map_or(0, |span| span.len as usize)
}

/// The aborted transactions of a partition's part of an answer.
#[derive(Debug)]
struct Aborted {
    /// First offset and producer of those that begin further on.
    ahead: VecDeque<(i64, i64)>,
    /// The producers whose transaction at this place was aborted.
    producers: BTreeSet<i64>,
}

impl Aborted {
    /// From pairs of producer and first offset.
    fn new(aborted: Vec<(i64, i64)>) -> Self {
        let mut ahead: Vec<_> = aborted.into_iter().map(|(id, first)| (first, id)).collect();
        ahead.sort_unstable();
        Self {
            ahead: ahead.into(),
            producers: BTreeSet::new(),
        }
    }

    /// Whether the records of a batch are not for the reader. Batches must come in order.
    fn hides(&mut self, head: &Head, records: &[u8], read_committed: bool) -> bool {
        if !read_committed {
            return head.is_control();
        }
        while let Some((_, id)) = self
            .ahead
            .pop_front_if(|(first, _)| *first <= head.last_offset())
        {
            self.producers.insert(id);
        }
        if head.is_control() {
            if batch::is_abort(records) {
                self.producers.remove(&head.producer_id);
            }
            return true;
        }
        head.is_transactional() && self.producers.contains(&head.producer_id)
    }
}
