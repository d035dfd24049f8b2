//! Rows as they wait for their file: lines of text as they will be in it, or an Arrow batch.
//!
//! Invariant: an item says by itself what it holds, whatever its query gives later.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;

use super::FileFormat;
use super::partition::Partitioner;
use crate::error::{Error, Result, SqlState, from_arrow};
use crate::format::JsonEncoder;
use crate::sink::outbox::{Form, Item};
use crate::sink::texts::Texts;
use crate::types::ProcessingTime;

/// Splits rows by their folders and encodes those of each.
pub(super) struct Encode {
    partitioner: Partitioner,
    encoder: Encoder,
}

enum Encoder {
    Ndjson(JsonEncoder),
    Csv(Texts),
    Arrow(SchemaRef),
}

impl Encode {
    /// # Errors
    /// A column that the format has no form for.
    pub(super) fn try_new(format: FileFormat, partitioner: Partitioner) -> Result<Self> {
        let schema = Arc::clone(partitioner.schema());
        let encoder = match format {
            FileFormat::Ndjson => Encoder::Ndjson(JsonEncoder::try_new(schema)?),
            FileFormat::Csv => Encoder::Csv(Texts::try_new(&schema)?),
            FileFormat::Parquet(_) => Encoder::Arrow(plain(&schema)?),
        };
        Ok(Self {
            partitioner,
            encoder,
        })
    }
}

impl Form for Encode {
    fn items(&self, rows: &RecordBatch, at: ProcessingTime) -> Result<Vec<Item>> {
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let item = |part: super::partition::Part| {
            Ok(Item {
                at,
                rows: part.rows.num_rows() as u64,
                payload: self.encoder.encode(&part.rows)?,
                key: Some(part.folder),
            })
        };
        self.partitioner
            .split(rows)?
            .into_iter()
            .map(item)
            .collect()
    }
}

impl Encoder {
    fn encode(&self, rows: &RecordBatch) -> Result<Vec<u8>> {
        match self {
            Self::Ndjson(encoder) => Ok(encoder.encode(rows)?.lines().to_vec()),
            Self::Csv(texts) => {
                let written = texts.write(rows)?;
                let mut lines = Vec::new();
                for row in 0..rows.num_rows() {
                    csv_line(written.row(row), &mut lines);
                }
                Ok(lines)
            }
            Self::Arrow(schema) => {
                let columns = rows.columns().iter().zip(schema.fields());
                let columns = columns.map(|(column, field)| cast(column, field.data_type()));
                let columns = columns.collect::<Result<_, _>>().map_err(from_arrow)?;
                let rows = RecordBatch::try_new(Arc::clone(schema), columns).map_err(from_arrow)?;
                let mut bytes = Vec::new();
                let mut writer = StreamWriter::try_new(&mut bytes, schema).map_err(from_arrow)?;
                writer.write(&rows).map_err(from_arrow)?;
                writer.finish().map_err(from_arrow)?;
                drop(writer);
                Ok(bytes)
            }
        }
    }
}

/// The first line of a CSV file.
pub(super) fn csv_header(schema: &Schema) -> Vec<u8> {
    let mut line = Vec::new();
    csv_line(
        schema
            .fields()
            .iter()
            .map(|field| Some(field.name().as_str())),
        &mut line,
    );
    line
}

/// RFC 4180, with `\n` at a line's end; NULL is nothing, and an empty text `""`.
fn csv_line<'a>(values: impl Iterator<Item = Option<&'a str>>, into: &mut Vec<u8>) {
    for (place, value) in values.enumerate() {
        if place > 0 {
            into.push(b',');
        }
        let Some(text) = value else { continue };
        let is_plain = !text.is_empty() && !text.contains([',', '"', '\n', '\r']);
        if is_plain {
            into.extend_from_slice(text.as_bytes());
            continue;
        }
        into.push(b'"');
        into.extend_from_slice(text.replace('"', "\"\"").as_bytes());
        into.push(b'"');
    }
    into.push(b'\n');
}

/// The columns as Parquet has them: views, whose buffers may be much longer than what they show, are copied.
pub(super) fn plain(schema: &Schema) -> Result<SchemaRef> {
    let field = |field: &Arc<Field>| {
        let own = match field.data_type() {
            DataType::Utf8View => DataType::Utf8,
            DataType::BinaryView => DataType::Binary,
            DataType::Null => DataType::Utf8,
            DataType::Interval(_) | DataType::Duration(_) => {
                let text = format!(
                    "column \"{}\" has a type that Parquet has not: interval",
                    field.name()
                );
                return Err(Error::user(SqlState::FeatureNotSupported, text)
                    .hint("Cast it to text in the sink's query."));
            }
            other => other.clone(),
        };
        Ok(field
            .as_ref()
            .clone()
            .with_data_type(own)
            .with_nullable(true))
    };
    let fields = schema.fields().iter().map(field);
    Ok(Arc::new(Schema::new(
        fields.collect::<Result<Vec<Field>>>()?,
    )))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn encoded(format: FileFormat) -> Vec<Item> {
        let texts = [Some("a,\"b\"\n"), None, Some("")];
        let rows = RecordBatch::try_from_iter([
            (
                "te,xt",
                Arc::new(StringArray::from(texts.to_vec())) as ArrayRef,
            ),
            (
                "n",
                Arc::new(Int64Array::from(vec![Some(1), Some(2), None])) as ArrayRef,
            ),
        ])
        .unwrap();
        let partitioner = Partitioner::try_new(&[], &rows.schema()).unwrap();
        let encode = Encode::try_new(format, partitioner).unwrap();
        encode.items(&rows, ProcessingTime(7)).unwrap()
    }

    #[test]
    fn csv_is_quoted_and_tells_null_from_an_empty_text() {
        let items = encoded(FileFormat::Csv);
        assert_eq!(items[0].rows, 3);
        let lines = String::from_utf8(items[0].payload.clone()).unwrap();
        assert_eq!(lines, "\"a,\"\"b\"\"\n\",1\n,2\n\"\",\n");
        let field = Field::new("te,xt", DataType::Utf8, true);
        let header = csv_header(&Schema::new(vec![field]));
        assert_eq!(header, b"\"te,xt\"\n");
    }

    #[test]
    fn ndjson_is_a_row_a_line() {
        let items = encoded(FileFormat::Ndjson);
        let lines = String::from_utf8(items[0].payload.clone()).unwrap();
        assert_eq!(
            lines,
            "{\"te,xt\":\"a,\\\"b\\\"\\n\",\"n\":1}\n{\"te,xt\":null,\"n\":2}\n{\"te,xt\":\"\",\"n\":null}\n"
        );
        assert_eq!(
            (items[0].at, items[0].key.as_deref()),
            (ProcessingTime(7), Some(""))
        );
    }
}
