//! A query's checkpoints: written after each epoch, read after a crash.
//!
//! ```text
//! write:    state file ── later manifests deleted ── manifest ── what is not needed deleted
//!                                                    └ the checkpoint is there
//! recover:  look ── decide ──┬── read a state ── decide ── ..
//!                            └── take, start anew, or refuse
//! ```
//! Invariant: nothing is written or deleted before a recovery has said what is there; and after a
//! crash between any two steps the checkpoint before, or the new one, is whole. From the moment when a
//! query's definition is kept to its first checkpoint the mark of a new query is there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use arrow::record_batch::RecordBatch;

use super::decide::{Condition, Decision, Found, decide, refused};
use super::fold::{Gone, by_table, check_shape, fold, merge_from, same_types, together};
use super::manifest::{
    BYTES_MAX, Manifest, Parsed, TableEntry, manifest_epoch, manifest_name, state_epoch, state_name,
};
use super::segment::{Segment, SegmentWriter};
use super::storage::Storage;
use super::{Checkpoint, Committed};
use crate::crash_point;
use crate::error::{Error, Result, SqlState};
use crate::types::{StateImage, TableId, TableRows};

/// It is there from a query's creation to its first checkpoint.
pub(super) const NEW: &str = "new";
/// What it holds while the rest of the place is of an earlier query.
const ALONE: &[u8] = b"alone";
/// What it holds while the query that comes is announced alone; empty is the mark of the one that is here.
const COMING: &[u8] = b"coming";

/// The checkpoints of one query.
#[derive(Debug)]
pub struct CheckpointStore {
    storage: Box<dyn Storage>,
    base: Base,
}

/// What the next checkpoint is a change of.
#[derive(Debug)]
enum Base {
    /// Nobody has looked.
    Unknown,
    /// There is no checkpoint.
    Nothing,
    /// The one that was read or written last.
    On(Box<Manifest>),
}

/// What a checkpoint cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The bytes that were written.
    pub bytes: u64,
    /// The rows that were written, those that were put together with older ones among them.
    pub rows: u64,
    /// What could not be cleaned up: whole sentences for the log.
    pub left_over: Vec<String>,
}

/// What is left after a crash.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The checkpoint; its state is whole.
    pub checkpoint: Checkpoint,
    /// What was not used, and why: whole sentences for the log.
    pub refused: Vec<String>,
}

/// A table's part of the checkpoint that is being written.
struct Part {
    table: TableId,
    key_columns: usize,
    /// Where rows lie already.
    kept: Vec<Segment>,
    /// What is to be written.
    rows: Vec<RecordBatch>,
}

/// Why a state could not be read.
enum Unreadable {
    /// It is not what was written: a whole sentence.
    Damaged(String),
    /// The place refused; it may not the next time.
    Failed(Error),
}

impl From<Error> for Unreadable {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl CheckpointStore {
    /// The checkpoints that lie in a place of their own.
    pub fn new(storage: Box<dyn Storage>) -> Self {
        Self {
            storage,
            base: Base::Unknown,
        }
    }

    /// Says that a query is about to be created here: until its first checkpoint it starts anew. Does
    /// nothing to one that has checkpoints here.
    ///
    /// # Errors
    /// When the place refuses.
    pub fn announce(&self) -> Result<()> {
        self.storage.put(NEW, &mut |to| to.write_all(COMING))
    }

    /// Takes an announcement back: the query of that name goes on, if one has checkpoints here.
    ///
    /// # Errors
    /// When the place refuses.
    pub fn withdraw(&self) -> Result<()> {
        let names = self.storage.list()?;
        match names.iter().any(|name| manifest_epoch(name).is_some()) {
            true => self.storage.delete(NEW),
            false => self.note_new(),
        }
    }

    /// Makes the place ready for a query that is created: what is there of an earlier one of its name
    /// goes, and until its first checkpoint it starts anew, whatever its sink says. A crash at any moment
    /// leaves the mark of that.
    ///
    /// # Errors
    /// When the place refuses.
    pub fn create(&mut self) -> Result<()> {
        self.base = Base::Unknown;
        self.storage.put(NEW, &mut |to| to.write_all(ALONE))?;
        crash_point::reach("a query is created, what is there of an earlier one is not gone");
        self.leave_alone()?;
        self.base = Base::Nothing;
        Ok(())
    }

