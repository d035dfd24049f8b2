//! Messages of several partitions in the order of their event times.
//!
//! ```text
//! partition 0   3 4 7 9 │            parts:  3 4 │ 5 6 7 │ 8 9
//! partition 1   5 6 8 │ more to read
//! ```
//! A part ends before the time that a partition with more to read has reached, and before the time at which one
//! has had its share; in a part each partition's messages lie together. A message counts as no earlier than those
//! before it in its partition, whose order stays.
//! Invariants: every message is given on once; a partition's end after its messages. What is held back was not
//! read, as far as the query knows. Where all that is read has an end, the parts follow from the messages alone.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::Array;

use super::begin::Begin;
use super::event_time::row_times;
use super::input::{Collect, Collected, Gather, OfInput};
use super::shared_scan::{Common, Fetched, Wanted};
use super::status::ScanStatus;
use crate::error::Result;
use crate::plan::{SourcePlan, StreamPlan, Trigger};
use crate::scan::Decode;
use crate::source::PartitionEnd;
use crate::types::{EventTime, InputPartition, Offset};

/// Messages of a partition in a part at the most, unless the plan has it otherwise.
const PART_MAX: usize = 4_096;
/// Bytes held back at the most: from there on the order is given up for a while.
const BYTES_MAX: usize = 64 << 20;

/// Gives a query's messages on in order.
pub(super) struct InOrder {
    query: String,
    inner: Box<dyn Collect>,
    inputs: Vec<InputTimes>,
    lines: BTreeMap<InputPartition, Line>,
    part_max: usize,
    is_finite: bool,
    /// How often something was fetched.
    fetched: u64,
    held_bytes: usize,
    /// More was to be held than may be.
    is_full: bool,
    /// What is to be told beside messages.
    news: Collected,
    /// Parts that are known.
    ready: VecDeque<Collected>,
}

/// Tells the event times of an input's messages.
struct InputTimes {
    source: Arc<SourcePlan>,
    wanted: Wanted,
    decode: Decode,
}

/// What is held back of a partition, and how far it is known.
struct Line {
    runs: VecDeque<Run>,
    len: usize,
    /// The latest of its messages so far.
    reached: EventTime,
    /// The offset after the last message that came.
    next: Offset,
    /// Its end, as far as that is known.
    end: Option<Offset>,
    /// Its reader has said that it stands at its end.
    at_end: bool,
    /// Its broker does not answer.
    is_troubled: bool,
    /// What is to be told when its messages are given on.
    told: Option<PartitionEnd>,
}

/// Messages of one partition, one after the other.
struct Run {
    /// As what it came.
    number: u64,
    input: usize,
    fetched: Arc<Fetched>,
    /// As late as each message of `fetched` counts.
    times: Arc<[EventTime]>,
    places: Range<usize>,
}

/// Some messages of what was fetched.
struct Picked {
    number: u64,
    input: usize,
    fetched: Arc<Fetched>,
    places: Range<usize>,
}

impl InOrder {
    /// One for a query of one lane that begins there.
    ///
    /// # Errors
    /// When a column cannot be decoded.
    pub(super) fn try_new(
        query: &str,
        inner: Box<dyn Collect>,
        plan: &StreamPlan,
        begin: &Begin,
    ) -> Result<Self> {
        let inputs = plan.inputs.iter().map(|input| {
            let scan = &input.source.scan;
            Ok(InputTimes {
                source: Arc::new(input.source.clone()),
                wanted: Wanted::new(scan),
                decode: Decode::try_new(scan)?,
            })
        });
        let lines = begin.partitions();
        let lines = lines.map(|(place, range)| (place, Line::new(range.start, Some(range.end))));
        Ok(Self {
            query: query.to_owned(),
            inner,
            inputs: inputs.collect::<Result<_>>()?,
            lines: lines.collect(),
            part_max: plan.options.rows_max.unwrap_or(PART_MAX),
            is_finite: plan.options.trigger == Trigger::AvailableNow,
            fetched: 0,
            held_bytes: 0,
            is_full: false,
            news: Collected::nothing(1),
            ready: VecDeque::new(),
        })
    }

    /// Takes in what came.
    fn put(&mut self, collected: Collected) -> Result<()> {
        for (input, fetched) in collected.lanes.into_iter().flatten() {
            self.enter(input, &fetched)?;
        }
        for (input, end) in &collected.known_ends {
            let partition = end.partition;
            let line = self.line(InputPartition {
                input: *input,
                partition,
            });
            line.end = line.end.max(Some(end.next));
        }
        for (input, end) in &collected.ends {
            let partition = end.partition;
            let line = self.line(InputPartition {
                input: *input,
                partition,
            });
            line.is_troubled = false;
            line.at_end = end.next >= line.next;
            line.told = Some(*end);
        }
        for (input, problem) in &collected.problems {
            let named = |place: &InputPartition| {
                place.input == *input && problem.partition.is_none_or(|p| p == place.partition)
            };
            let lines = self.lines.iter_mut().filter(|(place, _)| named(place));
            lines.for_each(|(_, line)| line.is_troubled = true);
        }
        let news = &mut self.news;
        news.known_ends.extend(collected.known_ends);
        news.problems.extend(collected.problems);
        news.added.extend(collected.added);
        news.fetched.extend(collected.fetched);
        Ok(())
    }

