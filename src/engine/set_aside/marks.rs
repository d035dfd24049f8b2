//! Notes about kept messages, by their numbers: which queries have met one and read past it, and which have
//! yet to reach their topic.
//!
//! Invariant: what the disk has to do is what differs from what it has; what came and went in between
//! leaves nothing.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use super::rows::there;
use crate::redb_file::Fault;

/// A kept message's number, a query, and which of its inputs.
pub(super) type Mark = (u64, String, u32);

/// A table of marks.
type Table = TableDefinition<'static, (u64, &'static str, u32), ()>;

/// Which queries have met which message that is no row.
pub(super) const MET: Table = TableDefinition::new("met");
/// Messages that are no rows and have yet to reach their topic.
pub(super) const UNSENT_DEAD: Table = TableDefinition::new("unsent_dead");
/// The same of rows that came too late.
pub(super) const UNSENT_LATE: Table = TableDefinition::new("unsent_late");

/// All marks.
#[derive(Debug, Default)]
pub(super) struct Marks {
    all: BTreeSet<Mark>,
    /// Those that the disk has to take (true) or forget (false).
    changes: BTreeMap<Mark, bool>,
}

impl Marks {
    /// What the disk has.
    pub(super) fn load(read: &ReadTransaction, table: Table) -> Result<Self, Fault> {
        let mut marks = Self::default();
        if let Some(table) = there(read.open_table(table))? {
            for entry in table.iter()? {
                let (key, _) = entry?;
                let (number, query, input) = key.value();
                marks.all.insert((number, query.to_owned(), input));
            }
        }
        Ok(marks)
    }

    pub(super) fn add(&mut self, mark: Mark) {
        if self.all.insert(mark.clone()) {
            // Either the disk is to forget it, which it need not any more, or it does not have it.
            if self.changes.remove(&mark).is_none() {
                self.changes.insert(mark, true);
            }
        }
    }

    pub(super) fn remove(&mut self, mark: &Mark) {
        if self.all.remove(mark) && self.changes.remove(mark).is_none() {
            self.changes.insert(mark.clone(), false);
        }
    }

    /// Removes those that are wanted no more.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Mark) -> bool) {
        let unwanted: Vec<Mark> = self.all.iter().filter(|m| !wanted(m)).cloned().collect();
        for mark in &unwanted {
            self.remove(mark);
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Mark> + '_ {
        self.all.iter()
    }

    /// Those of one message.
    pub(super) fn of(&self, number: u64) -> impl Iterator<Item = &Mark> + '_ {
        let first = (number, String::new(), 0);
        self.all
            .range(first..)
            .take_while(move |mark| mark.0 == number)
    }

    /// Forgets a message.
    pub(super) fn forget(&mut self, number: u64) {
        let marks: Vec<Mark> = self.of(number).cloned().collect();
        for mark in &marks {
            self.remove(mark);
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Brings the table to what there is.
    pub(super) fn write(&self, write: &WriteTransaction, table: Table) -> Result<(), Fault> {
        let mut table = write.open_table(table)?;
        for ((number, query, input), is_there) in &self.changes {
            let key = (*number, query.as_str(), *input);
            match is_there {
                true => drop(table.insert(key, ())?),
                false => drop(table.remove(key)?),
            }
        }
        Ok(())
    }

    /// The disk has all of it.
    pub(super) fn written(&mut self) {
        self.changes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Mark, Marks};

    fn mark(number: u64, query: &str) -> Mark {
        (number, query.to_owned(), 0)
    }

    #[test]
    fn what_came_and_went_leaves_nothing_and_what_the_disk_has_is_forgotten_there() {
        let mut marks = Marks::default();
        for number in 0..1_000 {
            marks.add(mark(number, "q"));
            marks.add(mark(number, "r"));
            marks.forget(number);
        }
        assert!(!marks.is_behind());
        marks.add(mark(1, "q"));
        marks.written();
        marks.forget(1);
        assert_eq!(marks.changes.len(), 1, "the disk is to forget it");
        marks.add(mark(1, "q"));
        assert!(!marks.is_behind(), "it has it still");
        assert_eq!(marks.of(1).count(), 1);
        assert_eq!(marks.of(0).count(), 0);
    }
}