    /// Deletes all but the mark of a new query, which then says no more than that it is new.
    fn leave_alone(&self) -> Result<()> {
        for name in self.storage.list()?.iter().filter(|name| *name != NEW) {
            self.storage.delete(name)?;
        }
        self.note_new()
    }

    /// The query that is here has yet to write its first checkpoint.
    fn note_new(&self) -> Result<()> {
        self.storage.put(NEW, &mut |_| Ok(()))
    }

    fn mark(&self) -> Result<Option<Vec<u8>>> {
        self.storage.read(NEW, 0, COMING.len() as u64)
    }

    /// Whether the query has yet to write its first checkpoint.
    fn is_new(&self) -> Result<bool> {
        let mark = self.mark()?;
        if mark.as_deref() == Some(ALONE) {
            self.leave_alone()?;
        }
        Ok(mark.is_some())
    }

    /// Forgets the query.
    ///
    /// # Errors
    /// When the place refuses.
    pub fn remove(&mut self) -> Result<()> {
        self.base = Base::Unknown;
        self.storage.clear()?;
        self.base = Base::Nothing;
        Ok(())
    }

    /// The checkpoint from which a query of this text goes on; `None`: it starts anew. Changes
    /// nothing in the place.
    ///
    /// # Errors
    /// When there is one and it cannot be used, or when the place refuses.
    pub fn recover(&mut self, text: &str, committed: Committed) -> Result<Option<Recovered>> {
        self.base = Base::Unknown;
        let is_new = self.is_new()?;
        let (mut found, mut manifests) = self.look(text)?;
        let mut read: Option<StateImage> = None;
        loop {
            match decide(&found, committed, is_new) {
                Decision::StartAnew => {
                    self.leave_alone()?;
                    self.base = Base::Nothing;
                    return Ok(None);
                }
                Decision::Refuse(refusal) => {
                    return Err(refusal.error(|name| self.storage.full_name(name)));
                }
                Decision::ReadState(epoch) => {
                    let condition = match self.read_state(&manifests[&epoch]) {
                        Ok(state) => {
                            read = Some(state);
                            Condition::Whole
                        }
                        Err(Unreadable::Damaged(why)) => Condition::Damaged(why),
                        Err(Unreadable::Failed(error)) => return Err(error),
                    };
                    let place = found.iter_mut().find(|found| found.epoch == epoch);
                    place.expect("only what was found is read").condition = condition;
                }
                Decision::Take(epoch) => {
                    let state = read.expect("only what was read is whole");
                    let manifest = manifests.remove(&epoch).expect("what was read is there");
                    let checkpoint = manifest.checkpoint(state);
                    self.base = Base::On(Box::new(manifest));
                    let refused = refused(&found, epoch);
                    return Ok(Some(Recovered {
                        checkpoint,
                        refused,
                    }));
                }
            }
        }
    }

    /// Writes a checkpoint; it lasts when this returns. [`Self::recover`] or [`Self::remove`] comes
    /// first. After an error the one before is still there, and the same one may be written again.
    ///
    /// # Errors
    /// When the place refuses, or when older rows that must be read are damaged: an image that is
    /// whole does not need them.
    pub fn write(&mut self, checkpoint: &Checkpoint) -> Result<Written> {
        let epoch = checkpoint.epoch;
        let base = self.base_of(checkpoint)?;
        let parts = self.parts(&checkpoint.state, base)?;
        let there = self.storage.list()?;
        let (tables, mut written) = self.write_state(epoch, &parts)?;
        let manifest = Manifest::new(checkpoint, tables);
        let file = manifest.encode()?;
        // A later one was never committed; were it left, it would be the newest after a crash.
        let later = |name: &&String| manifest_epoch(name).is_some_and(|there| there > epoch);
        for name in there.iter().filter(later) {
            self.storage.delete(name)?;
        }
        let put = &mut |to: &mut dyn Write| to.write_all(&file);
        self.storage.put(&manifest_name(epoch), put)?;
        written.bytes += file.len() as u64;
        written.left_over = self.clean(&there, &[base, Some(&manifest)]);
        self.base = Base::On(Box::new(manifest));
        Ok(written)
    }