    fn line(&mut self, place: InputPartition) -> &mut Line {
        let line = self.lines.entry(place);
        line.or_insert_with(|| Line::new(Offset(0), None))
    }

    /// Lets messages stand in their partitions' lines.
    fn enter(&mut self, input: usize, fetched: &Arc<Fetched>) -> Result<()> {
        // One partition's order is that of its offsets.
        let is_alone = self.lines.len() == 1 && fetched.reach.len() == 1;
        let told = match is_alone {
            true => Vec::new(),
            false => self.inputs[input].of(fetched)?,
        };
        let messages = &fetched.messages.messages;
        let mut times = Vec::with_capacity(messages.len());
        let mut runs = Vec::new();
        for run in messages.chunk_by(|a, b| a.partition == b.partition) {
            let place = InputPartition {
                input,
                partition: run[0].partition,
            };
            let line = self.line(place);
            let first = times.len();
            for message in run {
                // One that is alone has no times: its offsets do as well.
                let time = told.get(times.len()).copied();
                let time = time.unwrap_or(EventTime(message.offset.0));
                line.reached = line.reached.max(time);
                times.push(line.reached);
            }
            line.next = Offset(run[run.len() - 1].offset.0 + 1);
            (line.at_end, line.is_troubled) = (false, false);
            runs.push((place, first..times.len()));
        }
        let times: Arc<[EventTime]> = times.into();
        self.fetched += 1;
        let (number, is_finite) = (self.fetched, self.is_finite);
        for (place, places) in runs {
            let line = self.line(place);
            line.len += places.len();
            line.runs.push_back(Run {
                number,
                input,
                fetched: Arc::clone(fetched),
                times: Arc::clone(&times),
                places,
            });
            // Where nothing is waited for, the broker need not say that this was all.
            if is_finite && line.end.is_some_and(|end| line.next >= end) {
                let (partition, next) = (place.partition, line.next);
                line.told = Some(PartitionEnd { partition, next });
            }
        }
        self.held_bytes += weight(fetched, messages.len());
        Ok(())
    }

    /// The next part, if it is known.
    fn next_part(&mut self) -> Option<Collected> {
        let lines = || self.lines.values();
        let is_behind = |line: &&Line| line.is_behind(self.is_finite);
        let is_short = |line: &Line| line.len <= self.part_max;
        let is_full = self.held_bytes > BYTES_MAX / if self.is_full { 2 } else { 1 };
        if is_full && !self.is_full {
            let query = &self.query;
            tracing::warn!(
                query,
                "partitions lie far apart in time: messages are taken out of order"
            );
        }
        if self.is_finite && !is_full && lines().filter(is_behind).any(is_short) {
            return None;
        }
        let behind = lines().filter(|line| !is_full && is_behind(line));
        let frontier = behind.map(|line| line.reached).min();
        let share = lines().filter_map(|line| line.time_of(self.part_max)).min();
        let before = [frontier, share].into_iter().flatten().min();
        let is_before = |time: EventTime| before.is_none_or(|before| time < before);
        // So many have the same time that it is all of one's share.
        let is_at = |time: EventTime| {
            share.is_some_and(|share| time <= share && frontier.is_none_or(|f| share < f))
        };
        let goes = match lines().any(|line| line.time_of(0).is_some_and(is_before)) {
            true => &is_before as &dyn Fn(EventTime) -> bool,
            false => &is_at,
        };
        self.is_full = is_full;
        let mut picked = Vec::new();
        for line in self.lines.values_mut() {
            line.give(goes, &mut picked);
        }
        if picked.is_empty() {
            return None;
        }
        let weights = picked.iter().map(|p| weight(&p.fetched, p.places.len()));
        self.held_bytes -= weights.sum::<usize>();
        let mut part = self.take_news();
        part.lanes[0] = whole(picked);
        Some(part)
    }

    /// What there is to tell beside messages.
    fn take_news(&mut self) -> Collected {
        let mut news = std::mem::replace(&mut self.news, Collected::nothing(1));
        for (place, line) in &mut self.lines {
            let told = line.told.take_if(|_| line.runs.is_empty());
            news.ends.extend(told.map(|end| (place.input, end)));
        }
        news
    }
}

