//! The options of a sink that writes files.

use std::time::Duration;

use super::http::{self, OUTBOX_BYTES};
use crate::catalog::options::{Options, invalid, value_text};
use crate::error::{Error, Result, SqlState};
use crate::sql::CreateSink;

/// Where files go, and what is in them.
#[derive(Debug, Clone)]
pub struct FileSinkTarget {
    /// Where they go.
    pub place: FileSinkPlace,
    /// What is in them.
    pub format: FileSinkFormat,
    /// What folders are made of; a column each.
    pub partitions: Vec<FileSinkPartition>,
    /// The columns of `partitions`.
    pub partition_columns: Vec<String>,
    /// A file ends when it has so many bytes.
    pub roll_bytes: u64,
    /// A file ends when its oldest row has waited so long; `None`: only by its size.
    pub roll_interval: Option<Duration>,
    /// Bytes that may wait before the sink's query waits too.
    pub outbox_bytes_max: u64,
}

/// Where files go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSinkPlace {
    /// A directory, by its absolute path.
    Directory(String),
    /// `s3://BUCKET/PATH`.
    S3(String),
}

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSinkFormat {
    /// A JSON object a line.
    Ndjson,
    /// Comma-separated values, with a line of names.
    Csv,
    /// Parquet.
    Parquet(FileSinkCompression),
}

/// How a Parquet file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSinkCompression {
    /// Zstandard.
    Zstd,
    /// Snappy.
    Snappy,
    /// Not at all.
    None,
}

/// What a folder is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSinkPartition {
    /// The column.
    pub column: String,
    /// How exactly the time is told; `None`: the value itself.
    pub unit: Option<FileSinkUnit>,
}

/// How exactly a time is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSinkUnit {
    /// `year(c)`
    Year,
    /// `month(c)`
    Month,
    /// `day(c)`
    Day,
    /// `hour(c)`
    Hour,
    /// `minute(c)`
    Minute,
}

#[derive(Debug, Clone, Copy)]
enum Word {
    Ndjson,
    Csv,
    Parquet,
}

const FORMATS: [(&str, Word); 3] = [
    ("ndjson", Word::Ndjson),
    ("csv", Word::Csv),
    ("parquet", Word::Parquet),
];

const COMPRESSIONS: [(&str, FileSinkCompression); 3] = [
    ("zstd", FileSinkCompression::Zstd),
    ("snappy", FileSinkCompression::Snappy),
    ("none", FileSinkCompression::None),
];

const UNITS: [(&str, FileSinkUnit); 5] = [
    ("year", FileSinkUnit::Year),
    ("month", FileSinkUnit::Month),
    ("day", FileSinkUnit::Day),
    ("hour", FileSinkUnit::Hour),
    ("minute", FileSinkUnit::Minute),
];

const ROLL_BYTES: u64 = 128_000_000;
const ROLL_INTERVAL: Duration = Duration::from_secs(60);
const PARTITIONS: &str =
    "columns, or the times of some: year(c), month(c), day(c), hour(c), minute(c)";

/// Takes the options.
pub(super) fn target(options: &mut Options<'_>, clause: &CreateSink) -> Result<FileSinkTarget> {
    http::refuse_key(clause, "file")?;
    let partitions = partitions(options)?;
    let interval = options.duration("roll_interval", Some(ROLL_INTERVAL))?;
    if let (Some(Duration::ZERO), Some(clause)) = (interval, options.given("roll_interval")) {
        return Err(invalid(clause, "an interval above zero, or 'off'"));
    }
    Ok(FileSinkTarget {
        place: place(options)?,
        format: format(options)?,
        partition_columns: partitions.iter().map(|by| by.column.clone()).collect(),
        partitions,
        roll_bytes: http::bytes(options, "roll_bytes")?.unwrap_or(ROLL_BYTES),
        roll_interval: interval,
        outbox_bytes_max: http::bytes(options, "outbox_bytes_max")?.unwrap_or(OUTBOX_BYTES),
    })
}

fn place(options: &mut Options<'_>) -> Result<FileSinkPlace> {
    let path = options.required("path", "s3://bucket/trades")?;
    let found = match path.split_once("://") {
        Some(("s3", rest)) if !rest.is_empty() && !rest.starts_with('/') => {
            return Ok(FileSinkPlace::S3(path));
        }
        Some(("file", dir)) => dir,
        Some(_) => "",
        None => &path,
    };
    match (found.starts_with('/'), options.given("path")) {
        (false, Some(clause)) => Err(invalid(
            clause,
            "a directory's whole path, 'file:///DIR' or 's3://BUCKET/PATH'",
        )),
        _ => Ok(FileSinkPlace::Directory(found.to_owned())),
    }
}

fn format(options: &mut Options<'_>) -> Result<FileSinkFormat> {
    if options.given("format").is_none() {
        options.required("format", "parquet")?;
    }
    let word = options.word("format", &FORMATS, Word::Ndjson)?;
    let compression = options.word("compression", &COMPRESSIONS, FileSinkCompression::Zstd)?;
    let format = match word {
        Word::Ndjson => FileSinkFormat::Ndjson,
        Word::Csv => FileSinkFormat::Csv,
        Word::Parquet => return Ok(FileSinkFormat::Parquet(compression)),
    };
    match options.given("compression") {
        None => Ok(format),
        Some(clause) => Err(Error::user(
            SqlState::InvalidTableDefinition,
            "only files of format parquet are compressed",
        )
        .hint("Leave compression out, or use format = 'parquet'.")
        .at(Some(clause.position))),
    }
}

fn partitions(options: &mut Options<'_>) -> Result<Vec<FileSinkPartition>> {
    let Some(clause) = options.take("partition_by")? else {
        return Ok(Vec::new());
    };
    let text = value_text(clause);
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let mut found: Vec<FileSinkPartition> = Vec::new();
    for part in parts {
        let by = partition(part).ok_or_else(|| invalid(clause, PARTITIONS))?;
        if found.contains(&by) {
            let text = format!("partition_by names {part} twice");
            return Err(
                Error::user(SqlState::DuplicateColumn, text).at(Some(clause.value_position))
            );
        }
        found.push(by);
    }
    Ok(found)
}

/// `column`, or `unit(column)`.
fn partition(text: &str) -> Option<FileSinkPartition> {
    let Some((unit, rest)) = text.split_once('(') else {
        let column = text.to_owned();
        return (!text.contains(')')).then_some(FileSinkPartition { column, unit: None });
    };
    let column = rest.strip_suffix(')')?.trim();
    let unit = unit.trim().to_ascii_lowercase();
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
    (!column.is_empty() && !column.contains(['(', ')'])).then(|| FileSinkPartition {
        column: column.to_owned(),
        unit: Some(*unit),
    })
}

impl FileSinkTarget {
    /// Where to.
    pub(super) fn place(&self) -> String {
        match &self.place {
            FileSinkPlace::Directory(path) | FileSinkPlace::S3(path) => path.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FileSinkUnit, partition};

    #[test]
    fn partitions_are_columns_or_times_of_them() {
        let read = |text| partition(text).map(|by| (by.column, by.unit));
        assert_eq!(read("sym"), Some(("sym".to_owned(), None)));
        let day = Some(("at".to_owned(), Some(FileSinkUnit::Day)));
        assert_eq!(read("day(at)"), day);
        assert_eq!(read("DAY ( at )"), day);
        for wrong in ["week(at)", "day()", "day(at", "at)", "day(hour(at))"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
