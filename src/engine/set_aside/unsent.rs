//! Kept messages that have yet to reach their topic, and who is to send them.
//!
//! ```text
//! kept ─► in a query's hands ─► confirmed
//!            ▲          │ the query ends, the server dies
//!            └─ orphan ◄┘
//! ```
//! Invariant: a message is unsent on disk from the transaction that keeps it to one after its confirmation, so
//! that it reaches its topic at least once, if it is kept for so long.

use std::collections::BTreeSet;

use super::marks::Marks;

/// The messages of one kind.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    pub marks: Marks,
    /// Those in no query's hands.
    orphans: BTreeSet<u64>,
}

impl Unsent {
    /// What the disk has: nobody has them in hand yet.
    pub(super) fn of(marks: Marks) -> Self {
        let orphans = marks.all().map(|(number, ..)| *number).collect();
        Self { marks, orphans }
    }

    /// A message that is to be sent.
    pub(super) fn add(&mut self, number: u64) {
        self.marks.add((number, String::new(), 0));
    }

    /// Takes one that is in no query's hands; false if it is, or was sent.
    pub(super) fn take_one(&mut self, number: u64) -> bool {
        self.orphans.remove(&number)
    }

    /// They are in their topic.
    pub(super) fn sent(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.marks.remove(&(*number, String::new(), 0));
        }
    }

    /// Nobody has them in hand any more.
    pub(super) fn give_up(&mut self, numbers: &[u64]) {
        let unsent = |number: &&u64| self.marks.of(**number).next().is_some();
        let numbers: Vec<u64> = numbers.iter().filter(unsent).copied().collect();
        self.orphans.extend(numbers);
    }

    /// Hands out those that are wanted.
    pub(super) fn take(&mut self, wanted: impl Fn(u64) -> bool) -> BTreeSet<u64> {
        let (taken, left) = std::mem::take(&mut self.orphans)
            .into_iter()
            .partition(|number| wanted(*number));
        self.orphans = left;
        taken
    }

    /// Forgets those that are not kept any more.
    pub(super) fn retain(&mut self, is_kept: impl Fn(u64) -> bool) {
        self.marks.retain(|(number, ..)| is_kept(*number));
        self.orphans.retain(|number| is_kept(*number));
    }

    /// Forgets one.
    pub(super) fn forget(&mut self, number: u64) {
        self.marks.forget(number);
        self.orphans.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_confirmed_is_handed_out_once_more() {
        let mut unsent = Unsent::default();
        (0..4).for_each(|number| unsent.add(number));
        assert!(unsent.take(|_| true).is_empty(), "they are in hands");
        unsent.sent(&[0, 2]);
        unsent.give_up(&[0, 1, 3]);
        assert_eq!(unsent.take(|number| number > 1), [3].into());
        assert!(unsent.take_one(1) && !unsent.take_one(1), "only once");
        unsent.give_up(&[1]);
        unsent.forget(1);
        assert!(unsent.take(|_| true).is_empty(), "it is gone");
        assert_eq!(unsent.marks.all().count(), 1);
        let loaded = Unsent::of(std::mem::take(&mut unsent.marks)).take(|_| true);
        assert_eq!(loaded, [3].into());
    }
}
