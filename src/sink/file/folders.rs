//! What waits, by folder, and which of it is the next file. Pure.
//!
//! Invariant: a decision names a folder and the numbers between which its items are; those never change.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sink::outbox::Head;
use crate::types::ProcessingTime;

/// When a file ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) roll_bytes: u64,
    pub(super) roll_interval: Option<Duration>,
}

/// The next file: the folder's items from one number to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Decision {
    pub(super) folder: String,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    Write(Decision),
    /// Nothing before so long; `None`: nothing before more comes.
    Wait(Option<Duration>),
}

/// The items that wait.
#[derive(Debug, Default)]
pub(super) struct Folders(BTreeMap<String, Pile>);

/// Those of one folder; there is at least one.
#[derive(Debug, Default)]
struct Pile {
    items: VecDeque<Waiting>,
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    number: u64,
    bytes: u64,
    at: ProcessingTime,
}

impl Folders {
    /// Adds what has come; numbers rise.
    pub(super) fn add(&mut self, heads: Vec<Head>) {
        for head in heads {
            let pile = self.0.entry(head.key).or_default();
            pile.bytes += head.bytes;
            pile.items.push_back(Waiting {
                number: head.number,
                bytes: head.bytes,
                at: head.at,
            });
        }
    }

    /// What is to be done: first what is long enough, then what has waited long enough. `is_full`: somebody
    /// waits for room, and the longest folder makes it.
    pub(super) fn next(&self, rules: &Rules, now: ProcessingTime, is_full: bool) -> Next {
        let long = self
            .0
            .iter()
            .find(|(_, pile)| pile.bytes >= rules.roll_bytes);
        if let Some((folder, pile)) = long {
            return Next::Write(pile.decision(folder, rules));
        }
        let due = |pile: &Pile| Some(pile.due_in(rules.roll_interval?, now));
        let soonest = self
            .0
            .iter()
            .filter_map(|(folder, pile)| Some((due(pile)?, folder, pile)));
        let soonest = soonest.min_by_key(|(due, _, _)| *due);
        match soonest {
            Some((due, folder, pile)) if due.is_zero() => {
                return Next::Write(pile.decision(folder, rules));
            }
            _ => {}
        }
        let longest = self.0.iter().max_by_key(|(_, pile)| pile.bytes);
        match (longest, is_full) {
            (Some((folder, pile)), true) => Next::Write(pile.decision(folder, rules)),
            _ => Next::Wait(soonest.map(|(due, _, _)| due)),
        }
    }

    /// The numbers of a decision's items.
    pub(super) fn numbers(&self, decision: &Decision) -> Vec<u64> {
        let pile = self.0.get(&decision.folder);
        let numbers = pile.into_iter().flat_map(|pile| &pile.items);
        let numbers = numbers.map(|item| item.number);
        let inside = numbers.filter(|number| (decision.first..=decision.last).contains(number));
        inside.collect()
    }

    /// Forgets the items of a decision: they are in their file.
    pub(super) fn remove(&mut self, decision: &Decision) {
        let Some(pile) = self.0.get_mut(&decision.folder) else {
            return;
        };
        while let Some(first) = pile.items.front().copied()
            && first.number <= decision.last
        {
            pile.items.pop_front();
            pile.bytes -= first.bytes;
        }
        if pile.items.is_empty() {
            self.0.remove(&decision.folder);
        }
    }
}

impl Pile {
    /// As many items as make a file, from the first on.
    fn decision(&self, folder: &str, rules: &Rules) -> Decision {
        let first = self.items.front().map_or(0, |item| item.number);
        let (mut last, mut bytes) = (first, 0);
        for item in &self.items {
            last = item.number;
            bytes += item.bytes;
            if bytes >= rules.roll_bytes {
                break;
            }
        }
        Decision {
            folder: folder.to_owned(),
            first,
            last,
        }
    }

    /// A clock that was set back makes nobody wait longer than the interval.
    fn due_in(&self, interval: Duration, now: ProcessingTime) -> Duration {
        let oldest = self.items.front().map_or(now, |item| item.at);
        let waited = u64::try_from(now.0.saturating_sub(oldest.0)).unwrap_or(0);
        interval.saturating_sub(Duration::from_micros(waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        roll_bytes: 100,
        roll_interval: Some(Duration::from_micros(50)),
    };

    fn folders(heads: &[(u64, &str, u64, i64)]) -> Folders {
        let head = |(number, key, bytes, at): &(u64, &str, u64, i64)| Head {
            number: *number,
            at: ProcessingTime(*at),
            key: (*key).to_owned(),
            bytes: *bytes,
        };
        let mut folders = Folders::default();
        folders.add(heads.iter().map(head).collect());
        folders
    }

    fn decision(folder: &str, first: u64, last: u64) -> Decision {
        let folder = folder.to_owned();
        Decision {
            folder,
            first,
            last,
        }
    }

    #[test]
    fn a_folder_is_written_when_it_is_long_enough() {
        let mut folders = folders(&[
            (0, "a", 60, 0),
            (1, "b", 60, 0),
            (2, "a", 60, 0),
            (3, "a", 9, 0),
        ]);
        let first = decision("a", 0, 2);
        let next = folders.next(&RULES, ProcessingTime(1), false);
        assert_eq!(next, Next::Write(first.clone()));
        assert_eq!(folders.numbers(&first), [0, 2]);
        folders.remove(&first);
        let next = folders.next(&RULES, ProcessingTime(1), false);
        assert_eq!(next, Next::Wait(Some(Duration::from_micros(49))));
        assert_eq!(folders.numbers(&decision("a", 3, 9)), [3]);
    }

    #[test]
    fn a_folder_is_written_when_its_oldest_row_has_waited_long_enough() {
        let mut folders = folders(&[(0, "a", 1, 10), (1, "b", 1, 0), (2, "b", 1, 40)]);
        let at = ProcessingTime(50);
        assert_eq!(
            folders.next(&RULES, at, false),
            Next::Write(decision("b", 1, 2))
        );
        folders.remove(&decision("b", 1, 2));
        let wait = Next::Wait(Some(Duration::from_micros(10)));
        assert_eq!(folders.next(&RULES, at, false), wait);
        let back = ProcessingTime(-1_000);
        let wait = Next::Wait(Some(Duration::from_micros(50)));
        assert_eq!(
            folders.next(&RULES, back, false),
            wait,
            "the clock was set back"
        );
        let never = Rules {
            roll_interval: None,
            ..RULES
        };
        assert_eq!(folders.next(&never, at, false), Next::Wait(None));
    }

    #[test]
    fn the_longest_folder_makes_room() {
        let folders = folders(&[(0, "a", 1, 0), (1, "b", 2, 0)]);
        let next = folders.next(&RULES, ProcessingTime(0), true);
        assert_eq!(next, Next::Write(decision("b", 1, 1)));
        let none = Folders::default();
        assert_eq!(none.next(&RULES, ProcessingTime(0), true), Next::Wait(None));
    }
}
