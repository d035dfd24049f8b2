//! A segment: rows of one table in one state file, as an Arrow IPC stream.
//!
//! Invariant: rows are made only of bytes whose checksum is that of the bytes that were written.

use std::io::{self, Write};

use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

/// Where rows of a table lie.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Segment {
    /// The epoch whose state file it is.
    pub file: u64,
    pub offset: u64,
    pub length: u64,
    pub crc32c: u32,
    pub rows: u64,
}

/// Writes segments one after the other.
pub(super) struct SegmentWriter<'a> {
    to: &'a mut dyn Write,
    file: u64,
    /// How much was written, and the checksum since the segment's start.
    length: u64,
    sum: u32,
}

impl<'a> SegmentWriter<'a> {
    /// Writes the state file of an epoch.
    pub(super) fn new(file: u64, to: &'a mut dyn Write) -> Self {
        Self {
            to,
            file,
            length: 0,
            sum: 0,
        }
    }

    /// Writes batches of one schema, of which there is at least one.
    pub(super) fn write(&mut self, batches: &[RecordBatch]) -> io::Result<Segment> {
        let offset = self.length;
        self.sum = 0;
        self.stream(batches).map_err(io_error)?;
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        Ok(Segment {
            file: self.file,
            offset,
            length: self.length - offset,
            crc32c: self.sum,
            rows,
        })
    }

    fn stream(&mut self, batches: &[RecordBatch]) -> Result<(), ArrowError> {
        let mut stream = StreamWriter::try_new(&mut *self, &batches[0].schema())?;
        for batch in batches {
            stream.write(batch)?;
        }
        stream.finish()
    }
}

impl Write for SegmentWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.sum = crc32c::crc32c_append(self.sum, &bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Segment {
    /// The rows, from the bytes that were read in the segment's place; an error says why not: a whole
    /// sentence.
    pub(super) fn decode(&self, bytes: Vec<u8>) -> Result<Vec<RecordBatch>, String> {
        if bytes.len() as u64 != self.length {
            return Err("It ends too early.".to_owned());
        }
        if crc32c::crc32c(&bytes) != self.crc32c {
            let end = self.offset.saturating_add(self.length);
            return Err(format!(
                "Its checksum does not match: it was changed between the bytes {} and {end}.",
                self.offset
            ));
        }
        let batches = decode_stream(Buffer::from_vec(bytes))
            .map_err(|error| format!("Its rows are not understood: {error}."))?;
        let rows: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        if rows != self.rows {
            return Err(format!("It holds {rows} rows instead of {}.", self.rows));
        }
        Ok(batches)
    }
}

fn decode_stream(mut bytes: Buffer) -> Result<Vec<RecordBatch>, ArrowError> {
    // This reader takes its buffers out of the bytes and allocates nothing by a length in them.
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    while let Some(batch) = decoder.decode(&mut bytes)? {
        batches.push(batch);
    }
    decoder.finish()?;
    Ok(batches)
}

fn io_error(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        other => io::Error::other(crate::error::from_arrow(other)),
    }
}
