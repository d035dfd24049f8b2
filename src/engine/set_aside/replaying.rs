//! What a replay does to what is kept.
//!
//! Invariant: a mark says that a query has read past a message without it. It goes when the query has
//! taken the message and that lasts, and when the query is to read the message again by itself.

use std::collections::{BTreeMap, BTreeSet};

use super::marks::Mark;
use super::replays::{self, Again, Given, Outcome};
use super::{Inner, SetAside, size};
use crate::engine::rejected::DeadLetter;
use crate::error::Result;
use crate::types::{Offset, PartitionId, ProcessingTime};

/// A replay that has begun.
#[derive(Debug)]
pub(in crate::engine) struct Begun {
    /// The queries that are given something, by this replay or by an earlier one.
    pub queries: BTreeSet<String>,
}

impl SetAside {
    /// The kept messages of a table at these places.
    pub(in crate::engine) fn letters_at(
        &self,
        table: &str,
        places: &[(PartitionId, Offset)],
    ) -> Result<Vec<(u64, DeadLetter)>> {
        let inner = &mut *self.lock();
        let mut wanted = BTreeSet::new();
        for (partition, offset) in places {
            let key = (table.to_owned(), *partition, *offset);
            wanted.extend(inner.dead.number(&key));
        }
        inner.letters(&wanted)
    }

    /// Hands messages to every query that has met them; it lasts when this returns.
    pub(in crate::engine) fn begin_replay(
        &self,
        messages: &[Again],
        now: ProcessingTime,
    ) -> Result<Begun> {
        let inner = &mut *self.lock();
        let marks = messages
            .iter()
            .flat_map(|again| inner.marks.of(again.number));
        let all: Vec<Mark> = marks.cloned().collect();
        let queries: BTreeSet<String> = all.iter().map(|(_, query, _)| query.clone()).collect();
        // Who is given one by an earlier replay gets it by that.
        let earlier = inner.store.read(replays::given)?;
        let given: Vec<Mark> = all.into_iter().filter(|m| !earlier.contains(m)).collect();
        // What queries have met so far lasts with it.
        inner.persist()?;
        let now = u64::try_from(now.0).unwrap_or(0);
        let id = (inner.replays.latest + 1).max(now);
        let store = &mut inner.store;
        store.write(|write| replays::write_new(write, id, messages, &given))?;
        let takers: BTreeSet<String> = given.iter().map(|(_, query, _)| query.clone()).collect();
        let is_over = takers.is_empty();
        inner.replays.open.insert(id, takers);
        if is_over {
            inner.finish(id)?;
        }
        inner.replays.latest = id;
        self.latest.store(id, std::sync::atomic::Ordering::Release);
        Ok(Begun { queries })
    }

    /// The number of the newest replay; cheap.
    pub(in crate::engine) fn latest_replay(&self) -> u64 {
        self.latest.load(std::sync::atomic::Ordering::Acquire)
    }

    /// The next replay that a query has to take, and what it is given by it.
    pub(in crate::engine) fn next_replay(
        &self,
        query: &str,
        after: u64,
    ) -> Result<Option<(u64, Vec<Given>)>> {
        let Inner { replays, store, .. } = &mut *self.lock();
        let Some(id) = replays.next_of(query, after) else {
            return Ok(None);
        };
        let given = store.read(|read| replays::given_to(read, id, query))?;
        Ok(Some((id, given)))
    }

    /// Notes, before a query's checkpoint, what came of what it was given.
    pub(in crate::engine) fn note_replay(
        &self,
        query: &str,
        id: u64,
        outcomes: &[Outcome],
    ) -> Result<()> {
        let store = &mut self.lock().store;
        store.write(|write| replays::note(write, id, query, outcomes))
    }

    /// A query's checkpoint lasts that has taken all replays up to this one.
    pub(in crate::engine) fn replay_committed(&self, query: &str, id: u64) -> Result<()> {
        let inner = &mut *self.lock();
        let open = inner.replays.open.range(..=id);
        let ids: Vec<u64> = open
            .filter(|(_, queries)| queries.contains(query))
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter().try_for_each(|id| inner.done(id, query))
    }

    /// A query goes on from a checkpoint that has taken the replays up to `taken`: those it has done
    /// with, and what lies behind where it reads it will meet by itself. `reads` tells whether it will.
    pub(in crate::engine) fn resume_query(
        &self,
        query: &str,
        taken: u64,
        reads: impl Fn(u32, &str, PartitionId, Offset) -> bool,
    ) -> Result<()> {
        self.replay_committed(query, taken)?;
        let inner = &mut *self.lock();
        let mut ahead = BTreeSet::new();
        for (number, of, input) in inner.marks.all().filter(|(_, of, _)| of == query) {
            let Some((table, partition, offset)) = inner.dead.key(*number) else {
                continue;
            };
            if reads(*input, table, *partition, *offset) {
                ahead.insert((*number, of.clone(), *input));
            }
        }
        inner.marks.retain(|mark| !ahead.contains(mark));
        inner.take_back(query, |input, letter| {
            let message = &letter.message;
            reads(input, &letter.table, message.partition, message.offset)
        })?;
        inner.persist()
    }

