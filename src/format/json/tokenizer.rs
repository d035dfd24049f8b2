//! One pass over a message: checks all of its syntax and notes where the wanted values lie.
//!
//! Owns the walk along the wanted paths. Knows nothing of types.

use super::paths::{Shape, Target, shapes};
use super::scan::Text;
use super::slot::Slot;
use super::syntax::{DEPTH_MAX, Flaw, SyntaxError};
use super::template::NodeId;
use crate::types::JsonPath;

/// Finds the values of certain paths in messages.
pub(super) struct Tokenizer {
    /// The message's own first.
    pub(super) shapes: Vec<Shape>,
    slots: usize,
}

impl Tokenizer {
    /// A tokenizer for these paths, and the slot of each of them.
    pub(super) fn new(paths: &[JsonPath]) -> (Self, Vec<usize>) {
        let (shapes, slots) = shapes(paths);
        (
            Self {
                slots: shapes[0].below.end,
                shapes,
            },
            slots,
        )
    }

    /// How many slots a row has.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Reads the message that starts at `start`: exactly one object and white space around it.
    ///
    /// `row` has a slot for each wanted path, all null; after an error it holds anything.
    #[inline]
    pub(super) fn message(
        &mut self,
        text: Text<'_>,
        start: usize,
        row: &mut [Slot],
    ) -> Result<(), SyntaxError> {
        let at = text.skip_space(start);
        if text.byte(at) != b'{' {
            return Err(SyntaxError::new(at, Flaw::NotAnObject));
        }
        self.members(text, (NodeId::START, at), row)
    }

    /// Reads the rest of a message: what follows the node `from` of its object, up to its end.
    pub(super) fn members(
        &mut self,
        text: Text<'_>,
        (from, at): (NodeId, usize),
        row: &mut [Slot],
    ) -> Result<(), SyntaxError> {
        let mut walk = Walk {
            shapes: &mut self.shapes,
            text,
            row,
        };
        let end = walk.members(0, (from, at), 1)?;
        Self::end(text, end)
    }

    /// Checks that nothing but white space follows a message's object.
    pub(super) fn end(text: Text<'_>, end: usize) -> Result<(), SyntaxError> {
        if end == text.end() {
            return Ok(());
        }
        match text.skip_space(end) {
            end if end == text.end() => Ok(()),
            trailing => Err(SyntaxError::new(trailing, Flaw::TrailingText)),
        }
    }

    /// Reads the value at `at` of a member of the message; returns the place after it.
    pub(super) fn value(
        &mut self,
        text: Text<'_>,
        (target, at): (Target, usize),
        row: &mut [Slot],
    ) -> Result<usize, SyntaxError> {
        let mut walk = Walk {
            shapes: &mut self.shapes,
            text,
            row,
        };
        walk.value(target, at, 1)
    }
}

/// The walk through one message.
///
/// `depth` is everywhere the number of objects and arrays around a place, its own included.
struct Walk<'a> {
    shapes: &'a mut [Shape],
    text: Text<'a>,
    row: &'a mut [Slot],
}

/// What follows a value in an object.
enum Next {
    /// Another member, whose value starts at `at`.
    Member {
        node: NodeId,
        target: Target,
        at: usize,
    },
    /// The object's end, and the place after it.
    End(usize),
}

