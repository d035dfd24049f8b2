//! What was seen between the values of earlier messages, so that the next message's keys can be
//! recognised by one comparison instead of being parsed.
//!
//! Producers write the members of an object in the same order and with the same white space again
//! and again. So the text between two values, from the byte after one to the first byte of the
//! next (`,"price":`), is kept as a node; its followers are the nodes that came after it, the most
//! frequent first. Optional members give a node several followers; where the paths meet again they
//! share nodes.
//!
//! ```text
//! START ─ {"id": ─ ,"price": ─ ,"side": ─ }
//!                      └────────────────┘        side is sometimes missing
//! ```
//! Invariant: a node's text was accepted by the grammar behind the opening brace or behind a value
//! of this very object's shape, so recognising it needs no further check. A text that was never
//! seen is parsed; nothing is ever rejected for not being in a template.

use std::collections::HashMap;

use super::paths::Target;
use super::scan::Text;
use super::simd::is_masked;

/// Followers that a node remembers.
const FOLLOWERS: usize = 6;
/// Longer texts are not kept; beyond this a key is cheap in comparison with its own length.
const TEXT_LEN_MAX: usize = 256;
/// Nodes that one template keeps.
const NODES_MAX: usize = 1024;
/// Unknown texts seen by a full template before it forgets everything and learns anew: the
/// producer may have changed, or keys may be data.
const MISSES_MAX: usize = 16 * 1024;

/// The index of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeId(u16);

impl NodeId {
    /// Before the first member.
    pub(super) const START: Self = Self(0);
    /// Behind a text that is no node; it has no followers.
    pub(super) const LOST: Self = Self(1);
}

/// A text that is looked for at many places.
#[derive(Clone)]
pub(super) struct Literal {
    /// The first 16 bytes, zeros behind a shorter text.
    head: [u8; 16],
    /// Set where the head counts.
    mask: [u8; 16],
    /// Length of the whole text in bytes.
    len: usize,
    /// The bytes behind the first 16.
    tail: Box<[u8]>,
}

/// The text between two values and what the value behind it is for.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) literal: Literal,
    pub(super) target: Target,
    followers: [NodeId; FOLLOWERS],
    /// True if the object ends with this text.
    pub(super) ends: bool,
}

/// The texts of one shape.
pub(super) struct Template {
    nodes: Vec<Node>,
    by_text: HashMap<Box<[u8]>, NodeId>,
    misses: usize,
}

impl Literal {
    fn new(text: &[u8]) -> Self {
        let (mut head, mut mask) = ([0; 16], [0; 16]);
        let cut = text.len().min(16);
        head[..cut].copy_from_slice(&text[..cut]);
        mask[..cut].fill(0xff);
        Self {
            head,
            mask,
            len: text.len(),
            tail: text[cut..].into(),
        }
    }

    /// One that is nowhere.
    fn never() -> Self {
        Self {
            head: [1; 16],
            ..Self::new(b"")
        }
    }

    /// The same text and another byte.
    pub(super) fn and(mut self, byte: u8) -> Self {
        if self.len < 16 {
            self.head[self.len] = byte;
            self.mask[self.len] = 0xff;
        } else {
            self.tail = [&self.tail[..], &[byte]].concat().into();
        }
        self.len += 1;
        self
    }

    /// Its length in bytes.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether it is the text at `at`, all of it inside the message.
    #[inline(always)]
    pub(super) fn is_at(&self, text: Text<'_>, at: usize) -> bool {
        let end = at + self.len;
        is_masked(text.chunk(at), &self.mask, &self.head)
            && end <= text.end()
            && (self.tail.is_empty() || text.bytes()[at + 16..end] == *self.tail)
    }
}

impl Node {
    /// The follower to try first.
    #[inline(always)]
    pub(super) fn likely(&self) -> NodeId {
        self.followers[0]
    }

    /// A node that is never recognised.
    fn never() -> Self {
        Self {
            literal: Literal::never(),
            target: Target::SKIP,
            followers: [NodeId::START; FOLLOWERS],
            ends: false,
        }
    }
}

impl Template {
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node::never(), Node::never()],
            by_text: HashMap::new(),
            misses: 0,
        }
    }

    /// The node of this id; one that is never recognised, if it was forgotten.
    #[inline(always)]
    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(usize::from(id.0)).unwrap_or(&self.nodes[0])
    }

    /// Whether the text of a node is at `at`.
    #[inline(always)]
    pub(super) fn is_at(&self, id: NodeId, text: Text<'_>, at: usize) -> bool {
        self.node(id).literal.is_at(text, at)
    }

    /// The follower of `from` whose text is at `at`.
    #[inline(never)]
    pub(super) fn follower(&self, from: NodeId, text: Text<'_>, at: usize) -> Option<NodeId> {
        let followers = self.node(from).followers;
        let is_there = |follower: &NodeId| self.is_at(*follower, text, at);
        followers.into_iter().find(is_there)
    }

    /// Moves a follower of `from` a place forward.
    pub(super) fn prefer(&mut self, from: NodeId, follower: NodeId) {
        if let Some(node) = self.nodes.get_mut(usize::from(from.0))
            && let Some(place) = node.followers.iter().position(|other| *other == follower)
        {
            node.followers.swap(place.saturating_sub(1), place);
        }
    }

    /// Remembers that this text followed `from`; returns its node, [`NodeId::LOST`] if it has none.
    pub(super) fn learn(
        &mut self,
        from: NodeId,
        text: &[u8],
        target: Target,
        ends: bool,
    ) -> NodeId {
        if text.len() > TEXT_LEN_MAX {
            return NodeId::LOST;
        }
        let Some(id) = self.node_of(text, target, ends) else {
            return NodeId::LOST;
        };
        if from != NodeId::LOST
            && let Some(node) = self.nodes.get_mut(usize::from(from.0))
        {
            let followers = &mut node.followers;
            let free = followers
                .iter()
                .position(|&other| other == NodeId::START || other == id);
            followers[free.unwrap_or(FOLLOWERS - 1)] = id;
        }
        id
    }

    fn node_of(&mut self, text: &[u8], target: Target, ends: bool) -> Option<NodeId> {
        if let Some(&id) = self.by_text.get(text) {
            return Some(id);
        }
        if self.nodes.len() == NODES_MAX {
            self.misses += 1;
            if self.misses == MISSES_MAX {
                *self = Self::new();
            }
            return None;
        }
        let id = NodeId(u16::try_from(self.nodes.len()).expect("fewer nodes than 65,536"));
        self.nodes.push(Node {
            literal: Literal::new(text),
            target,
            ends,
            ..Node::never()
        });
        self.by_text.insert(text.into(), id);
        Some(id)
    }
}
