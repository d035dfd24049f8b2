//! The manifest of an epoch: one JSON file that says all of a checkpoint but its rows, and where they lie.
//!
//! ```text
//! {"format":1,"crc32c":2774183915,"body":{"epoch":7,"text":"CREATE ..",..}}
//! ```
//! The checksum is that of the format's digits and the body's bytes. The frame around the body stays
//! as it is in every version, so that an older server can tell a newer file from a damaged one.
//! Invariant: each byte counts: a file that differs in one from what was written is damaged.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::segment::Segment;
use super::{Checkpoint, InputMark};
use crate::error::{Error, Result, SqlState};
use crate::types::{StateImage, StateNote, TableId};

/// The version of the form in which manifests and state files are written.
pub(super) const FORMAT: u32 = 1;

/// The greatest manifest that is written or read.
pub(super) const BYTES_MAX: u64 = 64 << 20;

/// All of a checkpoint but its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub epoch: u64,
    pub text: String,
    pub lanes: usize,
    pub inputs: Vec<InputMark>,
    pub watermark: i64,
    pub left: Option<u64>,
    pub counters: BTreeMap<String, u64>,
    pub notes: Vec<StateNote>,
    /// Invariant: ascending, each table once.
    pub tables: Vec<TableEntry>,
}

/// Where the rows of a table lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableEntry {
    pub table: TableId,
    pub key_columns: usize,
    /// The later one's rows count.
    pub segments: Vec<Segment>,
}

/// What a file that should be a manifest is.
#[derive(Debug)]
pub(super) enum Parsed {
    Whole(Box<Manifest>),
    /// It has this format, which is newer than ours.
    Newer(u32),
    /// Why it cannot be used: a whole sentence.
    Damaged(String),
}

impl Manifest {
    /// The manifest of a checkpoint whose rows lie in these segments.
    pub(super) fn new(checkpoint: &Checkpoint, tables: Vec<TableEntry>) -> Self {
        Self {
            epoch: checkpoint.epoch,
            text: checkpoint.text.clone(),
            lanes: checkpoint.lanes,
            inputs: checkpoint.inputs.clone(),
            watermark: checkpoint.watermark,
            left: checkpoint.left,
            counters: checkpoint.counters.clone(),
            notes: checkpoint.state.notes.clone(),
            tables,
        }
    }

    /// The checkpoint, given its state.
    pub(super) fn checkpoint(&self, state: StateImage) -> Checkpoint {
        Checkpoint {
            epoch: self.epoch,
            text: self.text.clone(),
            lanes: self.lanes,
            inputs: self.inputs.clone(),
            watermark: self.watermark,
            left: self.left,
            counters: self.counters.clone(),
            state,
        }
    }

    /// Where a table's rows lie.
    pub(super) fn table(&self, table: TableId) -> Option<&TableEntry> {
        let place = self
            .tables
            .binary_search_by_key(&table, |entry| entry.table);
        place.ok().map(|place| &self.tables[place])
    }

    /// The epochs whose state files it needs.
    pub(super) fn files(&self) -> BTreeSet<u64> {
        let segments = self.tables.iter().flat_map(|entry| &entry.segments);
        segments.map(|segment| segment.file).collect()
    }

    /// The bytes of the file.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let body = serde_json::to_string(self)
            .map_err(|error| Error::internal(format!("a manifest has no JSON form: {error}")))?;
        let sum = checksum(FORMAT, body.as_bytes());
        let file = format!("{{\"format\":{FORMAT},\"crc32c\":{sum},\"body\":{body}}}\n");
        if file.len() as u64 > BYTES_MAX {
            return Err(Error::user(
                SqlState::ProgramLimitExceeded,
                format!(
                    "the query's state has too many parts: {}",
                    self.tables.len()
                ),
            )
            .detail(format!(
                "Its manifest would have {} bytes, at most {BYTES_MAX} are allowed.",
                file.len()
            ))
            .hint("Use larger windows, or fewer that are open at a time."));
        }
        Ok(file.into_bytes())
    }

    /// What the bytes of a file are that should be the manifest of an epoch.
    pub(super) fn parse(file: &[u8], epoch: u64) -> Parsed {
        let Some((format, sum, body)) = unframed(file) else {
            return damaged("It does not begin and end as a manifest does.");
        };
        if sum != checksum(format, body) {
            return damaged("Its checksum does not match: it was changed.");
        }
        if format > FORMAT {
            return Parsed::Newer(format);
        }
        if format != FORMAT {
            return damaged(&format!(
                "It has the format {format}, which there never was."
            ));
        }
        let manifest: Self = match serde_json::from_slice(body) {
            Ok(manifest) => manifest,
            Err(error) => return damaged(&format!("Its body is not understood: {error}.")),
        };
        if manifest.epoch != epoch {
            let inside = manifest.epoch;
            return damaged(&format!("It is that of epoch {inside}: it was renamed."));
        }
        if !manifest
            .tables
            .is_sorted_by(|one, next| one.table < next.table)
        {
            return damaged("A table is named twice.");
        }
        if manifest.files().last().is_some_and(|file| *file > epoch) {
            return damaged("It names the state of a later epoch.");
        }
        Parsed::Whole(Box::new(manifest))
    }
}

fn damaged(why: &str) -> Parsed {
    Parsed::Damaged(why.to_owned())
}

/// Format, checksum and body of a file.
fn unframed(file: &[u8]) -> Option<(u32, u32, &[u8])> {
    let (format, rest) = number(file.strip_prefix(b"{\"format\":")?)?;
    let (sum, rest) = number(rest.strip_prefix(b",\"crc32c\":")?)?;
    let body = rest.strip_prefix(b",\"body\":")?.strip_suffix(b"}\n")?;
    Some((format, sum, body))
}

/// The number that a text begins with, in its one form, and the rest.
fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = text.split_at(end);
    let number: u32 = str::from_utf8(digits).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == digits).then_some((number, rest))
}

fn checksum(format: u32, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(format.to_string().as_bytes()), body)
}

/// The name of an epoch's manifest.
pub(super) fn manifest_name(epoch: u64) -> String {
    format!("{MANIFEST}{epoch:020}{MANIFEST_END}")
}

/// The name of the file of the rows that changed in an epoch.
pub(super) fn state_name(epoch: u64) -> String {
    format!("{STATE}{epoch:020}{STATE_END}")
}

/// The epoch of the manifest that has this name.
pub(super) fn manifest_epoch(name: &str) -> Option<u64> {
    epoch(name, MANIFEST, MANIFEST_END)
}

/// The epoch of the state file that has this name.
pub(super) fn state_epoch(name: &str) -> Option<u64> {
    epoch(name, STATE, STATE_END)
}

const MANIFEST: &str = "checkpoint-";
const MANIFEST_END: &str = ".json";
const STATE: &str = "state-";
const STATE_END: &str = ".arrow";

fn epoch(name: &str, start: &str, end: &str) -> Option<u64> {
    let digits = name.strip_prefix(start)?.strip_suffix(end)?;
    let epoch: u64 = digits.parse().ok()?;
    (format!("{epoch:020}") == digits).then_some(epoch)
}
