//! The wanted paths as a tree: what to do with each member of each object that is walked through.
//!
//! ```text
//! a, a.b, a.c[0], d      shape 0 (message): a → slot 0, shape 1; d → slot 3
//!                        shape 1 (a):       b → slot 1;  c → shape 2
//!                        shape 2 (c):       [0] → slot 2
//! ```
//! Invariant: the slots below a target follow each other (`below`), so that a repeated key can
//! forget all that its earlier value left there.

use std::ops::Range;

use super::template::Template;
use crate::types::{JsonPath, PathStep};

/// What to do with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    /// The slot to note it in, or [`Target::NONE`].
    pub(super) slot: u32,
    /// The shape to walk its members by, or [`Target::NONE`].
    pub(super) shape: u32,
}

impl Target {
    /// No slot, or no shape.
    pub(super) const NONE: u32 = u32::MAX;
    /// For a value that nobody wants: it is only checked.
    pub(super) const SKIP: Self = Self {
        slot: Self::NONE,
        shape: Self::NONE,
    };
}

/// One object or array on the way to wanted values.
pub(super) struct Shape {
    /// Its wanted members by key, sorted.
    keys: Vec<(Box<[u8]>, Target)>,
    /// Its wanted elements, sorted.
    elements: Vec<(usize, Target)>,
    /// The slots of everything below it.
    pub(super) below: Range<usize>,
    /// The texts that were seen between its members' values.
    pub(super) template: Template,
}

impl Shape {
    /// What to do with the member of this name.
    pub(super) fn member(&self, key: &[u8]) -> Target {
        match self
            .keys
            .binary_search_by(|(name, _)| name.as_ref().cmp(key))
        {
            Ok(found) => self.keys[found].1,
            Err(_) => Target::SKIP,
        }
    }

    /// What to do with the element at this index.
    pub(super) fn element(&self, index: usize) -> Target {
        match self
            .elements
            .binary_search_by_key(&index, |(index, _)| *index)
        {
            Ok(found) => self.elements[found].1,
            Err(_) => Target::SKIP,
        }
    }
}

/// A node while the tree is built.
#[derive(Default)]
struct Node {
    wanted: bool,
    children: Vec<(PathStep, Node)>,
}

impl Node {
    fn child(&mut self, step: &PathStep) -> &mut Self {
        let place = self.children.iter().position(|(known, _)| known == step);
        let place = place.unwrap_or_else(|| {
            self.children.push((step.clone(), Self::default()));
            self.children.len() - 1
        });
        &mut self.children[place].1
    }
}

/// The shapes for these paths, the message's own first, and the slot of each path. Equal paths
/// share a slot.
pub(super) fn shapes(paths: &[JsonPath]) -> (Vec<Shape>, Vec<usize>) {
    let mut root = Node::default();
    for path in paths {
        path.iter()
            .fold(&mut root, |node, step| node.child(step))
            .wanted = true;
    }
    let mut tree = Tree::default();
    tree.add(&root, &mut Vec::new());
    let slot_of = |path: &JsonPath| {
        tree.slots
            .iter()
            .position(|known| known == path)
            .expect("every path got a slot")
    };
    let slots = paths.iter().map(slot_of).collect();
    (tree.shapes, slots)
}

#[derive(Default)]
struct Tree {
    shapes: Vec<Shape>,
    /// The path of each slot.
    slots: Vec<JsonPath>,
}

impl Tree {
    /// Adds the shape of an inner node and of all nodes below it; returns its index.
    fn add(&mut self, node: &Node, path: &mut JsonPath) -> u32 {
        let index = self.shapes.len();
        let first = self.slots.len();
        self.shapes.push(Shape {
            keys: Vec::new(),
            elements: Vec::new(),
            below: first..first,
            template: Template::new(),
        });
        for (step, child) in &node.children {
            path.push(step.clone());
            let mut target = Target::SKIP;
            if child.wanted {
                target.slot = number(self.slots.len());
                self.slots.push(path.clone());
            }
            if !child.children.is_empty() {
                target.shape = self.add(child, path);
            }
            path.pop();
            let shape = &mut self.shapes[index];
            match step {
                PathStep::Key(name) => shape.keys.push((name.as_bytes().into(), target)),
                PathStep::Index(element) => shape.elements.push((*element, target)),
            }
        }
        let end = self.slots.len();
        let shape = &mut self.shapes[index];
        shape.below = first..end;
        shape.keys.sort_by(|a, b| a.0.cmp(&b.0));
        shape.elements.sort_by_key(|(element, _)| *element);
        number(index)
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("a table has far fewer columns")
}

#[cfg(test)]
mod tests {
    use super::{JsonPath, PathStep, Target, shapes};

    fn path(text: &str) -> JsonPath {
        let step = |part: &str| match part.parse() {
            Ok(index) => PathStep::Index(index),
            Err(_) => PathStep::Key(part.to_owned()),
        };
        text.split('.').map(step).collect()
    }

    #[test]
    fn the_slots_below_a_member_follow_each_other_and_equal_paths_share_one() {
        let paths = ["d", "a.c.0", "a", "a.b", "d"].map(path);
        let (shapes, slots) = shapes(&paths);
        assert_eq!(slots, [0, 2, 1, 3, 0], "d, a.c[0], a, a.b, d");
        assert_eq!(shapes[0].below, 0..4, "the message");
        let a = shapes[0].member(b"a");
        assert_eq!(a.slot, 1, "a is wanted itself");
        let a = &shapes[a.shape as usize];
        assert_eq!(a.below, 2..4, "below a");
        let c = &shapes[a.member(b"c").shape as usize];
        assert_eq!(
            c.element(0),
            Target {
                slot: 2,
                shape: Target::NONE
            },
            "a.c[0]"
        );
        assert_eq!(c.element(1), Target::SKIP, "a.c[1]");
        assert_eq!(shapes[0].member(b"x"), Target::SKIP, "nobody wants x");
    }
}
