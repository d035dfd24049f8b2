//! Messages that are no rows, and rows that came too late: kept on disk, within bounds, to be looked at.
//!
//! ```text
//! a query meets one ─► SetAside (memory) ─► at the epoch's end, once ─► set_aside.redb (disk)
//! ```
//! The file also has which queries have met which message, and the replays under way.
//!
//! Invariants: a message is kept once, however many queries met it. What a query has set aside lasts
//! before the checkpoint that has read past it. Memory holds the keys, and what the disk does not have yet.

mod kept;
mod marks;
mod replaying;
mod replays;
mod rows;
mod unsent;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::lane::Rejection;
use super::rejected::{DeadLetter, LateRecord};
use crate::error::Result;
use crate::redb_file::{About, Fault, RedbFile};
use crate::types::{Offset, PartitionId, ProcessingTime};
use kept::{KEPT_BYTES_MAX, Kept};
use marks::{MET, Marks, UNSENT_DEAD, UNSENT_LATE};
pub(super) use replaying::Begun;
use replays::Replays;
pub(super) use replays::{Again, Given, Outcome};
use rows::Row;
use unsent::Unsent;

const FILE: &str = "set_aside.redb";
const ABOUT: About = About {
    what: "the kept messages",
    hint: "Put back a copy of the file, or move it away to begin without dead letters and late rows.",
};
/// How often what snapshots set aside is made to last.
const SNAPSHOT_PACE_MICROS: i64 = 1_000_000;

/// A table's message.
type DeadKey = (String, PartitionId, Offset);
/// A query's message of a table.
type LateKey = (String, String, PartitionId, Offset);

/// What was set aside on this server.
#[derive(Debug)]
pub struct SetAside {
    inner: Mutex<Inner>,
    /// The number of the newest replay, for queries that look whether there is one.
    latest: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    dead: Kept<DeadKey, DeadLetter>,
    late: Kept<LateKey, LateRecord>,
    marks: Marks,
    unsent_dead: Unsent,
    unsent_late: Unsent,
    replays: Replays,
    store: RedbFile,
    /// When that of snapshots was made to last.
    looked_at: Option<ProcessingTime>,
}

impl SetAside {
    /// What is kept in a data directory, or in memory where there is none; so many messages of each
    /// kind are kept at the most.
    ///
    /// # Errors
    /// A file that is damaged, a disk that refuses.
    pub fn open(dir: Option<&Path>, dead_max: usize, late_max: usize) -> Result<Self> {
        let mut store = RedbFile::open(dir.map(|dir| dir.join(FILE)), ABOUT)?;
        let mut dead = Kept::new(dead_max, KEPT_BYTES_MAX);
        let mut late = Kept::new(late_max, KEPT_BYTES_MAX);
        store.read(|read| {
            DeadLetter::all(read, &mut |number, letter| {
                dead.loaded(number, dead_key(&letter), size(&letter.message));
            })?;
            LateRecord::all(read, &mut |number, record| {
                late.loaded(number, late_key(&record), size(&record.late.message));
            })
        })?;
        let (marks, replays) =
            store.read(|read| Ok((Marks::load(read, MET)?, Replays::load(read)?)))?;
        let (mut unsent_dead, mut unsent_late) = store.read(|read| {
            let unsent = |table| Ok::<_, Fault>(Unsent::of(Marks::load(read, table)?));
            Ok((unsent(UNSENT_DEAD)?, unsent(UNSENT_LATE)?))
        })?;
        unsent_dead.retain(|number| dead.key(number).is_some());
        unsent_late.retain(|number| late.key(number).is_some());
        Ok(Self {
            latest: AtomicU64::new(replays.latest),
            inner: Mutex::new(Inner {
                dead,
                late,
                marks,
                unsent_dead,
                unsent_late,
                replays,
                store,
                looked_at: None,
            }),
        })
    }

