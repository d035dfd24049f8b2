//! One segment: a run of a partition's batches in one file, with a sparse index.
//!
//! Knows nothing of producers, transactions or retention.
//! Invariant: blocks of the index lie end to end, each begins with a batch, and a block is at
//! least [`BLOCK_BYTES`] long unless it is the last.
//!
//! ```text
//! 00000000000000000120.log   | batch | batch | batch | batch | batch ..
//! index                      | block 0 .. 32 KiB     | block 1 ..
//! ```

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::broker::append_file::{AppendFile, SharedMemory, Source, append_memory};
use crate::broker::batch::{BatchHeader, HEADER_BYTES};

/// Looking an offset up reads about this much beside what was asked for.
const BLOCK_BYTES: u64 = 32 << 10;
/// A block, and the header of the batch after it.
const WINDOW_SLACK: usize = (32 << 10) + HEADER_BYTES;

/// A part of a segment, as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Block {
    /// Offset of its first record.
    offset: i64,
    /// Where it begins in the segment.
    position: u64,
    /// The greatest timestamp in it.
    max_timestamp: i64,
}

/// A run of batches.
#[derive(Debug)]
pub(crate) struct Segment {
    base_offset: i64,
    known: Known,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Memory(SharedMemory),
    Open {
        path: PathBuf,
        file: AppendFile,
    },
    /// Opened for each read, so that old segments hold no file open.
    Sealed {
        path: PathBuf,
    },
}

impl Segment {
    /// An empty segment, in a directory or in memory.
    pub(crate) fn create(dir: Option<&Path>, base_offset: i64) -> io::Result<Self> {
        let storage = match dir {
            None => Storage::Memory(SharedMemory::default()),
            Some(dir) => {
                let path = path_of(dir, base_offset);
                let file = AppendFile::open(&path, Some(0))?;
                Storage::Open { path, file }
            }
        };
        Ok(Self {
            base_offset,
            known: Known::empty(base_offset),
            storage,
        })
    }

    /// A segment that is on disk already, opened for writing after its first `bytes`.
    pub(crate) fn reopen(path: PathBuf, base_offset: i64, known: Known) -> io::Result<Self> {
        let file = AppendFile::open(&path, Some(known.bytes))?;
        Ok(Self {
            base_offset,
            known,
            storage: Storage::Open { path, file },
        })
    }

    /// Writes a batch at the end: `header` as it is to lie in the log, then its bytes.
    pub(crate) fn append(&mut self, header: &BatchHeader, parts: [&[u8]; 2]) -> io::Result<()> {
        let mut slices = parts.map(IoSlice::new);
        match &mut self.storage {
            Storage::Memory(memory) => append_memory(memory, &slices),
            Storage::Open { file, .. } => file.append(&mut slices)?,
            Storage::Sealed { .. } => return Err(io::Error::other("the segment is sealed")),
        }
        self.known.add(header);
        Ok(())
    }

    /// Closes the file: nothing more is written here.
    pub(crate) fn seal(&mut self) {
        if let Storage::Open { path, .. } = &mut self.storage {
            self.storage = Storage::Sealed {
                path: std::mem::take(path),
            };
        }
        self.known.blocks.shrink_to_fit();
    }

    /// Removes the files.
    pub(crate) fn remove(self) -> io::Result<()> {
        match &self.storage {
            Storage::Memory(_) => Ok(()),
            Storage::Open { path, .. } | Storage::Sealed { path } => {
                match fs::remove_file(state_path(path)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
                fs::remove_file(path)
            }
        }
    }

    /// Where what is known of the segment is kept; `None` in memory.
    pub(crate) fn state_path(&self) -> Option<PathBuf> {
        match &self.storage {
            Storage::Memory(_) => None,
            Storage::Open { path, .. } | Storage::Sealed { path } => Some(state_path(path)),
        }
    }

    /// The segment's bytes, to read from.
    pub(crate) fn source(&self) -> io::Result<Source> {
        Ok(match &self.storage {
            Storage::Memory(memory) => Source::Memory(Arc::clone(memory)),
            Storage::Open { file, .. } => file.source(),
            Storage::Sealed { path } => Source::File(Arc::new(File::open(path)?)),
        })
    }

    /// True once nothing more is written to it.
    pub(crate) fn is_sealed(&self) -> bool {
        matches!(self.storage, Storage::Sealed { .. })
    }

    /// Offset of its first record.
    pub(crate) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// Bytes in it.
    pub(crate) fn bytes(&self) -> u64 {
        self.known.bytes
    }

    /// The offset after its last record.
    pub(crate) fn end_offset(&self) -> i64 {
        self.known.end_offset
    }

    /// What a later start needs to know of it.
    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    /// Where the block that holds an offset begins.
    pub(crate) fn position_of(&self, offset: i64) -> u64 {
        let after = self
            .known
            .blocks
            .partition_point(|block| block.offset <= offset);
        after
            .checked_sub(1)
            .map_or(0, |at| self.known.blocks[at].position)
    }

    /// The greatest timestamp in it; `None` when it is empty.
    pub(crate) fn max_timestamp(&self) -> Option<i64> {
        self.known
            .blocks
            .iter()
            .map(|block| block.max_timestamp)
            .max()
    }

    /// The parts of the segment that hold a record at or after a timestamp, in order.
    pub(crate) fn blocks_since(&self, timestamp: i64) -> impl Iterator<Item = Range<u64>> + '_ {
        let blocks = &self.known.blocks;
        let ends = blocks
            .iter()
            .skip(1)
            .map(|next| next.position)
            .chain([self.known.bytes]);
        let late = blocks
            .iter()
            .zip(ends)
            .filter(move |(b, _)| b.max_timestamp >= timestamp);
        late.map(|(block, end)| block.position..end)
    }
}

