//! Watermarks: how far event time has certainly progressed.
//!
//! Owns the per-partition maxima and their idleness. Knows nothing of Kafka, Arrow or the clock:
//! whoever calls brings the time.
//!
//! ```text
//! partition 0   |-------------> 12:00:07
//! partition 1   |--------> 12:00:04            query watermark = 12:00:04
//! partition 2   |---> 11:59:10  (idle: at its end, silent for idle_timeout)
//! ```
//! Invariants: a query's watermark is the least over its partitions that are not idle, and never
//! falls; a partition that is not at its end is never idle.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::types::{EventTime, InputPartition, Watermark};

/// How soon something that was to happen already is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The watermarks of one query's partitions.
#[derive(Debug, Clone)]
pub struct Watermarks {
    partitions: BTreeMap<InputPartition, Partition>,
    /// Never falls: hence private.
    current: Watermark,
    /// Since when all partitions are idle, and the watermark then.
    all_idle: Option<(Duration, Watermark)>,
    /// Whether some partitions have yet to come to where the others' ends were.
    catch_up: CatchUp,
    /// How long before it was read the oldest row was written.
    oldest: Duration,
}

/// Whether what was there before is still being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// No: how long a partition is silent is seen.
    Done,
    /// Yes: a partition at its end has been silent since its last row was written, and one without rows since the oldest
    /// of all rows.
    Live,
    /// Yes, and nothing comes after it: a partition at its end is silent for good.
    Finite,
}

/// What is known of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// The greatest value that its rows have said.
    pub watermark: Watermark,
    /// True when its reader stands at its end, as the broker told.
    pub at_end: bool,
    /// True when it does not hold the others back.
    pub idle: bool,
    /// When its last row came, on the caller's monotonic clock.
    active_at: Duration,
    /// How long before that it was written; `None`: no row has come.
    age: Option<Duration>,
    /// How long it may be silent at its end before it is idle; `None`: it never is.
    idle_timeout: Option<Duration>,
}

impl Watermarks {
    /// The watermarks of partitions of which nothing is known yet, each with its idle timeout.
    /// `now` is monotonic.
    pub fn new(
        partitions: impl IntoIterator<Item = (InputPartition, Option<Duration>)>,
        now: Duration,
    ) -> Self {
        let mut watermarks = Self {
            partitions: BTreeMap::new(),
            current: Watermark::MIN,
            all_idle: None,
            catch_up: CatchUp::Done,
            oldest: Duration::ZERO,
        };
        for (partition, idle_timeout) in partitions {
            watermarks.add(partition, idle_timeout, now);
        }
        watermarks
    }

    /// Starts with what an earlier run had reached: the watermark does not fall below it.
    pub fn resume(&mut self, reached: Watermark) {
        self.current = self.current.max(reached);
    }