    /// The manifest that the checkpoint is laid over.
    fn base_of(&self, checkpoint: &Checkpoint) -> Result<Option<&Manifest>> {
        let epoch = checkpoint.epoch;
        match &self.base {
            Base::Unknown => Err(Error::internal(
                "a checkpoint is written where nobody has looked for one",
            )),
            Base::Nothing if checkpoint.state.is_whole => Ok(None),
            Base::Nothing => Err(Error::internal(
                "the first checkpoint holds only what has changed",
            )),
            Base::On(base) if base.epoch < epoch => Ok(Some(base)),
            Base::On(base) => Err(Error::internal(format!(
                "the checkpoint of epoch {epoch} comes after that of epoch {}",
                base.epoch
            ))),
        }
    }

    /// What of each table lies somewhere already, and what is to be written.
    fn parts(&self, state: &StateImage, base: Option<&Manifest>) -> Result<Vec<Part>> {
        let mut changed = by_table(&state.rows)?;
        let mut parts = Vec::with_capacity(state.tables.len());
        for table in BTreeSet::from_iter(&state.tables) {
            let before = base.filter(|_| !state.is_whole);
            let before = before.and_then(|base| base.table(*table));
            // Where no rows lie, nothing was ever said of the key.
            let with_rows = before.filter(|entry| !entry.segments.is_empty());
            let keys = with_rows.map(|entry| entry.key_columns);
            let (key_columns, rows) = changed
                .remove(table)
                .unwrap_or_else(|| (keys.unwrap_or(0), Vec::new()));
            if keys.is_some_and(|keys| keys != key_columns) {
                let message = format!("the key of the state {table:?} has changed");
                return Err(Error::internal(message));
            }
            let kept = before.map_or_else(Vec::new, |entry| entry.segments.clone());
            parts.push(self.merged(Part {
                table: *table,
                key_columns,
                kept,
                rows,
            })?);
        }
        match changed.first_key_value() {
            None => Ok(parts),
            Some((table, _)) => Err(Error::internal(format!(
                "there are rows of the state {table:?}, which is not there"
            ))),
        }
    }

    /// Takes old segments into what is to be written, where there are too many.
    fn merged(&self, mut part: Part) -> Result<Part> {
        if part.rows.is_empty() {
            return Ok(part);
        }
        let new: u64 = part.rows.iter().map(|rows| rows.num_rows() as u64).sum();
        let old = part.kept.iter().map(|segment| segment.rows);
        let rows: Vec<u64> = old.chain([new]).collect();
        let Some(from) = merge_from(&rows) else {
            return Ok(part);
        };
        let gone = if from == 0 { Gone::Drop } else { Gone::Keep };
        let old = part.kept.split_off(from);
        let old = self.read_rows(&old, part.key_columns);
        let mut rows = old.map_err(|unreadable| match unreadable {
            Unreadable::Failed(error) => error,
            Unreadable::Damaged(why) => Error::external(
                SqlState::DataCorrupted,
                false,
                "the state of earlier epochs cannot be put together",
            )
            .detail(why)
            .hint("Put back the file, or drop the query and create it again: it then starts anew, and gives all its rows again."),
        })?;
        rows.append(&mut part.rows);
        if !rows.iter().all(|batch| same_types(batch, &rows[0])) {
            let message = format!("the columns of the state {:?} have changed", part.table);
            return Err(Error::internal(message));
        }
        part.rows = together(&fold(&rows, part.key_columns, gone)?)?;
        Ok(part)
    }

    /// Writes the state file, if there is anything to write, and says where all rows lie.
    fn write_state(&self, epoch: u64, parts: &[Part]) -> Result<(Vec<TableEntry>, Written)> {
        let mut segments = BTreeMap::new();
        if parts.iter().any(|part| !part.rows.is_empty()) {
            self.storage.put(&state_name(epoch), &mut |to| {
                let mut writer = SegmentWriter::new(epoch, to);
                for part in parts.iter().filter(|part| !part.rows.is_empty()) {
                    segments.insert(part.table, writer.write(&part.rows)?);
                }
                Ok(())
            })?;
        }
        let written = Written {
            bytes: segments.values().map(|segment| segment.length).sum(),
            rows: segments.values().map(|segment| segment.rows).sum(),
            left_over: Vec::new(),
        };
        let entry = |part: &Part| TableEntry {
            table: part.table,
            key_columns: part.key_columns,
            segments: (part.kept.iter().cloned())
                .chain(segments.remove(&part.table))
                .collect(),
        };
        Ok((parts.iter().map(entry).collect(), written))
    }