    /// A query is gone, or begins from nothing.
    pub(in crate::engine) fn forget_query(&self, query: &str) -> Result<()> {
        let inner = &mut *self.lock();
        inner.marks.retain(|(_, of, _)| of != query);
        inner.take_back(query, |_, _| true)?;
        inner.persist()
    }

    /// How many of these messages are still kept.
    pub(in crate::engine) fn still_kept(&self, numbers: &[u64]) -> usize {
        let inner = self.lock();
        let kept = numbers.iter().filter(|n| inner.dead.key(**n).is_some());
        kept.count()
    }

    /// Whether a query has to take, or to commit, a replay.
    pub(in crate::engine) fn is_replaying(&self, query: &str) -> bool {
        self.lock().replays.next_of(query, 0).is_some()
    }
}

impl Inner {
    /// Kept messages by number.
    fn letters(&mut self, numbers: &BTreeSet<u64>) -> Result<Vec<(u64, DeadLetter)>> {
        let mut found = super::values_of(&self.dead, &mut self.store, numbers)?;
        found.sort_by_key(|(_, letter)| (letter.message.partition, letter.message.offset));
        Ok(found)
    }

    /// A query has done with a replay: what it has used it has met no more.
    fn done(&mut self, id: u64, query: &str) -> Result<()> {
        let outcomes = self.store.read(|read| replays::noted(read, id, query))?;
        let mut reasons = BTreeMap::new();
        for (number, input, reason) in outcomes {
            match reason {
                None => self.marks.remove(&(number, query.to_owned(), input)),
                Some(reason) => drop(reasons.insert(number, reason)),
            }
        }
        self.tell_reasons(&reasons)?;
        self.leave(id, query)
    }

    /// A query is no more part of a replay; without any the replay is over.
    fn leave(&mut self, id: u64, query: &str) -> Result<()> {
        let others = self.replays.open.get(&id);
        let is_last = others.is_none_or(|queries| queries.iter().all(|other| other == query));
        if is_last {
            return self.finish(id);
        }
        self.persist()?;
        let store = &mut self.store;
        store.write(|write| replays::take_back(write, id, query, |_, _| true))?;
        if let Some(queries) = self.replays.open.get_mut(&id) {
            queries.remove(query);
        }
        Ok(())
    }

    /// What every query has is kept no more, unless it is still no row of the table.
    fn finish(&mut self, id: u64) -> Result<()> {
        let mut reasons = BTreeMap::new();
        for again in self.store.read(|read| replays::messages(read, id))? {
            let Again { number, still, .. } = again;
            let is_met = self.marks.of(number).next().is_some();
            match still {
                None if is_met => {}
                None => self.dead.forget(number),
                Some(_) if is_met => {}
                Some(reason) => drop(reasons.insert(number, reason)),
            }
        }
        self.tell_reasons(&reasons)?;
        self.persist()?;
        let queries = self.replays.open.get(&id).cloned().unwrap_or_default();
        self.store.write(|write| {
            for query in &queries {
                replays::take_back(write, id, query, |_, _| true)?;
            }
            replays::forget(write, id)
        })?;
        self.replays.open.remove(&id);
        Ok(())
    }

    /// Keeps other reasons.
    fn tell_reasons(&mut self, reasons: &BTreeMap<u64, String>) -> Result<()> {
        let numbers = reasons.keys().copied().collect();
        for (number, mut letter) in self.letters(&numbers)? {
            let reason = &reasons[&number];
            if letter.message.reason != *reason {
                letter.message.reason.clone_from(reason);
                self.dead.replace(number, size(&letter.message), letter);
            }
        }
        Ok(())
    }

    /// Takes back what a query was given and has not taken.
    fn take_back(
        &mut self,
        query: &str,
        unwanted: impl Fn(u32, &DeadLetter) -> bool,
    ) -> Result<()> {
        let open = self.replays.open.iter();
        let ids: Vec<u64> = open
            .filter(|(_, queries)| queries.contains(query))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let given = self.store.read(|read| replays::given_to(read, id, query))?;
            let all = given.len();
            let gone: BTreeSet<(u64, u32)> = given
                .into_iter()
                .filter(|given| unwanted(given.input, &given.letter))
                .map(|given| (given.number, given.input))
                .collect();
            if gone.len() == all {
                self.leave(id, query)?;
            } else if !gone.is_empty() {
                let unwanted = |number, input| gone.contains(&(number, input));
                let store = &mut self.store;
                store.write(|write| replays::take_back(write, id, query, unwanted))?;
            }
        }
        Ok(())
    }
}
