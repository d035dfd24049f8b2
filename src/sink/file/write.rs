//! What waits, as the bytes of a file.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::encode::{csv_header, plain};
use super::{FileFormat, ParquetCompression};
use crate::error::{Error, Result, SqlState};

/// A row group is written when it is so long, which bounds what of a file is in memory.
const ROW_GROUP_BYTES: usize = 64 << 20;
const CREATED_BY: &str = concat!("headwater version ", env!("CARGO_PKG_VERSION"));

/// Gives the items of a file one after the other; `None`: there are no more.
pub(super) type Next<'a> = dyn FnMut() -> Result<Option<Vec<u8>>> + 'a;

/// Writes files of one schema.
#[derive(Debug)]
pub(super) struct FileWriter {
    format: FileFormat,
    schema: SchemaRef,
}

impl FileWriter {
    /// # Errors
    /// A column that the format has no form for.
    pub(super) fn try_new(format: FileFormat, schema: &SchemaRef) -> Result<Self> {
        let schema = match format {
            FileFormat::Ndjson | FileFormat::Csv => Arc::clone(schema),
            FileFormat::Parquet(_) => plain(schema)?,
        };
        let writer = Self { format, schema };
        // A file without rows shows what the library does not write.
        if let FileFormat::Parquet(_) = format {
            let written = writer.write(&mut Vec::<u8>::new(), &mut || Ok(None));
            written.map_err(|error| {
                let text = format!("the query's columns cannot be written as Parquet: {error}");
                Error::user(SqlState::FeatureNotSupported, text)
                    .hint("Cast the column to another type in the sink's query.")
            })?;
        }
        Ok(writer)
    }

    /// The end of the files' names.
    pub(super) fn ending(&self) -> &'static str {
        match self.format {
            FileFormat::Ndjson => "ndjson",
            FileFormat::Csv => "csv",
            FileFormat::Parquet(_) => "parquet",
        }
    }

    /// Writes a whole file.
    ///
    /// # Errors
    /// What `to` says, and what `next` says.
    pub(super) fn write(&self, to: &mut (dyn Write + Send), next: &mut Next<'_>) -> io::Result<()> {
        match self.format {
            FileFormat::Ndjson => lines(to, next),
            FileFormat::Csv => {
                to.write_all(&csv_header(&self.schema))?;
                lines(to, next)
            }
            FileFormat::Parquet(compression) => self.parquet(compression, to, next),
        }
    }

    fn parquet(
        &self,
        compression: ParquetCompression,
        to: &mut (dyn Write + Send),
        next: &mut Next<'_>,
    ) -> io::Result<()> {
        let properties = WriterProperties::builder()
            .set_compression(match compression {
                ParquetCompression::Zstd => Compression::ZSTD(ZstdLevel::default()),
                ParquetCompression::Snappy => Compression::SNAPPY,
                ParquetCompression::None => Compression::UNCOMPRESSED,
            })
            .set_created_by(CREATED_BY.to_owned())
            .build();
        // Other programs go by Parquet's own types.
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true);
        let schema = Arc::clone(&self.schema);
        let mut writer =
            ArrowWriter::try_new_with_options(to, schema, options).map_err(from_parquet)?;
        while let Some(item) = next().map_err(io::Error::other)? {
            let batches = StreamReader::try_new(item.as_slice(), None).map_err(io::Error::other)?;
            for rows in batches {
                writer
                    .write(&rows.map_err(io::Error::other)?)
                    .map_err(from_parquet)?;
            }
            if writer.in_progress_size() > ROW_GROUP_BYTES {
                writer.flush().map_err(from_parquet)?;
            }
        }
        writer.close().map(drop).map_err(from_parquet)
    }
}

fn lines(to: &mut (dyn Write + Send), next: &mut Next<'_>) -> io::Result<()> {
    while let Some(item) = next().map_err(io::Error::other)? {
        to.write_all(&item)?;
    }
    Ok(())
}

/// What the disk has said stays what it is.
fn from_parquet(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(inner) => io::Error::other(inner),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
    use arrow::datatypes::{DataType, Field, IntervalUnit, Schema};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::sink::file::encode::Encode;
    use crate::sink::file::partition::Partitioner;
    use crate::sink::outbox::Form;
    use crate::types::ProcessingTime;

    fn written(format: FileFormat) -> Vec<u8> {
        let rows = RecordBatch::try_from_iter([
            (
                "k",
                Arc::new(StringViewArray::from(vec![
                    "a",
                    "a string that is no short one",
                ])) as ArrayRef,
            ),
            (
                "n",
                Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef,
            ),
        ])
        .unwrap();
        let partitioner = Partitioner::try_new(&[], &rows.schema()).unwrap();
        let writer = FileWriter::try_new(format, partitioner.schema()).unwrap();
        let encode = Encode::try_new(format, partitioner).unwrap();
        let items = encode.items(&rows, ProcessingTime(0)).unwrap();
        let mut items = [items.clone(), items].concat().into_iter();
        let mut bytes = Vec::new();
        let mut next = || Ok(items.next().map(|item| item.payload));
        writer.write(&mut bytes, &mut next).unwrap();
        bytes
    }

    #[test]
    fn a_file_has_all_items_in_order() {
        let text = String::from_utf8(written(FileFormat::Csv)).unwrap();
        let rows = "a,1\na string that is no short one,\n";
        assert_eq!(text, format!("k,n\n{rows}{rows}"));
        let text = String::from_utf8(written(FileFormat::Ndjson)).unwrap();
        assert_eq!(text.lines().count(), 4);
    }

    #[test]
    fn parquet_reads_back_under_each_compression() {
        for compression in [
            ParquetCompression::Zstd,
            ParquetCompression::Snappy,
            ParquetCompression::None,
        ] {
            let bytes = bytes::Bytes::from(written(FileFormat::Parquet(compression)));
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
            let names: Vec<String> = reader
                .schema()
                .fields()
                .iter()
                .map(|field| format!("{} {}", field.name(), field.data_type()))
                .collect();
            assert_eq!(names, ["k Utf8", "n Int64"]);
            let rows = reader.build().unwrap().map(|rows| rows.unwrap().num_rows());
            assert_eq!(rows.sum::<usize>(), 4);
        }
    }

    #[test]
    fn what_parquet_has_not_is_told_before_anything_is_written() {
        let field = Field::new("d", DataType::Interval(IntervalUnit::MonthDayNano), true);
        let schema = Arc::new(Schema::new(vec![field]));
        let format = FileFormat::Parquet(ParquetCompression::Zstd);
        let error = FileWriter::try_new(format, &schema).unwrap_err();
        assert_eq!(error.state(), SqlState::FeatureNotSupported);
        FileWriter::try_new(FileFormat::Csv, &schema).unwrap();
    }

    #[test]
    fn what_the_disk_says_goes_through() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let format = FileFormat::Parquet(ParquetCompression::None);
        let writer = FileWriter::try_new(format, &schema).unwrap();
        let error = writer.write(&mut Full, &mut || Ok(None)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