    /// Keeps a message that is no row. `met_by`: the created query that has met it, and in which of its
    /// inputs. Gives its number if it was not met before, or is in nobody's hands: a caller that sends now
    /// sends it, and says what came of it by [`SetAside::sent`] or [`SetAside::give_up`].
    pub(super) fn dead(
        &self,
        letter: DeadLetter,
        met_by: Option<(&str, usize)>,
        to_topic: ToTopic,
    ) -> Option<u64> {
        let (key, bytes) = (dead_key(&letter), size(&letter.message));
        let Inner {
            dead,
            marks,
            unsent_dead,
            ..
        } = &mut *self.lock();
        let (is_new, gone) = dead.keep(key.clone(), bytes, || letter);
        for number in gone {
            marks.forget(number);
            unsent_dead.forget(number);
        }
        let number = dead.number(&key)?;
        if let Some((query, input)) = met_by {
            let input = u32::try_from(input).unwrap_or(u32::MAX);
            marks.add((number, query.to_owned(), input));
        }
        let is_to_send = hand_out(unsent_dead, number, is_new, to_topic);
        is_to_send.then_some(number)
    }

    /// Keeps a row that came too late. Gives its number as [`SetAside::dead`] does; it is met again if its
    /// query has met it.
    pub(super) fn late(&self, record: LateRecord, to_topic: ToTopic) -> Option<u64> {
        let (key, bytes) = (late_key(&record), size(&record.late.message));
        let Inner {
            late, unsent_late, ..
        } = &mut *self.lock();
        let (is_new, gone) = late.keep(key.clone(), bytes, || record);
        gone.into_iter()
            .for_each(|number| unsent_late.forget(number));
        let number = late.number(&key)?;
        hand_out(unsent_late, number, is_new, to_topic).then_some(number)
    }

    /// Messages are in their topic.
    pub(super) fn sent(&self, kind: Kind, numbers: &[u64]) {
        self.lock().unsent(kind).sent(numbers);
    }

    /// Messages are in nobody's hands any more; some may be in their topic.
    pub(super) fn give_up(&self, kind: Kind, numbers: &[u64]) {
        self.lock().unsent(kind).give_up(numbers);
    }

    /// Messages of a table that are no rows and in nobody's hands; they are in the caller's from now on.
    ///
    /// # Errors
    /// A disk that refuses.
    pub(super) fn unsent_dead(&self, table: &str) -> Result<Vec<(u64, DeadLetter)>> {
        let Inner {
            dead,
            unsent_dead,
            store,
            ..
        } = &mut *self.lock();
        let is_its = |number| dead.key(number).is_some_and(|(of, ..)| of == table);
        values_of(dead, store, &unsent_dead.take(is_its))
    }

    /// The same of a query's rows of a table that came too late.
    ///
    /// # Errors
    /// A disk that refuses.
    pub(super) fn unsent_late(&self, query: &str, table: &str) -> Result<Vec<(u64, LateRecord)>> {
        let Inner {
            late,
            unsent_late,
            store,
            ..
        } = &mut *self.lock();
        let is_its = |number| {
            let key = late.key(number);
            key.is_some_and(|(by, of, ..)| by == query && of == table)
        };
        values_of(late, store, &unsent_late.take(is_its))
    }

    /// Makes what was set aside so far last.
    ///
    /// # Errors
    /// A disk that refuses; then it can be tried again.
    pub fn persist(&self) -> Result<()> {
        self.lock().persist()
    }

    /// The same for a snapshot, which has no epochs: the first time, and then once a second.
    ///
    /// # Errors
    /// As [`Self::persist`].
    pub fn persist_now_and_then(&self, now: ProcessingTime) -> Result<()> {
        let mut inner = self.lock();
        let fresh = |at: ProcessingTime| (0..SNAPSHOT_PACE_MICROS).contains(&(now.0 - at.0));
        if inner.looked_at.is_some_and(fresh) {
            return Ok(());
        }
        inner.looked_at = Some(now);
        inner.persist()
    }

    /// The messages that are no rows, by table, partition and offset.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>> {
        let Inner { dead, store, .. } = &mut *self.lock();
        values(dead, store)
    }

    /// The rows that came too late, by query, table, partition and offset.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn late_rows(&self) -> Result<Vec<LateRecord>> {
        let Inner { late, store, .. } = &mut *self.lock();
        values(late, store)
    }

    /// Forgets the messages of tables that are not there, for good.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn retain_tables(&self, is_there: impl Fn(&str) -> bool) -> Result<()> {
        let mut inner = self.lock();
        inner.dead.retain(|(table, ..)| is_there(table));
        let Inner { dead, marks, .. } = &mut *inner;
        marks.retain(|(number, ..)| dead.key(*number).is_some());
        inner.late.retain(|(_, table, ..)| is_there(table));
        let Inner {
            dead,
            late,
            unsent_dead,
            unsent_late,
            ..
        } = &mut *inner;
        unsent_dead.retain(|number| dead.key(number).is_some());
        unsent_late.retain(|number| late.key(number).is_some());
        inner.persist()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a message that is kept goes to a topic too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ToTopic {
    /// There is none.
    Never,
    /// Whoever meets it next, and can, sends it.
    Later,
    /// The caller sends it.
    Now,
}

