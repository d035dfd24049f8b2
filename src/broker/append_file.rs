//! Files that only grow, and their stand-in in memory.
//!
//! Invariant: an append is whole or not there at all: what a failed write left behind is cut off.
//! Nothing is synced to the disk: data outlives the process, not the machine's power.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

/// A file that is written at its end only.
#[derive(Debug)]
pub(crate) struct AppendFile {
    file: Arc<File>,
    bytes: u64,
    /// Set when the file's end could not be restored: nothing more is written to it.
    broken: bool,
}

impl AppendFile {
    /// Opens or makes the file, and cuts it to `bytes` where that is given.
    pub(crate) fn open(path: &Path, bytes: Option<u64>) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)?;
        let mut length = file.metadata()?.len();
        if let Some(bytes) = bytes.filter(|bytes| *bytes < length) {
            file.set_len(bytes)?;
            length = bytes;
        }
        Ok(Self {
            file: Arc::new(file),
            bytes: length,
            broken: false,
        })
    }

    /// Writes the parts one after the other at the end.
    pub(crate) fn append(&mut self, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other(
                "an earlier write failed and could not be undone",
            ));
        }
        let added: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if let Err(error) = write_all(&self.file, parts) {
            self.broken = self.file.set_len(self.bytes).is_err();
            return Err(error);
        }
        self.bytes += added;
        Ok(())
    }

    /// Bytes in the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file, to read from.
    pub(crate) fn source(&self) -> Source {
        Source::File(Arc::clone(&self.file))
    }
}

fn write_all(mut file: &File, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0); // Leaves out empty parts at the front.
    while !parts.is_empty() {
        match file.write_vectored(parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Bytes in memory that are written at their end only.
#[derive(Debug, Default)]
pub(crate) struct MemoryFile {
    /// Invariant: each but the last holds exactly [`CHUNK_BYTES`].
    chunks: Vec<Vec<u8>>,
}

/// Large enough to be few, small enough that growing the last one is cheap.
const CHUNK_BYTES: usize = 256 << 10;

impl MemoryFile {
    fn append(&mut self, mut part: &[u8]) {
        while !part.is_empty() {
            if self
                .chunks
                .last()
                .is_none_or(|chunk| chunk.len() == CHUNK_BYTES)
            {
                self.chunks.push(Vec::new());
            }
            let chunk = self.chunks.last_mut().expect("one was pushed");
            let (now, later) = part.split_at(part.len().min(CHUNK_BYTES - chunk.len()));
            chunk.extend_from_slice(now);
            part = later;
        }
    }

    fn read_exact_at(&self, out: &mut [u8], position: u64) -> io::Result<()> {
        let mut at = usize::try_from(position).map_err(io::Error::other)?;
        let mut filled = 0;
        while filled < out.len() {
            let chunk = self
                .chunks
                .get(at / CHUNK_BYTES)
                .map_or(&[][..], Vec::as_slice);
            let from = chunk.get(at % CHUNK_BYTES..).unwrap_or_default();
            let taken = from.len().min(out.len() - filled);
            if taken == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            out[filled..filled + taken].copy_from_slice(&from[..taken]);
            filled += taken;
            at += taken;
        }
        Ok(())
    }
}

/// A [`MemoryFile`] that readers share with the writer.
pub(crate) type SharedMemory = Arc<RwLock<MemoryFile>>;

/// Appends to memory; cannot fail.
pub(crate) fn append_memory(memory: &SharedMemory, parts: &[IoSlice<'_>]) {
    let mut memory = memory.write().unwrap_or_else(PoisonError::into_inner);
    for part in parts {
        memory.append(part);
    }
}

/// Bytes to read from; what was there when it was taken stays readable.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// On disk, or still in the page cache.
    File(Arc<File>),
    /// In memory.
    Memory(SharedMemory),
}

impl Source {
    /// Fills `out` from a position; an error when there is less.
    pub(crate) fn read_exact_at(&self, out: &mut [u8], position: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(out, position),
            Self::Memory(memory) => memory
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .read_exact_at(out, position),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_reads_back_across_chunks_and_ends() {
        let memory = SharedMemory::default();
        let written: Vec<u8> = (0..=250).cycle().take(CHUNK_BYTES * 2 + 100).collect();
        for part in written.chunks(100_003) {
            append_memory(&memory, &[IoSlice::new(part), IoSlice::new(&[])]);
        }
        let source = Source::Memory(memory);
        for (at, length) in [
            (0, 10),
            (CHUNK_BYTES - 5, 10),
            (100, CHUNK_BYTES * 2),
            (0, 0),
        ] {
            let mut out = vec![0; length];
            source.read_exact_at(&mut out, at as u64).unwrap();
            assert_eq!(out, written[at..at + length], "from {at}");
        }
        let mut out = vec![0; 101];
        assert!(
            source
                .read_exact_at(&mut out, (CHUNK_BYTES * 2) as u64)
                .is_err(),
            "past the end"
        );
    }

    #[test]
    fn a_file_is_cut_to_the_wanted_length_and_grows_from_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut file = AppendFile::open(&path, None).unwrap();
        file.append(&mut [
            IoSlice::new(b""),
            IoSlice::new(b"abc"),
            IoSlice::new(b"def"),
        ])
        .unwrap();
        assert_eq!(file.bytes(), 6);
        let mut file = AppendFile::open(&path, Some(2)).unwrap();
        file.append(&mut [IoSlice::new(b"X")]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abX");
    }
}
