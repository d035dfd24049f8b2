//! Messages that are no rows, and rows that came too late: kept on disk, within bounds, to be looked at.
//!
//! ```text
//! a query meets one ─► SetAside (memory) ─► at the epoch's end, once ─► set_aside.redb (disk)
//! ```
//! Invariants: a message is kept once, however many queries met it. What a query has set aside lasts
//! before the checkpoint that has read past it. Memory holds the keys, and what the disk does not have yet.

mod kept;
mod rows;
mod store;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::lane::Rejection;
use super::rejected::{DeadLetter, LateRecord};
use crate::error::Result;
use crate::types::{Offset, PartitionId, ProcessingTime};
use kept::{KEPT_BYTES_MAX, Kept};
use rows::Row;
use store::Store;

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
}

#[derive(Debug)]
struct Inner {
    dead: Kept<DeadKey, DeadLetter>,
    late: Kept<LateKey, LateRecord>,
    store: Store,
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
        let mut store = Store::open(dir)?;
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
        Ok(Self {
            inner: Mutex::new(Inner {
                dead,
                late,
                store,
                looked_at: None,
            }),
        })
    }

    /// Keeps a message that is no row; false if it was met before.
    pub fn dead(&self, letter: DeadLetter) -> bool {
        let (key, bytes) = (dead_key(&letter), size(&letter.message));
        self.lock().dead.keep(key, bytes, || letter)
    }

    /// Keeps a row that came too late; false if its query met it before.
    pub fn late(&self, record: LateRecord) -> bool {
        let (key, bytes) = (late_key(&record), size(&record.late.message));
        self.lock().late.keep(key, bytes, || record)
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
            dead, late, store, ..
        } = self;
        if !dead.is_behind() && !late.is_behind() {
            return Ok(());
        }
        store.write(|write| {
            DeadLetter::write(write, dead)?;
            LateRecord::write(write, late)
        })?;
        dead.written();
        late.written();
        Ok(())
    }
}

/// What is kept, by key.
fn values<K: Ord + Clone, V: Row + Clone>(kept: &Kept<K, V>, store: &mut Store) -> Result<Vec<V>> {
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