/// Notes who is to send a message; true if it is new, or the caller is to send one that was met before.
fn hand_out(unsent: &mut Unsent, number: u64, is_new: bool, to_topic: ToTopic) -> bool {
    if !is_new {
        return to_topic == ToTopic::Now && unsent.take_one(number);
    }
    if to_topic != ToTopic::Never {
        unsent.add(number);
    }
    if to_topic == ToTopic::Later {
        unsent.give_up(&[number]);
    }
    true
}

/// What was set aside, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is no row.
    Dead,
    /// It came too late.
    Late,
}

impl Inner {
    fn unsent(&mut self, kind: Kind) -> &mut Unsent {
        match kind {
            Kind::Dead => &mut self.unsent_dead,
            Kind::Late => &mut self.unsent_late,
        }
    }

    fn persist(&mut self) -> Result<()> {
        let Self {
            dead,
            late,
            marks,
            unsent_dead: Unsent { marks: no_rows, .. },
            unsent_late: Unsent {
                marks: too_late, ..
            },
            store,
            ..
        } = self;
        let marks = [
            (marks, MET),
            (no_rows, UNSENT_DEAD),
            (too_late, UNSENT_LATE),
        ];
        if !dead.is_behind() && !late.is_behind() && !marks.iter().any(|(m, _)| m.is_behind()) {
            return Ok(());
        }
        store.write(|write| {
            DeadLetter::write(write, dead)?;
            LateRecord::write(write, late)?;
            marks
                .iter()
                .try_for_each(|(marks, table)| marks.write(write, *table))
        })?;
        dead.written();
        late.written();
        for (marks, _) in marks {
            marks.written();
        }
        Ok(())
    }
}

/// Some of what is kept, with their numbers.
fn values_of<K: Ord + Clone, V: Row + Clone>(
    kept: &Kept<K, V>,
    store: &mut RedbFile,
    numbers: &BTreeSet<u64>,
) -> Result<Vec<(u64, V)>> {
    let pending = |number: &u64| Some((*number, kept.pending(*number)?.clone()));
    let mut found: Vec<(u64, V)> = numbers.iter().filter_map(pending).collect();
    if found.len() < numbers.len() {
        store.read(|read| {
            V::all(read, &mut |number, value| {
                let is_kept = kept.key(number).is_some() && kept.pending(number).is_none();
                if is_kept && numbers.contains(&number) {
                    found.push((number, value));
                }
            })
        })?;
    }
    Ok(found)
}

/// What is kept, by key.
fn values<K: Ord + Clone, V: Row + Clone>(
    kept: &Kept<K, V>,
    store: &mut RedbFile,
) -> Result<Vec<V>> {
    let mut on_disk = BTreeMap::new();
    store.read(|read| {
        V::all(read, &mut |number, value| {
            on_disk.insert(number, value);
        })
    })?;
    let value = |number| {
        kept.pending(number)
            .cloned()
            .or_else(|| on_disk.remove(&number))
    };
    Ok(kept.numbers().filter_map(value).collect())
}

fn dead_key(letter: &DeadLetter) -> DeadKey {
    let message = &letter.message;
    (letter.table.clone(), message.partition, message.offset)
}

fn late_key(record: &LateRecord) -> LateKey {
    let (query, table) = (record.query.clone(), record.table.clone());
    let message = &record.late.message;
    (query, table, message.partition, message.offset)
}

fn size(message: &Rejection) -> usize {
    let bytes = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
    256 + bytes(&message.key)
        + bytes(&message.payload)
        + bytes(&message.headers)
        + message.reason.len()
}

#[cfg(test)]
mod tests;
