//! A sink that writes files: its place is looked at, and made, before anything is kept.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::Writer;
use crate::catalog::{
    FileSinkCompression, FileSinkFormat, FileSinkPlace, FileSinkTarget, FileSinkUnit, OutboxOptions,
};
use crate::config::Config;
use crate::engine::OpenSink;
use crate::error::Result;
use crate::session::Services;
use crate::sink::file::{
    FileFormat, FileOptions, FilePlace, FileSink, ParquetCompression, PartitionBy, PartitionUnit,
};
use crate::task;

/// Opens the sink for each try of its query.
pub(super) fn open(
    services: &Services,
    target: &FileSinkTarget,
    writer: Writer<'_>,
    schema: &SchemaRef,
) -> OpenSink {
    let (options, schema) = (options(services, target, writer), Arc::clone(schema));
    let outboxes = Arc::clone(&services.outboxes);
    Box::new(move |_| Ok(Box::new(FileSink::open(&options, &schema, &outboxes)?)))
}

/// Looks whether rows of a schema can be written.
pub(super) fn check(
    services: &Services,
    target: &FileSinkTarget,
    writer: Writer<'_>,
    schema: &Schema,
) -> Result<()> {
    FileSink::check(&options(services, target, writer), schema)
}

/// Looks whether files can be put there; gives what is to be told.
pub(super) async fn prepare(
    services: &Services,
    target: &FileSinkTarget,
    writer: Writer<'_>,
) -> Result<Vec<String>> {
    let options = options(services, target, writer);
    let answers = task::spawn_blocking(move || FileSink::prepare(&options)).await?;
    Ok(match answers {
        true => Vec::new(),
        false => vec![
            "the bucket does not let its objects be listed; only writing will tell whether it takes files"
                .to_owned(),
        ],
    })
}

fn options(services: &Services, target: &FileSinkTarget, writer: Writer<'_>) -> FileOptions {
    let partitions = target.partitions.iter().map(|by| PartitionBy {
        column: by.column.clone(),
        unit: by.unit.map(unit),
    });
    FileOptions {
        place: match &target.place {
            FileSinkPlace::Directory(path) => FilePlace::Directory(PathBuf::from(path)),
            FileSinkPlace::S3(url) => FilePlace::S3(url.clone()),
        },
        reserved: own_directories(&services.config),
        object_options: services.config.object_options.clone(),
        format: match target.format {
            FileSinkFormat::Ndjson => FileFormat::Ndjson,
            FileSinkFormat::Csv => FileFormat::Csv,
            FileSinkFormat::Parquet(by) => FileFormat::Parquet(match by {
                FileSinkCompression::Zstd => ParquetCompression::Zstd,
                FileSinkCompression::Snappy => ParquetCompression::Snappy,
                FileSinkCompression::None => ParquetCompression::None,
            }),
        },
        partitions: partitions.collect(),
        roll_bytes: target.roll_bytes,
        roll_interval: target.roll_interval,
        outbox: writer.outbox(OutboxOptions {
            bytes_max: target.outbox_bytes_max,
            max_attempts: None,
        }),
    }
}

/// Where the server keeps what it needs.
fn own_directories(config: &Config) -> Vec<PathBuf> {
    let checkpoints = config.checkpoint_dir.iter();
    let checkpoints = checkpoints.filter_map(|place| match place.split_once("://") {
        Some(("file", dir)) => Some(PathBuf::from(dir)),
        Some(_) => None,
        None => Some(PathBuf::from(place)),
    });
    std::iter::once(config.data_dir.clone())
        .chain(checkpoints)
        .collect()
}

fn unit(unit: FileSinkUnit) -> PartitionUnit {
    match unit {
        FileSinkUnit::Year => PartitionUnit::Year,
        FileSinkUnit::Month => PartitionUnit::Month,
        FileSinkUnit::Day => PartitionUnit::Day,
        FileSinkUnit::Hour => PartitionUnit::Hour,
        FileSinkUnit::Minute => PartitionUnit::Minute,
    }
}
