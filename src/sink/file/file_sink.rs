//! A query's rows on their way into files: what is looked at, and what is opened.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::encode::Encode;
use super::folders::Rules;
use super::partition::Partitioner;
use super::place::Place;
use super::reserved;
use super::roller::{Files, Roller};
use super::write::FileWriter;
use super::{FileOptions, FilePlace};
use crate::error::Result;
use crate::sink::outbox::{OutboxSink, Outboxes, Work};

/// Opens sinks whose rows go into files.
#[derive(Debug)]
pub struct FileSink;

impl FileSink {
    /// Looks whether rows of a schema can be written so; nothing is written.
    ///
    /// # Errors
    /// A directory of the server's own, a column that names no folder or that the format has no form for, an object
    /// store's options that are wrong.
    pub fn check(options: &FileOptions, schema: &Schema) -> Result<()> {
        if let FilePlace::Directory(dir) = &options.place {
            reserved::check(dir, &options.reserved)?;
        }
        let partitioner = Partitioner::try_new(&options.partitions, schema)?;
        FileWriter::try_new(options.format, partitioner.schema())?;
        Encode::try_new(options.format, partitioner)?;
        Place::try_new(options).map(drop)
    }

    /// Looks whether files can be put where they are to lie, and makes the directory if it is missing.
    /// `false`: only writing will tell.
    ///
    /// # Errors
    /// When they cannot.
    pub fn prepare(options: &FileOptions) -> Result<bool> {
        Place::try_new(options)?.check()
    }

    /// A sink for rows of a schema, by its outbox.
    ///
    /// # Errors
    /// As [`Self::check`], and what the disk says.
    pub fn open(
        options: &FileOptions,
        schema: &SchemaRef,
        outboxes: &Outboxes,
    ) -> Result<OutboxSink> {
        let partitioner = Partitioner::try_new(&options.partitions, schema)?;
        let writer = FileWriter::try_new(options.format, partitioner.schema())?;
        let encode = Encode::try_new(options.format, partitioner)?;
        let place = Place::try_new(options)?;
        let rules = Rules {
            roll_bytes: options.roll_bytes,
            roll_interval: options.roll_interval,
        };
        let made_of = format!("{options:?} {schema:?}");
        let outbox = outboxes.open_with(&options.outbox, made_of, |outbox, shutdown| {
            let files = Files { place, writer };
            let roller = Roller::new(Arc::clone(&outbox), shutdown, files, rules);
            Ok(Box::new(move || roller.run()) as Work)
        })?;
        OutboxSink::with(outbox, Box::new(encode))
    }
}
