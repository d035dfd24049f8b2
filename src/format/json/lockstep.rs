//! Many messages in step: of each the text before a member, then of each the member's value, and so on.
//!
//! ```text
//! one after the other    {"id":1,"side":"buy"}   {"id":2,"side":"sell"}    each place needs the one before
//! in step                {"id":→ {"id":→   1→ 2→   ,"side":→ ,"side":→  .. nothing waits for its neighbour
//! ```
//! A processor that works ahead has most to do where one place does not depend on the other. The
//! messages go the likeliest way of the template together; one that leaves it waits where the others may
//! come by, or is read to its end alone if it shows what the template does not know.
//! Invariant: each message is read to its end or fails, whatever its neighbours hold.

use std::mem;

use super::marks::Marks;
use super::paths::Target;
use super::scan::Text;
use super::slot::Slot;
use super::syntax::SyntaxError;
use super::template::{Literal, Node, NodeId, Template};
use super::tokenizer::Tokenizer;

/// How far a message is read.
#[derive(Clone, Copy)]
pub(super) struct Cursor {
    /// Its row in the block.
    pub(super) row: u32,
    /// Its opening brace.
    pub(super) start: u32,
    /// The next byte to read.
    pub(super) at: u32,
    /// The message's end.
    pub(super) end: u32,
}

/// What messages are read in step, and into what.
pub(super) struct Block<'a> {
    /// The buffer of all messages.
    pub(super) bytes: &'a [u8],
    /// The marks of all their bytes.
    pub(super) marks: &'a Marks,
    /// The slots of each row, all null; those of a message that fails hold anything.
    pub(super) slots: &'a mut [Slot],
    /// Rows of messages that are not one JSON object, in any order.
    pub(super) failed: &'a mut Vec<(usize, SyntaxError)>,
}

impl Tokenizer {
    /// Reads the messages that these cursors stand at, each at its opening brace.
    pub(super) fn messages(&mut self, block: Block<'_>, cursors: &mut Vec<Cursor>) {
        let mut steps = Steps {
            tokenizer: self,
            block,
            odd: Vec::new(),
            waiting: Vec::new(),
        };
        let (mut from, mut next) = (NodeId::START, NodeId::START);
        loop {
            next = steps.template().node(next).likely();
            if cursors.is_empty() && !steps.waiting.is_empty() {
                next = steps.most_awaited();
            }
            steps.meet(next, cursors);
            if cursors.is_empty() {
                return;
            }
            let node = steps.template().node(next).clone();
            if node.ends {
                steps.end(&node.literal, cursors);
            } else {
                steps.member(&node, cursors);
            }
            if node.ends || !steps.odd.is_empty() {
                steps.take_odd(from, &node, cursors);
                cursors.retain(|cursor| cursor.row != GONE);
            }
            from = next;
        }
    }
}

/// The row of a cursor that goes no further with the others: its message is read, has failed, or waits.
const GONE: u32 = u32::MAX;

/// Fewer than these are read faster one by one.
const FEW: usize = 4;

struct Steps<'a> {
    tokenizer: &'a mut Tokenizer,
    block: Block<'a>,
    /// Places of cursors that the step at hand could not take further.
    odd: Vec<usize>,
    /// Cursors that stand at the text of another node than the likeliest, by that node.
    waiting: Vec<(NodeId, Vec<Cursor>)>,
}

