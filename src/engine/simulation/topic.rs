//! Simulated topics: what is written into them before a run, and how much of that is there by now.
//!
//! ```text
//! partition 0   row row broken row  ·  row row ..........│ last
//! partition 1   (appears later)        row row row ......│ last      · a transaction's mark: an offset
//!                                 shown so far ─┘          └ shown when all else is read
//! ```
//! Invariants: what is written depends on the script's seed alone, not on the run; unless the order is
//! loose, no row can be late, whatever is read when.

use fastrand::Rng;

use crate::types::{Offset, PartitionId, PartitionRange};

const SECOND: i64 = 1_000_000;
/// Where event time begins: 2026-01-01.
const START: i64 = 1_767_225_600 * SECOND;
/// How much later the rows of partitions are that appear during a run.
const LATER: i64 = 600 * SECOND;
/// Later than everything else: closes the windows.
const LAST: i64 = 86_400 * SECOND;
/// The watermark of the simulated tables stays so far behind.
const DELAY: i64 = 4 * SECOND;
const KEYS: [&str; 4] = ["a", "b", "c", "d"];
/// The key of the rows that close the windows.
const LAST_KEY: &str = "last";
const BROKEN: [&str; 4] = [
    "{\"k\":\"a\",\"v\":",
    "{\"k\":\"a\",\"v\":1,\"at\":\"soon\"}",
    "{\"k\":\"a\",\"v\":1}",
    "nonsense",
];

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its key.
    pub key: &'static str,
    /// Its value.
    pub value: i64,
    /// When it happened: microseconds since the Unix epoch.
    pub at: i64,
}

impl Event {
    /// True for the rows that close the windows, whose own never close.
    pub(crate) fn is_last(&self) -> bool {
        self.key == LAST_KEY
    }
}

/// What lies at an offset.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    Row(Event),
    /// A message that is no row.
    Broken(&'static str),
    /// No message.
    Mark,
}

/// How far the rows of a partition are out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Less than the watermark stays behind: none is late.
    Bounded,
    /// More than that.
    Loose,
}

/// What is written into a run's topics, one an input.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    topics: Vec<Vec<Partition>>,
    /// How far its rows are out of order.
    pub order: Order,
}

#[derive(Debug, Clone)]
struct Partition {
    entries: Vec<Entry>,
    /// It appears after so many steps.
    appears: usize,
}

impl Script {
    /// The topics of so many inputs.
    pub(crate) fn new(seed: u64, inputs: usize, order: Order) -> Self {
        let mut dice = Rng::with_seed(seed);
        let topics = (0..inputs).map(|_| topic(&mut dice, order)).collect();
        Self { topics, order }
    }

    /// All rows of an input.
    pub(crate) fn rows(&self, input: usize) -> Vec<Event> {
        let entries = self.topics[input].iter().flat_map(|p| &p.entries);
        let rows = entries.filter_map(|entry| match entry {
            Entry::Row(event) => Some(*event),
            Entry::Broken(_) | Entry::Mark => None,
        });
        rows.collect()
    }
}

fn topic(dice: &mut Rng, order: Order) -> Vec<Partition> {
    let first = dice.usize(1..=3);
    let added = dice.usize(0..=2);
    let partition = |number: usize| {
        let is_added = number >= first;
        let from = START + if is_added { LATER } else { 0 };
        let count = if dice.usize(0..6) == 0 {
            0
        } else {
            dice.usize(4..24)
        };
        let step = dice.i64(SECOND / 10..=2 * SECOND);
        let mut entries: Vec<Entry> = (0..)
            .take(count)
            .map(|place| entry(dice, from + place * step, order))
            .collect();
        entries.push(Entry::Row(Event {
            key: LAST_KEY,
            value: 0,
            at: START + LAST,
        }));
        let appears = if is_added { 5 + dice.usize(0..30) } else { 0 };
        Partition { entries, appears }
    };
    (0..first + added).map(partition).collect()
}