    /// Deletes what was there and none of these needs. What cannot be deleted only takes room.
    fn clean(&self, there: &[String], needed: &[Option<&Manifest>]) -> Vec<String> {
        let needed = || needed.iter().copied().flatten();
        let manifests: BTreeSet<u64> = needed().map(|manifest| manifest.epoch).collect();
        let files: BTreeSet<u64> = needed().flat_map(Manifest::files).collect();
        let old_manifest =
            |name: &&String| manifest_epoch(name).is_some_and(|epoch| !manifests.contains(&epoch));
        let old_file =
            |name: &&String| state_epoch(name).is_some_and(|epoch| !files.contains(&epoch));
        // Its own; another query of its name may have been announced since.
        let is_own = || {
            self.mark()
                .is_ok_and(|mark| mark.is_some_and(|mark| mark.is_empty()))
        };
        let mark = |name: &&String| *name == NEW && is_own();
        // A manifest goes before the state that it names.
        let old = there.iter().filter(|name| mark(name) || old_manifest(name));
        let old = old.chain(there.iter().filter(old_file));
        old.filter_map(|name| self.storage.delete(name).err())
            .map(|error| format!("What is no longer needed was not deleted: {error}."))
            .collect()
    }

    /// All manifests, in ascending order.
    fn look(&self, text: &str) -> Result<(Vec<Found>, BTreeMap<u64, Manifest>)> {
        let names = self.storage.list()?;
        let epochs: BTreeSet<u64> = names
            .iter()
            .filter_map(|name| manifest_epoch(name))
            .collect();
        let (mut found, mut manifests) = (Vec::new(), BTreeMap::new());
        for epoch in epochs {
            let bytes = self.storage.read(&manifest_name(epoch), 0, BYTES_MAX + 1)?;
            let condition = match bytes.map(|bytes| Manifest::parse(&bytes, epoch)) {
                None => continue,
                Some(Parsed::Damaged(why)) => Condition::Damaged(why),
                Some(Parsed::Newer(format)) => Condition::Newer(format),
                Some(Parsed::Whole(manifest)) if manifest.text != text => Condition::OfAnotherText,
                Some(Parsed::Whole(manifest)) => {
                    manifests.insert(epoch, *manifest);
                    Condition::Readable
                }
            };
            found.push(Found { epoch, condition });
        }
        Ok((found, manifests))
    }

    /// The whole state that a manifest names.
    fn read_state(&self, manifest: &Manifest) -> Result<StateImage, Unreadable> {
        let mut rows = Vec::new();
        for entry in &manifest.tables {
            let batches = self.read_rows(&entry.segments, entry.key_columns)?;
            for batch in fold(&batches, entry.key_columns, Gone::Drop)? {
                rows.push(TableRows {
                    table: entry.table,
                    rows: batch,
                    key_columns: entry.key_columns,
                });
            }
        }
        Ok(StateImage {
            is_whole: true,
            tables: manifest.tables.iter().map(|entry| entry.table).collect(),
            rows,
            notes: manifest.notes.clone(),
        })
    }

    /// All rows of a table's segments, oldest first.
    fn read_rows(
        &self,
        segments: &[Segment],
        key_columns: usize,
    ) -> Result<Vec<RecordBatch>, Unreadable> {
        let mut rows: Vec<RecordBatch> = Vec::new();
        for segment in segments {
            let name = state_name(segment.file);
            let damaged = |why: &str| {
                let name = self.storage.full_name(&name);
                Unreadable::Damaged(format!("The state file {name} is damaged. {why}"))
            };
            let bytes = self.storage.read(&name, segment.offset, segment.length)?;
            let Some(bytes) = bytes else {
                let name = self.storage.full_name(&name);
                return Err(Unreadable::Damaged(format!(
                    "The state file {name} is missing."
                )));
            };
            for batch in segment.decode(bytes).map_err(|why| damaged(&why))? {
                let shape = check_shape(&batch, key_columns);
                shape.map_err(|what| damaged(&format!("Its columns are wrong: {what}.")))?;
                if rows.first().is_some_and(|first| !same_types(first, &batch)) {
                    return Err(damaged(
                        "Its columns are not those of the table's other rows.",
                    ));
                }
                rows.push(batch);
            }
        }
        Ok(rows)
    }
}