    /// The same for one partition, which is not active by that.
    pub fn resume_partition(&mut self, partition: InputPartition, reached: Watermark) {
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.watermark = state.watermark.max(reached);
        }
    }

    /// Adds a partition that appeared.
    pub fn add(
        &mut self,
        partition: InputPartition,
        idle_timeout: Option<Duration>,
        now: Duration,
    ) {
        let fresh = Partition {
            watermark: Watermark::MIN,
            at_end: false,
            idle: false,
            active_at: now,
            age: None,
            idle_timeout,
        };
        self.partitions.entry(partition).or_insert(fresh);
    }

    /// Rows came from a partition; `watermark` is the greatest that they said, `age` how long ago the last was written.
    pub fn observe(
        &mut self,
        partition: InputPartition,
        watermark: Watermark,
        (now, age): (Duration, Duration),
    ) {
        self.oldest = self.oldest.max(age);
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.watermark = state.watermark.max(watermark);
            state.age = Some(age);
            state.at_end = false;
            state.idle = false;
            state.active_at = now;
            self.all_idle = None;
        }
    }

    /// The reader of a partition stands at its end.
    pub fn reached_end(&mut self, partition: InputPartition) {
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.at_end = true;
        }
    }

    /// The reader of a partition may be behind: its broker is not answering.
    pub fn behind(&mut self, partition: InputPartition) {
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.at_end = false;
            state.idle = false;
        }
    }

    /// Whether what was there before is still being read. While it is, a partition at its end need not be silent for its
    /// timeout once more; one that is never idle holds the others back all the same.
    pub fn catch_up(&mut self, catch_up: CatchUp) {
        self.catch_up = catch_up;
    }

    /// Decides who is idle at `now` (monotonic) and returns the query's watermark.
    pub fn advance(&mut self, now: Duration) -> Watermark {
        self.mark_idle(now);
        let active = self
            .partitions
            .values()
            .filter(|p| !p.idle)
            .map(|p| p.watermark)
            .min();
        let before = self.current;
        match active {
            Some(least) => {
                self.all_idle = None;
                self.current = self.current.max(least);
            }
            None => self.advance_with_the_clock(now),
        }
        assert!(self.current >= before, "a query's watermark never falls");
        self.current
    }

    fn mark_idle(&mut self, now: Duration) {
        for partition in self.partitions.values_mut() {
            let seen = now.saturating_sub(partition.active_at);
            let silent = match self.catch_up {
                CatchUp::Done => seen,
                CatchUp::Live => seen.saturating_add(partition.age.unwrap_or(self.oldest)),
                CatchUp::Finite => Duration::MAX,
            };
            let timeout = partition.idle_timeout;
            let is_over = |timeout| silent >= timeout;
            partition.idle = partition.at_end && timeout.is_some_and(is_over);
        }
    }

    /// All partitions are idle: time goes on from where the furthest of them stood.
    fn advance_with_the_clock(&mut self, now: Duration) {
        let furthest = self.partitions.values().map(|p| p.watermark).max();
        let stood = self.current.max(furthest.unwrap_or(Watermark::MIN));
        let (since, start) = *self.all_idle.get_or_insert((now, stood));
        if start == Watermark::MIN {
            return; // No row was ever seen: there is no place to go on from.
        }
        let passed = i64::try_from(now.saturating_sub(since).as_micros()).unwrap_or(i64::MAX);
        let reached = Watermark(EventTime(start.0.0.saturating_add(passed)));
        self.current = self.current.max(reached);
    }

    /// The query's watermark, as of the last [`Self::advance`].
    pub fn current(&self) -> Watermark {
        self.current
    }

    /// What each partition's rows must be compared with at the start of a micro-batch: the least
    /// watermark of the *other* partitions that are not idle.
    pub fn others(&self, partition: InputPartition) -> Option<Watermark> {
        self.partitions
            .iter()
            .filter(|(id, state)| **id != partition && !state.idle)
            .map(|(_, state)| state.watermark)
            .min()
    }

    /// One partition's own watermark.
    pub fn of(&self, partition: InputPartition) -> Watermark {
        self.partitions
            .get(&partition)
            .map_or(Watermark::MIN, |state| state.watermark)
    }

    /// All partitions, by number.
    pub fn partitions(&self) -> impl Iterator<Item = (InputPartition, Partition)> + '_ {
        self.partitions.iter().map(|(id, state)| (*id, *state))
    }

    /// When, on the monotonic clock, `advance` may give something new although no row came. While all
    /// partitions are idle it goes with the clock: then it is asked for when it reaches `wanted`.
    pub fn next_change(&self, now: Duration, wanted: Option<EventTime>) -> Option<Duration> {
        if self.partitions.is_empty() {
            return None;
        }
        if self.partitions.values().all(|p| p.idle) {
            let left = wanted?.0.saturating_sub(self.current.0.0);
            let left = u64::try_from(left).map_or(Duration::ZERO, Duration::from_micros);
            let known = self.current > Watermark::MIN;
            return known.then(|| now + if left.is_zero() { LOOK_AGAIN } else { left });
        }
        self.partitions
            .values()
            .filter(|p| p.at_end && !p.idle)
            .filter_map(|p| Some(p.active_at + p.idle_timeout?))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_all_are_idle_only_what_is_wanted_is_waited_for() {
        let mut marks = two();
        marks.observe(part(0), mark(100), (at(1), Duration::ZERO));
        marks.observe(part(1), mark(50), (at(1), Duration::ZERO));
        (0..2).for_each(|partition| marks.reached_end(part(partition)));
        assert_eq!(marks.next_change(at(2), None), Some(at(11)));
        marks.advance(at(11));
        let wanted = |seconds: i64| Some(EventTime(seconds * 1_000_000));
        assert_eq!(marks.next_change(at(11), None), None);
        assert_eq!(marks.next_change(at(11), wanted(107)), Some(at(18)));
        marks.advance(at(15));
        assert_eq!(marks.next_change(at(15), wanted(107)), Some(at(18)));
        assert_eq!(
            marks.next_change(at(15), wanted(99)),
            Some(at(15) + LOOK_AGAIN)
        );
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn mark(seconds: i64) -> Watermark {
        Watermark(EventTime(seconds * 1_000_000))
    }

    fn part(partition: i32) -> InputPartition {
        InputPartition {
            input: 0,
            partition: crate::types::PartitionId(partition),
        }
    }

    fn two() -> Watermarks {
        Watermarks::new([0, 1].map(|id| (part(id), Some(at(10)))), at(0))
    }

    #[test]
    fn the_least_partition_decides() {
        let mut marks = two();
        marks.observe(part(0), mark(100), (at(1), Duration::ZERO));
        assert_eq!(
            marks.advance(at(1)),
            Watermark::MIN,
            "partition 1 has said nothing"
        );
        marks.observe(part(1), mark(50), (at(1), Duration::ZERO));
        assert_eq!(marks.advance(at(1)), mark(50));
    }

    #[test]
    fn a_watermark_never_falls() {
        let mut marks = two();
        marks.observe(part(0), mark(100), (at(1), Duration::ZERO));
        marks.observe(part(1), mark(100), (at(1), Duration::ZERO));
        assert_eq!(marks.advance(at(1)), mark(100));
        marks.add(part(2), Some(at(10)), at(2));
        marks.observe(part(2), mark(10), (at(2), Duration::ZERO));
        assert_eq!(marks.advance(at(2)), mark(100));
    }

    #[test]
    fn a_silent_partition_at_its_end_becomes_idle() {
        let mut marks = two();
        marks.observe(part(0), mark(100), (at(1), Duration::ZERO));
        marks.observe(part(1), mark(50), (at(1), Duration::ZERO));
        marks.reached_end(part(1));
        marks.observe(part(0), mark(120), (at(10), Duration::ZERO));
        assert_eq!(
            marks.advance(at(10)),
            mark(50),
            "9 s of silence are not enough"
        );
        marks.observe(part(0), mark(121), (at(11), Duration::ZERO));
        assert_eq!(marks.advance(at(11)), mark(121));
    }

    #[test]
    fn while_others_catch_up_a_partition_is_silent_since_its_last_row_was_written() {
        let hour = at(3600);
        let behind = |age: Duration, catch_up: CatchUp| {
            let mut marks = two();
            marks.observe(part(1), mark(5), (at(1), age));
            marks.reached_end(part(1));
            marks.observe(part(0), mark(100), (at(1), Duration::ZERO));
            marks.catch_up(catch_up);
            marks.advance(at(1))
        };
        assert_eq!(behind(hour, CatchUp::Done), mark(5), "it was seen just now");
        assert_eq!(behind(hour, CatchUp::Live), mark(100), "silent for an hour");
        assert_eq!(behind(at(9), CatchUp::Live), mark(5), "more may come of it");
        let finite = behind(at(0), CatchUp::Finite);
        assert_eq!(finite, mark(100), "nothing comes of it any more");
    }

    #[test]
    fn a_partition_without_rows_is_silent_since_the_oldest_row_was_written() {
        let mut marks = two();
        marks.reached_end(part(1));
        marks.catch_up(CatchUp::Live);
        marks.observe(part(0), mark(100), (at(1), at(5)));
        assert_eq!(marks.advance(at(1)), Watermark::MIN, "the topic is young");
        marks.observe(part(0), mark(101), (at(1), at(20)));
        assert_eq!(marks.advance(at(1)), mark(101));
        marks.catch_up(CatchUp::Done);
        marks.observe(part(0), mark(102), (at(2), at(0)));
        assert_eq!(marks.advance(at(2)), mark(101), "it is waited for again");
        let mut marks = Watermarks::new([0, 1].map(|id| (part(id), None)), at(0));
        marks.observe(part(0), mark(100), (at(1), at(5)));
        marks.reached_end(part(1));
        marks.catch_up(CatchUp::Finite);
        assert_eq!(
            marks.advance(at(1)),
            Watermark::MIN,
            "one that is never idle"
        );
    }

    #[test]
    fn a_partition_that_is_behind_is_never_idle() {
        let mut marks = two();
        marks.observe(part(0), mark(100), (at(1), Duration::ZERO));
        marks.reached_end(part(0));
        assert_eq!(
            marks.advance(at(1000)),
            Watermark::MIN,
            "partition 1 never reached its end"
        );
    }

    #[test]
    fn when_all_are_idle_time_goes_on_with_the_wall_clock() {
        let mut marks = two();
        for id in [0, 1] {
            marks.observe(part(id), mark(100 + i64::from(id)), (at(1), Duration::ZERO));
            marks.reached_end(part(id));
        }
        assert_eq!(marks.advance(at(2)), mark(100));
        assert_eq!(
            marks.advance(at(11)),
            mark(101),
            "it starts from the furthest partition"
        );
        assert_eq!(marks.advance(at(41)), mark(131));
        marks.observe(part(0), mark(105), (at(42), Duration::ZERO));
        assert_eq!(
            marks.advance(at(42)),
            mark(131),
            "and does not fall when rows come again"
        );
    }

    #[test]
    fn without_any_row_there_is_no_time_to_go_on_from() {
        let mut marks = two();
        marks.reached_end(part(0));
        marks.reached_end(part(1));
        assert_eq!(marks.advance(at(100)), Watermark::MIN);
        assert_eq!(marks.advance(at(200)), Watermark::MIN);
    }

    #[test]
    fn idleness_can_be_switched_off() {
        let mut marks = Watermarks::new([0, 1].map(|id| (part(id), None)), at(0));
        marks.observe(part(0), mark(100), (at(1), Duration::ZERO));
        marks.reached_end(part(1));
        assert_eq!(marks.advance(at(10_000)), Watermark::MIN);
    }
}
