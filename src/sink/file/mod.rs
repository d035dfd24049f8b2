//! A query's rows into files of a directory or an object store, each row once.
//!
//! ```text
//! query ─► partition ─ encode ─► outbox ─► roller ─ plan: which next? ─► write ─► place
//!          by folder   a batch   exactly   its thread, by size and time           whole, or not at all
//!                      an item   once
//! ```
//! Rows wait in the outbox until there are enough of a folder, or the oldest has waited long enough. Which of them are
//! the next file is kept there before anything is written, and the file's name follows from it: after a crash the same
//! rows are written under the same name, and then leave the outbox.
//! Invariants: a file that has its name is whole; a row is in one file.

mod encode;
mod file_sink;
mod folders;
mod partition;
mod place;
mod reserved;
mod roller;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use file_sink::FileSink;

use crate::sink::outbox::OutboxSettings;

/// Where files go, and what is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// Where they go.
    pub place: FilePlace,
    /// Directories of the server's own, in which no file may lie.
    pub reserved: Vec<PathBuf>,
    /// How an object store is reached, by the names of the AWS tools.
    pub object_options: BTreeMap<String, String>,
    /// What is in them.
    pub format: FileFormat,
    /// What folders are made of.
    pub partitions: Vec<PartitionBy>,
    /// A file ends when it has at least so many bytes of rows, as they wait.
    pub roll_bytes: u64,
    /// A file ends when its oldest row has waited so long; `None`: only by its size.
    pub roll_interval: Option<Duration>,
    /// The outbox.
    pub outbox: OutboxSettings,
}

/// Where files go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilePlace {
    /// A directory.
    Directory(PathBuf),
    /// `s3://BUCKET/PATH`.
    S3(String),
}

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// A row a line, as a JSON object.
    Ndjson,
    /// A line with the columns' names, then a row a line.
    Csv,
    /// Columns, compressed.
    Parquet(ParquetCompression),
}

/// How the pages of a Parquet file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParquetCompression {
    /// Zstandard.
    Zstd,
    /// Snappy.
    Snappy,
    /// Not at all.
    None,
}

/// What a folder is made of: a column's value, or the time that it falls into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionBy {
    /// The column.
    pub column: String,
    /// How exactly the time is told; `None`: the value itself.
    pub unit: Option<PartitionUnit>,
}

/// How exactly a time is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionUnit {
    /// `2026`
    Year,
    /// `2026-01`
    Month,
    /// `2026-01-31`
    Day,
    /// `2026-01-31-23`
    Hour,
    /// `2026-01-31-23-59`
    Minute,
}
