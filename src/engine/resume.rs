//! Where a query would have to begin to read again.
//!
//! ```text
//! marks:  (greatest event 11:59:58, offsets A)  (12:00:30, offsets B)  (12:01:10, offsets C)
//! the first open window starts at 12:01:00: no row of it lies before B
//! ```
//! Invariant: every row of an open window lies at or after the position given.

use std::collections::{BTreeMap, VecDeque};

use crate::types::{EventTime, InputPartition, Offset};

/// Marks kept at the most; the oldest but one are thinned out first.
const MARKS_MAX: usize = 4_096;

/// How far event time and offsets had come at the end of past epochs.
#[derive(Debug)]
pub(super) struct Marks {
    marks: VecDeque<(EventTime, BTreeMap<InputPartition, Offset>)>,
}

impl Marks {
    /// Nothing is read yet.
    pub(super) fn new(start: BTreeMap<InputPartition, Offset>) -> Self {
        Self {
            marks: VecDeque::from([(EventTime::MIN, start)]),
        }
    }

    /// An epoch ended: no row before `next` is later than `greatest`.
    pub(super) fn add(&mut self, greatest: EventTime, next: BTreeMap<InputPartition, Offset>) {
        self.marks.push_back((greatest, next));
        if self.marks.len() > MARKS_MAX {
            let mut kept = 0;
            self.marks.retain(|_| {
                kept += 1;
                kept % 2 == 1
            });
        }
    }

    /// The offsets from which all rows of windows that start at or after `first_open` can be read
    /// again; `None`: no window is open. Forgets marks that are of no more use.
    pub(super) fn position(
        &mut self,
        first_open: Option<EventTime>,
    ) -> BTreeMap<InputPartition, Offset> {
        let usable = |mark: &EventTime| first_open.is_none_or(|open| *mark < open);
        while self
            .marks
            .get(1)
            .is_some_and(|(greatest, _)| usable(greatest))
        {
            self.marks.pop_front();
        }
        self.marks
            .front()
            .map(|(_, next)| next.clone())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: InputPartition = InputPartition {
        input: 0,
        partition: crate::types::PartitionId(0),
    };

    fn at(offset: i64) -> BTreeMap<InputPartition, Offset> {
        BTreeMap::from([(PLACE, Offset(offset))])
    }

    #[test]
    fn the_position_lies_before_every_row_of_the_first_open_window() {
        let mut marks = Marks::new(at(0));
        marks.add(EventTime(58), at(10));
        marks.add(EventTime(90), at(20));
        marks.add(EventTime(130), at(30));
        assert_eq!(marks.position(Some(EventTime(60))), at(10));
        assert_eq!(marks.position(Some(EventTime(120))), at(20));
        assert_eq!(
            marks.position(None),
            at(30),
            "without an open window nothing is read again"
        );
    }

    #[test]
    fn thinned_marks_still_lie_before_the_window() {
        let mut marks = Marks::new(at(0));
        for step in 1..=10_000 {
            marks.add(EventTime(step), at(step));
        }
        let position = marks.position(Some(EventTime(9_000)));
        let offset = position[&PLACE].0;
        assert!((8_000..9_000).contains(&offset), "found {offset}");
    }
}