impl Walk<'_> {
    /// Walks the object at `at` by a shape; returns the place after it.
    fn object(&mut self, shape: usize, at: usize, depth: usize) -> Result<usize, SyntaxError> {
        self.members(shape, (NodeId::START, at), depth)
    }

    /// Walks what follows the node `from` of an object, from `at` on; returns the place after the object.
    fn members(
        &mut self,
        shape: usize,
        (mut from, at): (NodeId, usize),
        depth: usize,
    ) -> Result<usize, SyntaxError> {
        let text = self.text;
        let mut likely = self.shapes[shape].template.node(from).likely();
        let mut i = at;
        loop {
            let template = &mut self.shapes[shape].template;
            if template.is_at(likely, text, i) {
                from = likely;
            } else if let Some(other) = template.follower(from, text, i) {
                template.prefer(from, other);
                from = other;
            } else {
                match self.unexpected(shape, from, i)? {
                    Next::Member { node, target, at } => {
                        i = self.value(target, at, depth)?;
                        from = node;
                        likely = self.shapes[shape].template.node(from).likely();
                        continue;
                    }
                    Next::End(end) => return Ok(end),
                }
            }
            let node = self.shapes[shape].template.node(from);
            i += node.literal.len();
            if node.ends {
                return Ok(i);
            }
            likely = node.likely();
            let target = node.target;
            if text.byte(i) == b'"' && target.shape == Target::NONE {
                let (close, escaped) = text.string_end(i + 1)?;
                if target.slot != Target::NONE {
                    self.row[target.slot as usize] = Slot::string(i + 1, close, escaped);
                }
                i = close + 1;
            } else {
                i = self.value(target, i, depth)?;
            }
        }
    }

    /// Parses the text between two values, which the template did not expect, and teaches it.
    #[inline(never)]
    fn unexpected(&mut self, shape: usize, from: NodeId, at: usize) -> Result<Next, SyntaxError> {
        let first = from == NodeId::START;
        let (text, shape) = (self.text, &mut self.shapes[shape]);
        let mut i = text.skip_space(at + usize::from(first));
        if text.byte(i) == b'}' {
            shape
                .template
                .learn(from, &text.bytes()[at..=i], Target::SKIP, true);
            return Ok(Next::End(i + 1));
        }
        let mut flaw = Flaw::NoKeyOrEnd;
        if !first {
            if text.byte(i) != b',' {
                return Err(SyntaxError::new(i, Flaw::NoCommaOrBrace));
            }
            i = text.skip_space(i + 1);
            flaw = Flaw::NoKey;
        }
        let (key, value) = text.key(i, flaw)?;
        let target = shape.member(&key.text(text.bytes()));
        let node = shape
            .template
            .learn(from, &text.bytes()[at..value], target, false);
        Ok(Next::Member {
            node,
            target,
            at: value,
        })
    }

    /// Reads the value at `at`, which may have wanted values inside it.
    #[inline]
    fn value(&mut self, target: Target, at: usize, depth: usize) -> Result<usize, SyntaxError> {
        // A template's text may have ended before white space.
        let at = self.text.skip_space(at);
        let (slot, end) = if target.shape == Target::NONE {
            self.text.value(at, depth)?
        } else {
            self.inner_value(target.shape as usize, at, depth)?
        };
        if target.slot != Target::NONE {
            self.row[target.slot as usize] = slot;
        }
        Ok(end)
    }

    /// Reads a value that wanted paths lead through.
    fn inner_value(
        &mut self,
        shape: usize,
        at: usize,
        depth: usize,
    ) -> Result<(Slot, usize), SyntaxError> {
        // What an earlier member of the same name left does not count.
        self.row[self.shapes[shape].below.clone()].fill(Slot::NULL);
        match self.text.byte(at) {
            b'{' | b'[' if depth == DEPTH_MAX => Err(SyntaxError::new(at, Flaw::TooDeep)),
            b'{' => {
                let end = self.object(shape, at, depth + 1)?;
                Ok((Slot::object(at, end), end))
            }
            b'[' => {
                let end = self.array(shape, at, depth + 1)?;
                Ok((Slot::array(at, end), end))
            }
            _ => self.text.scalar(at),
        }
    }

    /// Walks the array at `at` by a shape; returns the place after it.
    fn array(&mut self, shape: usize, at: usize, depth: usize) -> Result<usize, SyntaxError> {
        let mut i = self.text.skip_space(at + 1);
        if self.text.byte(i) == b']' {
            return Ok(i + 1);
        }
        for index in 0.. {
            let target = self.shapes[shape].element(index);
            i = self.value(target, i, depth)?;
            i = self.text.skip_space(i);
            match self.text.byte(i) {
                b',' => i += 1,
                b']' => break,
                _ => return Err(SyntaxError::new(i, Flaw::NoCommaOrBracket)),
            }
        }
        Ok(i + 1)
    }
}