impl Steps<'_> {
    fn template(&self) -> &Template {
        &self.tokenizer.shapes[0].template
    }

    /// Takes those along that wait for this node.
    fn meet(&mut self, node: NodeId, cursors: &mut Vec<Cursor>) {
        let place = self.waiting.iter().position(|(other, _)| *other == node);
        if let Some(place) = place {
            cursors.append(&mut self.waiting.swap_remove(place).1);
        }
    }

    /// The node that most wait for, of some.
    fn most_awaited(&self) -> NodeId {
        let most = self.waiting.iter().max_by_key(|(_, cursors)| cursors.len());
        most.map_or(NodeId::LOST, |(node, _)| *node)
    }

    /// Takes the cursors that stand at the node's text over it and a plain value; the others are odd.
    fn member(&mut self, node: &Node, cursors: &mut [Cursor]) {
        let slot = node.target.slot;
        match self.first_byte(&node.literal, cursors) {
            Some(b'"') if node.target.shape == Target::NONE => {
                self.strings(&node.literal.clone().and(b'"'), slot, cursors);
            }
            Some(b'-' | b'0'..=b'9') if node.target.shape == Target::NONE => {
                self.numbers(&node.literal, slot, cursors);
            }
            _ => self.odd.extend(0..cursors.len()),
        }
    }

    /// The first byte of the first value that follows the text.
    fn first_byte(&self, literal: &Literal, cursors: &[Cursor]) -> Option<u8> {
        cursors.iter().find_map(|cursor| {
            let (text, at) = self.text(*cursor);
            literal
                .is_at(text, at)
                .then(|| text.byte(at + literal.len()))
        })
    }

    /// The message of a cursor, and the place where it stands.
    #[inline(always)]
    fn text(&self, cursor: Cursor) -> (Text<'_>, usize) {
        let text = Text::new(self.block.bytes, cursor.end as usize);
        (text, cursor.at as usize)
    }

    /// Takes cursors over the text and a string; the text ends with the opening quote.
    fn strings(&mut self, literal: &Literal, slot: u32, cursors: &mut [Cursor]) {
        let stops = self.block.marks.stops();
        self.values(literal, cursors, slot, |text, start| {
            let close = stops.after(start);
            let slot = Slot::string(start, close, false);
            (text.byte(close) == b'"').then_some((slot, close + 1))
        });
    }

    /// Takes cursors over the text and a number.
    fn numbers(&mut self, literal: &Literal, slot: u32, cursors: &mut [Cursor]) {
        self.values(literal, cursors, slot, |text, start| {
            let end = text.short_number_end(start)?;
            Some((Slot::number(start, end), end))
        });
    }

    /// Takes cursors over the text and what `value` takes for a value, which tells its slot and the
    /// place after it.
    #[inline(always)]
    fn values(
        &mut self,
        literal: &Literal,
        cursors: &mut [Cursor],
        slot: u32,
        value: impl Fn(Text<'_>, usize) -> Option<(Slot, usize)>,
    ) {
        let width = self.tokenizer.slots();
        let (bytes, slots) = (self.block.bytes, &mut *self.block.slots);
        for (place, cursor) in cursors.iter_mut().enumerate() {
            let text = Text::new(bytes, cursor.end as usize);
            let at = cursor.at as usize;
            if literal.is_at(text, at)
                && let Some((found, end)) = value(text, at + literal.len())
            {
                if slot != Target::NONE {
                    slots[cursor.row as usize * width + slot as usize] = found;
                }
                cursor.at = offset(end);
            } else {
                self.odd.push(place);
            }
        }
    }

    /// Ends the cursors whose message ends with the text.
    fn end(&mut self, literal: &Literal, cursors: &mut [Cursor]) {
        for (place, cursor) in cursors.iter_mut().enumerate() {
            let (text, at) = self.text(*cursor);
            if literal.is_at(text, at) && at + literal.len() == text.end() {
                cursor.row = GONE;
            } else {
                self.odd.push(place);
            }
        }
    }

    /// Takes the cursors that the step has left further, one by one.
    fn take_odd(&mut self, from: NodeId, node: &Node, cursors: &mut [Cursor]) {
        let mut odd = mem::take(&mut self.odd);
        // If each goes another way, nobody comes by.
        let may_wait = cursors.len() >= FEW && odd.len() <= cursors.len() / 4 * 3;
        for place in &odd {
            let cursor = &mut cursors[*place];
            match self.alone((from, node), *cursor, may_wait) {
                Some(at) => cursor.at = at,
                None => cursor.row = GONE,
            }
        }
        odd.clear();
        self.odd = odd;
    }

    /// Takes a cursor over the node's text and any value behind it. If it stands at the text of another
    /// node that follows `from` it may wait for that; else its message is read to the end.
    #[inline(never)]
    fn alone(
        &mut self,
        (from, node): (NodeId, &Node),
        cursor: Cursor,
        may_wait: bool,
    ) -> Option<u32> {
        // It may have waited while others came from elsewhere, or while all was forgotten.
        let from = match from {
            _ if cursor.at == cursor.start => NodeId::START,
            NodeId::START => NodeId::LOST,
            from => from,
        };
        let at = cursor.at as usize;
        let text = Text::new(self.block.bytes, cursor.end as usize);
        let (row, width) = (cursor.row as usize, self.tokenizer.slots());
        let slots = row * width..(row + 1) * width;
        let read = if node.literal.is_at(text, at) {
            if node.ends {
                Tokenizer::end(text, at + node.literal.len()).map(|()| None)
            } else {
                let value = (node.target, at + node.literal.len());
                let slots = &mut self.block.slots[slots];
                self.tokenizer.value(text, value, slots).map(Some)
            }
        } else {
            if may_wait && let Some(other) = self.template().follower(from, text, at) {
                self.wait(other, cursor);
                return None;
            }
            let slots = &mut self.block.slots[slots];
            let rest = self.tokenizer.members(text, (from, at), slots);
            rest.map(|()| None)
        };
        match read {
            Ok(at) => at.map(offset),
            Err(error) => {
                self.block.failed.push((row, error));
                None
            }
        }
    }

    fn wait(&mut self, node: NodeId, cursor: Cursor) {
        match self.waiting.iter_mut().find(|(other, _)| *other == node) {
            Some((_, cursors)) => cursors.push(cursor),
            None => self.waiting.push((node, vec![cursor])),
        }
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("a batch is shorter than 2^31 bytes")
}