/// What is known of a segment's file without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Its length.
    pub(crate) bytes: u64,
    /// The offset after its last record.
    pub(crate) end_offset: i64,
    blocks: Vec<Block>,
}

impl Known {
    /// A segment without batches.
    pub(crate) fn empty(base_offset: i64) -> Self {
        Self {
            bytes: 0,
            end_offset: base_offset,
            blocks: Vec::new(),
        }
    }

    /// Takes in the batch that follows; its header tells its offset as it lies in the log.
    pub(crate) fn add(&mut self, header: &BatchHeader) {
        match self.blocks.last_mut() {
            Some(block) if self.bytes - block.position < BLOCK_BYTES => {
                block.max_timestamp = block.max_timestamp.max(header.max_timestamp);
            }
            Some(_) | None => self.blocks.push(Block {
                offset: header.base_offset,
                position: self.bytes,
                max_timestamp: header.max_timestamp,
            }),
        }
        self.bytes += header.bytes as u64;
        self.end_offset = header.last_offset() + 1;
    }
}

/// The file of the segment that begins at an offset.
pub(crate) fn path_of(dir: &Path, base_offset: i64) -> PathBuf {
    dir.join(format!("{base_offset:020}.log"))
}

/// The file beside a segment that tells what is known of it.
pub(crate) fn state_path(segment: &Path) -> PathBuf {
    segment.with_extension("state")
}

/// What to read from a segment: whole batches from an offset up to a limit.
#[derive(Debug)]
pub(crate) struct Read {
    /// Where to read.
    pub(crate) source: Source,
    /// A position at or before the wanted batch, at the start of a batch.
    pub(crate) position: u64,
    /// Where the segment ended when this was planned.
    pub(crate) end: u64,
    /// The wanted offset.
    pub(crate) from: i64,
    /// Batches that begin here or later are left out.
    pub(crate) limit: i64,
}

/// Whole batches that lie end to end.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Batches {
    pub(crate) bytes: Bytes,
    /// The offset after their last record.
    pub(crate) end_offset: i64,
}

impl Read {
    /// Bytes that it can yield at most.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.end - self.position
    }

    /// Reads as many whole batches as fit into `bytes_max`; with `at_least_one`, the first one
    /// whatever its size. Blocks on the disk.
    pub(crate) fn run(&self, bytes_max: usize, at_least_one: bool) -> io::Result<Batches> {
        let window_bytes = bytes_max.saturating_add(WINDOW_SLACK);
        let mut position = self.position;
        let mut buffer = self.window(position, window_bytes)?;
        let mut first = 0;
        while let Some(header) = BatchHeader::parse(&buffer[first..])
            && header.last_offset() < self.from
        {
            first += header.bytes;
            if first + HEADER_BYTES > buffer.len() {
                position += first as u64;
                buffer = self.window(position, window_bytes)?;
                first = 0;
            }
        }
        let wanted = &buffer[first..];
        let mut taken = 0;
        let mut end_offset = self.from;
        while let Some(header) = BatchHeader::parse(&wanted[taken..])
            && header.base_offset < self.limit
            && taken + header.bytes <= wanted.len().min(bytes_max)
        {
            taken += header.bytes;
            end_offset = header.last_offset() + 1;
        }
        if taken == 0 && !wanted.is_empty() {
            let header = BatchHeader::parse(wanted)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no batch header"))?;
            if at_least_one && header.base_offset < self.limit {
                let bytes = self.window(position + first as u64, header.bytes)?;
                return Ok(Batches {
                    bytes,
                    end_offset: header.last_offset() + 1,
                });
            }
        }
        Ok(Batches {
            bytes: buffer.slice(first..first + taken),
            end_offset,
        })
    }

    fn window(&self, position: u64, bytes_max: usize) -> io::Result<Bytes> {
        let there = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
        let mut buffer = BytesMut::zeroed(there.min(bytes_max));
        self.source.read_exact_at(&mut buffer, position)?;
        Ok(buffer.freeze())
    }
}