fn entry(dice: &mut Rng, at: i64, order: Order) -> Entry {
    match dice.usize(0..20) {
        0 => return Entry::Broken(BROKEN[dice.usize(0..BROKEN.len())]),
        1 => return Entry::Mark,
        _ => {}
    }
    let disorder = match order {
        Order::Bounded => DELAY,
        Order::Loose => 10 * DELAY,
    };
    Entry::Row(Event {
        key: KEYS[dice.usize(0..KEYS.len())],
        value: dice.i64(0..100),
        at: at + dice.i64(0..disorder),
    })
}

/// A script's topics during a run.
#[derive(Debug)]
pub(super) struct Topics {
    script: Script,
    /// How much of each partition that is there is shown.
    shown: Vec<Vec<usize>>,
    steps: usize,
    /// True when nothing but the last rows is left.
    is_last: bool,
}

impl Topics {
    pub(super) fn new(script: Script) -> Self {
        let there = |topic: &Vec<Partition>| {
            let there = topic.iter().filter(|partition| partition.appears == 0);
            there.map(|_| 0).collect()
        };
        Self {
            shown: script.topics.iter().map(there).collect(),
            script,
            steps: 0,
            is_last: false,
        }
    }

    /// The offsets that each partition of an input holds by now.
    pub(super) fn ranges(&self, input: usize) -> Vec<PartitionRange> {
        let shown = (0..).zip(&self.shown[input]);
        let range = shown.map(|(partition, shown)| PartitionRange {
            partition: PartitionId(partition),
            start: Offset(0),
            end: Offset(i64::try_from(*shown).unwrap_or(i64::MAX)),
        });
        range.collect()
    }

    /// What lies at the offsets of a partition from `start` on that are shown, up to so many.
    pub(super) fn entries(
        &self,
        input: usize,
        partition: PartitionId,
        start: Offset,
        count: usize,
    ) -> Vec<(Offset, Entry)> {
        let (place, from) = (index(partition), usize::try_from(start.0).unwrap_or(0));
        let entries = &self.script.topics[input][place].entries;
        let end = self.shown[input][place].min(from + count);
        (start.0..)
            .map(Offset)
            .zip(entries[from..end].iter().cloned())
            .collect()
    }

    /// Time passes: something is written. `dice`: a number below the one that is given.
    pub(super) fn grow(&mut self, dice: impl Fn(usize) -> usize) {
        self.steps += 1;
        for (topic, shown) in self.script.topics.iter().zip(&mut self.shown) {
            for (partition, shown) in topic.iter().zip(shown.iter_mut()) {
                let end = partition.entries.len() - usize::from(!self.is_last);
                *shown = (*shown + dice(6)).min(end).max(*shown);
            }
            let next = topic.get(shown.len());
            if next.is_some_and(|next| next.appears <= self.steps) {
                shown.push(0);
            }
        }
    }

    /// How many partitions there are by now.
    pub(super) fn partitions(&self) -> usize {
        self.shown.iter().map(Vec::len).sum()
    }

    /// Whether all that can be is shown: but for the last rows, as long as these are kept back.
    pub(super) fn is_all_shown(&self) -> bool {
        let kept_back = usize::from(!self.is_last);
        let topics = self.script.topics.iter().zip(&self.shown);
        let is_whole = |(topic, shown): (&Vec<Partition>, &Vec<usize>)| {
            let ends = topic.iter().map(|p| p.entries.len() - kept_back);
            topic.len() == shown.len() && ends.eq(shown.iter().copied())
        };
        topics.into_iter().all(is_whole)
    }

    /// From now on the last rows come; false if they do already.
    pub(super) fn begin_last(&mut self) -> bool {
        !std::mem::replace(&mut self.is_last, true)
    }

    /// How many messages, and how many of them broken, lie before an offset of a partition.
    pub(super) fn before(&self, input: usize, partition: PartitionId, next: Offset) -> (u64, u64) {
        let entries = &self.script.topics[input][index(partition)].entries;
        let entries = &entries[..usize::try_from(next.0).unwrap_or(0)];
        let count = |of: fn(&Entry) -> bool| entries.iter().filter(|e| of(e)).count() as u64;
        let messages = count(|entry| !matches!(entry, Entry::Mark));
        (messages, count(|entry| matches!(entry, Entry::Broken(_))))
    }
}

fn index(partition: PartitionId) -> usize {
    usize::try_from(partition.0).expect("partitions are numbered from 0")
}
