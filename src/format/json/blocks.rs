//! Cuts a batch into blocks of messages whose bytes lie close together and stay in the processor's cache
//! from one step to the next.
//!
//! Invariant: the blocks hold every message once, in order.

use std::ops::Range;

use crate::types::Message;

/// Messages of a block.
const MESSAGES_MAX: usize = 128;
/// Bytes of a block, but for one that is a single message.
const BYTES_MAX: usize = 256 << 10;
/// Bytes between two payloads of a block (a record's header, key and headers): they are looked at for
/// nothing, which costs less than a block for each message.
const GAP_MAX: usize = 4 << 10;

/// Neighbouring messages of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Their places in the batch.
    pub(super) messages: Range<usize>,
    /// The bytes of the batch's buffer in which all their payloads lie.
    pub(super) bytes: Range<usize>,
}

/// The block that begins with the message at `first`; `None` behind the last message.
pub(super) fn next(messages: &[Message], first: usize) -> Option<Block> {
    if first == messages.len() {
        return None;
    }
    let end = messages.len().min(first + MESSAGES_MAX);
    let mut bytes = 0..0;
    for (place, message) in messages[..end].iter().enumerate().skip(first) {
        let Some(span) = message.payload else {
            continue;
        };
        let payload = span.start as usize..span.start as usize + span.len as usize;
        if bytes.is_empty() {
            bytes = payload;
            continue;
        }
        let is_near = (bytes.end..=bytes.end + GAP_MAX).contains(&payload.start);
        if !is_near || payload.end - bytes.start > BYTES_MAX {
            return Some(Block {
                messages: first..place,
                bytes,
            });
        }
        bytes.end = payload.end;
    }
    Some(Block {
        messages: first..end,
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, GAP_MAX, MESSAGES_MAX, next};
    use crate::types::{Message, Offset, PartitionId, Span};

    /// The blocks of messages with these payloads, (start, length), as (messages, bytes).
    fn blocks(payloads: &[Option<(usize, usize)>]) -> Vec<(usize, usize, usize)> {
        let number = |number: usize| u32::try_from(number).expect("small");
        let messages: Vec<Message> = payloads
            .iter()
            .map(|payload| Message {
                partition: PartitionId(0),
                offset: Offset(0),
                timestamp_ms: -1,
                key: None,
                payload: payload.map(|(start, len)| Span {
                    start: number(start),
                    len: number(len),
                }),
                headers: None,
            })
            .collect();
        let mut first = 0;
        let mut blocks = Vec::new();
        while let Some(block) = next(&messages, first) {
            assert_eq!(block.messages.start, first, "no message is left out");
            first = block.messages.end;
            blocks.push((block.messages.len(), block.bytes.start, block.bytes.end));
        }
        assert_eq!(first, messages.len(), "up to the last message");
        blocks
    }

    #[test]
    fn messages_that_lie_close_together_are_a_block() {
        let close = [
            Some((10, 20)),
            None,
            Some((40, 20)),
            Some((60, 0)),
            Some((60 + GAP_MAX, 5)),
        ];
        assert_eq!(blocks(&close), [(5, 10, 65 + GAP_MAX)], "close");
        let far = [Some((10, 20)), Some((31 + GAP_MAX, 5)), None, Some((7, 1))];
        let far_blocks = [(1, 10, 30), (2, 31 + GAP_MAX, 36 + GAP_MAX), (1, 7, 8)];
        assert_eq!(blocks(&far), far_blocks, "far, and back");
        assert_eq!(blocks(&[None, None]), [(2, 0, 0)], "no bytes");
        let empty_first = [Some((50, 0)), Some((7, 1))];
        assert_eq!(blocks(&empty_first), [(2, 7, 8)], "nothing, then before it");
        assert_eq!(blocks(&[]), [], "nothing");
    }

    #[test]
    fn a_block_is_not_too_large_but_for_a_single_message() {
        let many: Vec<_> = (0..MESSAGES_MAX + 1)
            .map(|place| Some((place, 1)))
            .collect();
        let (first, end) = (MESSAGES_MAX, MESSAGES_MAX + 1);
        assert_eq!(blocks(&many), [(first, 0, first), (1, first, end)], "many");
        let long = [Some((0, 9)), Some((9, BYTES_MAX)), Some((9 + BYTES_MAX, 1))];
        let end = 10 + BYTES_MAX;
        assert_eq!(
            blocks(&long),
            [(1, 0, 9), (1, 9, end - 1), (1, end - 1, end)],
            "long"
        );
    }
}
