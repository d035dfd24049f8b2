//! Opening a partition's directory: what its segments hold, and what must be cut off.
//!
//! A segment that was closed has a state file beside it, which is believed when the lengths agree;
//! any other is read through, and cut after its last intact batch.
//! Invariant: what is returned holds intact batches in ascending offset order.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::producers::Producers;
use super::segment::{Known, Segment, state_path};
use super::transactions::LogTransactions;
use crate::broker::batch::{BatchHeader, HEADER_BYTES, control_outcome};

/// Raised when what a state file means changes; others are not believed.
const STATE_VERSION: u32 = 1;

/// What follows from the batches of a partition, up to some offset.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogState {
    pub(crate) producers: Producers,
    pub(crate) transactions: LogTransactions,
}

impl LogState {
    /// Takes in a batch that was written; `outcome` is what a marker says.
    pub(crate) fn written(&mut self, header: &BatchHeader, outcome: Option<bool>) {
        let transactions = &mut self.transactions;
        self.producers
            .written(header, header.base_offset, |id| transactions.is_open(id));
        match outcome {
            Some(committed) => {
                transactions.ended(header.producer_id, committed, header.base_offset);
            }
            None if header.is_transactional() && !header.is_control() => {
                transactions.written(header.producer_id, header.base_offset);
            }
            None => {}
        }
    }
}

/// A segment's state file.
#[derive(Serialize, Deserialize)]
struct StateFile {
    version: u32,
    segment: Known,
    /// After the segment's last batch.
    log: LogState,
}

/// Writes the state file of a segment that is complete.
pub(crate) fn write_state(path: &Path, segment: &Known, log: &LogState) -> io::Result<()> {
    let state = StateFile {
        version: STATE_VERSION,
        segment: segment.clone(),
        log: log.clone(),
    };
    let new = path.with_extension("state-new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(&state)?)?;
    fs::rename(new, path)
}

/// The segments of a directory, oldest first, and what follows from their batches. The last one
/// is open for writing.
pub(crate) fn open(dir: &Path) -> io::Result<(Vec<Segment>, LogState)> {
    let mut log = LogState::default();
    let mut segments: Vec<Segment> = Vec::new();
    let mut end = 0;
    for (base_offset, path) in segment_files(dir)? {
        let known = match read_state(&path) {
            Some(state) => {
                log = state.log;
                state.segment
            }
            None => scan(&path, base_offset.max(end), &mut log)?,
        };
        end = known.end_offset;
        if let Some(previous) = segments.last_mut() {
            previous.seal();
        }
        segments.push(Segment::reopen(path, base_offset, known)?);
    }
    if let Some(path) = segments.last().and_then(Segment::state_path) {
        // The last segment grows: what was known of it will soon be wrong.
        fs::remove_file(path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
    }
    Ok((segments, log))
}

fn segment_files(dir: &Path) -> io::Result<Vec<(i64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let is_segment = path.extension().is_some_and(|extension| extension == "log");
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .map(str::parse::<i64>);
        if let (true, Some(Ok(base_offset))) = (is_segment, name) {
            files.push((base_offset, path));
        }
    }
    files.sort();
    Ok(files)
}

fn read_state(segment: &Path) -> Option<StateFile> {
    let state: StateFile = serde_json::from_slice(&fs::read(state_path(segment)).ok()?).ok()?;
    let bytes = fs::metadata(segment).ok()?.len();
    (state.version == STATE_VERSION && state.segment.bytes == bytes).then_some(state)
}

/// Reads a segment up to its last intact batch.
fn scan(path: &Path, base_offset: i64, log: &mut LogState) -> io::Result<Known> {
    let mut known = Known::empty(base_offset);
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(256 << 10, file);
    let mut batch = Vec::new();
    while let Some(header) = read_batch(&mut reader, length - known.bytes, &mut batch)? {
        if header.base_offset < known.end_offset || !header.is_intact(&batch) {
            break;
        }
        let outcome = if header.is_control() {
            control_outcome(&batch)
        } else {
            None
        };
        log.written(&header, outcome);
        known.add(&header);
    }
    if known.bytes < length {
        warn!(
            segment = %path.display(),
            kept_bytes = known.bytes,
            cut_bytes = length - known.bytes,
            "cut off what was written incompletely"
        );
    }
    Ok(known)
}

/// Reads the next batch whole; `None` where no batch begins or not all of it is there.
fn read_batch(
    reader: &mut impl Read,
    left: u64,
    batch: &mut Vec<u8>,
) -> io::Result<Option<BatchHeader>> {
    if left < HEADER_BYTES as u64 {
        return Ok(None);
    }
    batch.resize(HEADER_BYTES, 0);
    reader.read_exact(batch)?;
    let Some(header) = BatchHeader::parse(batch).filter(|header| header.bytes as u64 <= left)
    else {
        return Ok(None);
    };
    batch.resize(header.bytes, 0);
    reader.read_exact(&mut batch[HEADER_BYTES..])?;
    Ok(Some(header))
}
