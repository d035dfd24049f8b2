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

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::lane::Rejection;
use super::rejected::{DeadLetter, LateRecord};
use crate::error::Result;
use crate::redb_file::{About, RedbFile};
use crate::types::{Offset, PartitionId, ProcessingTime};
use kept::{KEPT_BYTES_MAX, Kept};
use marks::Marks;
pub(super) use replaying::Begun;
use replays::Replays;
pub(super) use replays::{Again, Given, Outcome};
use rows::Row;

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
        let (marks, replays) = store.read(|read| Ok((Marks::load(read)?, Replays::load(read)?)))?;
        Ok(Self {
            latest: AtomicU64::new(replays.latest),
            inner: Mutex::new(Inner {
                dead,
                late,
                marks,
                replays,
                store,
                looked_at: None,
            }),
        })
    }

    /// Keeps a message that is no row; false if it was met before. `met_by`: the created query that
    /// has met it, and in which of its inputs.
    pub fn dead(&self, letter: DeadLetter, met_by: Option<(&str, usize)>) -> bool {
        let (key, bytes) = (dead_key(&letter), size(&letter.message));
        let Inner { dead, marks, .. } = &mut *self.lock();
        let (is_new, gone) = dead.keep(key.clone(), bytes, || letter);
        for number in gone {
            marks.forget(number);
        }
        if let (Some((query, input)), Some(number)) = (met_by, dead.number(&key)) {
            let input = u32::try_from(input).unwrap_or(u32::MAX);
            marks.add((number, query.to_owned(), input));
        }
        is_new
    }

    /// Keeps a row that came too late; false if its query met it before.
    pub fn late(&self, record: LateRecord) -> bool {
        let (key, bytes) = (late_key(&record), size(&record.late.message));
        self.lock().late.keep(key, bytes, || record).0
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
        inner.persist()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn persist(&mut self) -> Result<()> {
        let Self {
            dead,
            late,
            marks,
            store,
            ..
        } = self;
        if !dead.is_behind() && !late.is_behind() && !marks.is_behind() {
            return Ok(());
        }
        store.write(|write| {
            DeadLetter::write(write, dead)?;
            LateRecord::write(write, late)?;
            marks.write(write)
        })?;
        dead.written();
        late.written();
        marks.written();
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