impl Collect for InOrder {
    fn collect(&mut self, timeout: Duration, gather: Gather) -> Result<Collected> {
        if let Some(part) = self.ready.pop_front() {
            return Ok(part);
        }
        let (is_finite, part_max) = (self.is_finite, self.part_max);
        let lines = self.lines.iter();
        let wanting = lines.filter(|(_, line)| line.is_behind(is_finite) && line.wants(part_max));
        self.inner
            .want(&wanting.map(|(place, _)| *place).collect::<Vec<_>>());
        let collected = self.inner.collect(timeout, gather)?;
        self.put(collected)?;
        while let Some(part) = self.next_part() {
            self.ready.push_back(part);
        }
        let part = self.ready.pop_front();
        Ok(part.unwrap_or_else(|| self.take_news()))
    }

    fn has_more(&self) -> bool {
        !self.ready.is_empty()
    }

    fn scans(&self) -> Vec<ScanStatus> {
        self.inner.scans()
    }

    fn common(&self, input: usize) -> Common {
        self.inner.common(input)
    }
}

impl InputTimes {
    /// The event time of each message; the least for one that is no row.
    fn of(&mut self, fetched: &Fetched) -> Result<Vec<EventTime>> {
        let messages = &fetched.messages;
        let (rows, are_shared) = match fetched.rows_of(&mut self.wanted, &mut self.decode)? {
            Some(found) => found.all()?,
            None => (self.decode.decode(messages)?, false),
        };
        let partition_of = |row: usize| messages.messages[rows.message_of(row)].partition;
        let tell = || row_times(&self.source.event_time, &rows.batch, partition_of);
        let times = match are_shared {
            true => fetched.times(tell)?,
            false => Arc::new(tell()?),
        };
        let mut all = vec![EventTime::MIN; messages.messages.len()];
        let event = times.event();
        for row in (0..event.len()).filter(|row| event.is_valid(*row)) {
            all[rows.message_of(row)] = EventTime(event.value(row));
        }
        Ok(all)
    }
}

impl Line {
    fn new(next: Offset, end: Option<Offset>) -> Self {
        Self {
            runs: VecDeque::new(),
            len: 0,
            reached: EventTime::MIN,
            next,
            end,
            at_end: false,
            is_troubled: false,
            told: None,
        }
    }

    /// There is more to read than what came.
    fn is_behind(&self, is_finite: bool) -> bool {
        // One whose broker does not answer holds up no other one, but where all is to be read.
        let is_awaited = is_finite || !self.is_troubled;
        is_awaited && !self.at_end && self.end.is_some_and(|end| self.next < end)
    }

    /// It cannot be told what its next part is.
    fn wants(&self, part_max: usize) -> bool {
        self.time_of(part_max)
            .is_none_or(|time| time == self.reached)
    }

    /// As late as the n-th message counts.
    fn time_of(&self, mut n: usize) -> Option<EventTime> {
        for run in &self.runs {
            if n < run.places.len() {
                return Some(run.times[run.places.start + n]);
            }
            n -= run.places.len();
        }
        None
    }

    /// Gives on the first messages whose times are such.
    fn give(&mut self, goes: &dyn Fn(EventTime) -> bool, picked: &mut Vec<Picked>) {
        while let Some(run) = self.runs.front_mut() {
            let times = &run.times[run.places.clone()];
            let count = times.partition_point(|time| goes(*time));
            if count == 0 {
                return;
            }
            let places = run.places.start..run.places.start + count;
            run.places.start = places.end;
            self.len -= count;
            picked.push(Picked {
                number: run.number,
                input: run.input,
                fetched: Arc::clone(&run.fetched),
                places,
            });
            if !run.places.is_empty() {
                return;
            }
            self.runs.pop_front();
        }
    }
}

/// About how many bytes some of the messages hold.
fn weight(fetched: &Fetched, messages: usize) -> usize {
    let all = &fetched.messages;
    let each = all.buffer.len() / all.messages.len().max(1);
    messages * (each + size_of::<crate::types::Message>())
}

/// What was picked in the order in which it came; whole where it is: others may have made something of that already.
fn whole(mut picked: Vec<Picked>) -> Vec<OfInput> {
    // Picked partition by partition, which is as good where each was fetched by itself, and always the same.
    if picked.iter().any(|picked| picked.fetched.reach.len() > 1) {
        picked.sort_by_key(|picked| (picked.number, picked.places.start));
    }
    let mut given = Vec::new();
    for of_one in picked.chunk_by(|a, b| a.number == b.number) {
        let Picked { input, fetched, .. } = &of_one[0];
        let count: usize = of_one.iter().map(|picked| picked.places.len()).sum();
        if count == fetched.messages.messages.len() {
            given.push((*input, Arc::clone(fetched)));
            continue;
        }
        let parts = of_one.iter().map(|picked| {
            let part = fetched.part(picked.places.clone());
            (*input, Arc::new(part))
        });
        given.extend(parts);
    }
    given
}

#[cfg(test)]
mod tests;
