//! A batch of messages into a record batch of the wanted columns, and the messages that are no rows.
//!
//! ```text
//! messages → JSON columns of those that are JSON → beside them key, partition, offset, .. of the same
//!          → bad rows (null or far event time, key that is no text, null in NOT NULL) taken out
//! ```
//! Invariant: rows and rejections together are as many as the messages.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, RecordBatch, RecordBatchOptions,
};
use arrow::compute::filter;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};

use super::decoded_rows::DecodedRows;
use super::metadata;
use crate::error::{Error, Result, from_arrow};
use crate::format::{Decoded, JsonDecoder, JsonField, JsonKind, Rejected};
use crate::plan::{ScanOrigin, ScanSpec};
use crate::types::{MessageBatch, MetadataColumn};

/// Turns messages into the rows of one scan. Keeps what it learns of the messages' form, so that one
/// is kept for all batches of a reader.
pub struct Decode {
    json: JsonDecoder,
    columns: Vec<Column>,
    schema: SchemaRef,
    /// The event-time column and how many microseconds it may lie after the record's timestamp.
    max_future: Option<(usize, i64)>,
}

/// Where a column of the output comes from.
#[derive(Debug, Clone)]
enum Column {
    /// The decoder's column with this index.
    Json(usize),
    /// The record itself, in this type.
    Metadata(MetadataColumn, DataType),
}

impl Decode {
    /// A decoder for the columns of a scan.
    ///
    /// # Errors
    /// When a column's type cannot be read from JSON or from a record.
    pub fn try_new(spec: &ScanSpec) -> Result<Self> {
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for column in &spec.columns {
            let data_type = column.field.data_type().clone();
            columns.push(match &column.origin {
                ScanOrigin::Payload { path, raw_json } => {
                    let kind = if *raw_json {
                        JsonKind::RawJson
                    } else {
                        JsonKind::Value
                    };
                    fields.push(JsonField {
                        path: path.clone(),
                        data_type,
                        kind,
                    });
                    Column::Json(fields.len() - 1)
                }
                ScanOrigin::Metadata(origin) => {
                    metadata::check_type(*origin, &data_type)?;
                    Column::Metadata(*origin, data_type)
                }
            });
        }
        let max_future = spec.max_future.map(|max_future| {
            let bound = i64::try_from(max_future.bound.as_micros()).unwrap_or(i64::MAX);
            (max_future.column, bound)
        });
        if let Some((column, _)) = max_future {
            let data_type = spec.columns[column].field.data_type();
            if !matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _)) {
                return Err(Error::internal(format!("event time of type {data_type}")));
            }
        }
        let schema = Arc::clone(&spec.schema);
        Ok(Self {
            json: JsonDecoder::try_new(fields)?,
            columns,
            schema,
            max_future,
        })
    }

    /// Decodes a batch.
    ///
    /// # Errors
    /// When the batch itself is broken; a bad message is a rejection.
    pub fn decode(&mut self, messages: &MessageBatch) -> Result<DecodedRows> {
        let decoded = self.json.decode(messages)?;
        assert_eq!(
            decoded.rows + decoded.rejected.len(),
            messages.messages.len(),
            "every message becomes a row or a rejection"
        );
        let mut bad = BadRows::default();
        let columns = self.columns(messages, &decoded, &mut bad);
        self.check_event_time(messages, &decoded, &columns, &mut bad);
        self.check_nulls(&columns, &mut bad);
        let Decoded {
            rows,
            kept,
            rejected,
            ..
        } = decoded;
        if bad.0.is_empty() {
            let batch = self.batch(columns, rows)?;
            return Ok(DecodedRows {
                batch,
                source_rows: kept.map(Arc::from),
                rejected,
            });
        }
        self.without(
            bad,
            Decoded {
                columns,
                rows,
                kept,
                rejected,
            },
        )
    }

    fn columns(
        &self,
        messages: &MessageBatch,
        decoded: &Decoded,
        bad: &mut BadRows,
    ) -> Vec<ArrayRef> {
        let rows = metadata::Rows {
            messages,
            kept: decoded.kept.as_deref(),
        };
        self.columns
            .iter()
            .map(|column| match column {
                Column::Json(index) => Arc::clone(&decoded.columns[*index]),
                Column::Metadata(origin, data_type) => {
                    let mut reject = |row, reason| bad.add(row, reason);
                    metadata::column(*origin, data_type, &rows, &mut reject)
                }
            })
            .collect()
    }

    /// An event time that is null, or too far ahead of its record, would move the watermark wrongly.
    fn check_event_time(
        &self,
        messages: &MessageBatch,
        decoded: &Decoded,
        columns: &[ArrayRef],
        bad: &mut BadRows,
    ) {
        let Some((column, bound_us)) = self.max_future else {
            return;
        };
        let rows = metadata::Rows {
            messages,
            kept: decoded.kept.as_deref(),
        };
        let times = columns[column].as_primitive::<TimestampMicrosecondType>();
        for (row, message) in rows.iter().enumerate() {
            if times.is_null(row) {
                bad.add(
                    row,
                    format!(
                        "column \"{}\" is the event time and must not be null",
                        self.name(column)
                    ),
                );
                continue;
            }
            if message.timestamp_ms < 0 {
                continue;
            }
            let latest = message
                .timestamp_ms
                .saturating_mul(1000)
                .saturating_add(bound_us);
            if times.value(row) > latest {
                let ahead_s = (times.value(row) - message.timestamp_ms * 1000) / 1_000_000;
                let name = self.name(column);
                bad.add(
                    row,
                    format!(
                        "column \"{name}\": event time is {ahead_s} s after the record's timestamp"
                    ),
                );
            }
        }
    }

    fn check_nulls(&self, columns: &[ArrayRef], bad: &mut BadRows) {
        for (index, column) in columns.iter().enumerate() {
            if self.schema.field(index).is_nullable() || column.null_count() == 0 {
                continue;
            }
            for row in (0..column.len()).filter(|row| column.is_null(*row)) {
                bad.add(
                    row,
                    format!(
                        "column \"{}\" is NOT NULL and must not be null",
                        self.name(index)
                    ),
                );
            }
        }
    }

    /// The rows without the bad ones, which join the rejected.
    fn without(&self, mut bad: BadRows, decoded: Decoded) -> Result<DecodedRows> {
        let Decoded {
            columns,
            rows,
            kept,
            mut rejected,
        } = decoded;
        bad.0.sort_by_key(|(row, _)| *row);
        bad.0.dedup_by_key(|(row, _)| *row);
        let message_of = |row: usize| kept.as_ref().map_or(row, |kept| kept[row] as usize);
        let mut good = BooleanBufferBuilder::new(rows);
        good.append_n(rows, true);
        for (row, reason) in bad.0 {
            good.set_bit(row, false);
            rejected.push(Rejected {
                message: message_of(row),
                reason,
            });
        }
        rejected.sort_by_key(|rejected| rejected.message);
        let good = BooleanArray::new(good.finish(), None);
        let source_rows: Vec<u32> = good
            .values()
            .set_indices()
            .map(|row| u32::try_from(message_of(row)).expect("a batch has 32-bit row numbers"))
            .collect();
        let columns = columns
            .iter()
            .map(|column| filter(column, &good))
            .collect::<Result<Vec<_>, _>>()
            .map_err(from_arrow)?;
        let batch = self.batch(columns, source_rows.len())?;
        Ok(DecodedRows {
            batch,
            source_rows: Some(source_rows.into()),
            rejected,
        })
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        // A scan without columns still has rows: count(*) wants nothing else.
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(from_arrow)
    }

    fn name(&self, column: usize) -> &str {
        self.schema.field(column).name()
    }
}

impl fmt::Debug for Decode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decode")
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

/// Rows that are none after all, in no order; a row may be there twice, the first reason counts.
#[derive(Debug, Default)]
struct BadRows(Vec<(usize, String)>);

impl BadRows {
    fn add(&mut self, row: usize, reason: String) {
        self.0.push((row, reason));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use arrow::buffer::Buffer;
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use arrow::util::pretty::pretty_format_batches;

    use super::{Decode, DecodedRows};
    use crate::plan::{MaxFuture, ScanColumn, ScanOrigin, ScanSpec};
    use crate::types::{
        KafkaConnection, Message, MessageBatch, MetadataColumn, Offset, PartitionId, PathStep, Span,
    };

    /// A message at 2026-01-01 00:00:00 with a key, headers and a payload.
    type Parts<'a> = (Option<&'a [u8]>, Option<&'a str>, Option<&'a str>);

    const TIME_MS: i64 = 1_767_225_600_000;

    fn messages(all: &[Parts<'_>]) -> MessageBatch {
        let mut buffer = Vec::new();
        let mut append = |bytes: Option<&[u8]>| {
            bytes.map(|bytes| {
                let start = u32::try_from(buffer.len()).unwrap();
                buffer.extend_from_slice(bytes);
                Span {
                    start,
                    len: u32::try_from(bytes.len()).unwrap(),
                }
            })
        };
        let messages = all
            .iter()
            .zip(100..)
            .map(|((key, headers, payload), offset)| Message {
                partition: PartitionId(7),
                offset: Offset(offset),
                timestamp_ms: TIME_MS,
                key: append(*key),
                headers: append(headers.map(str::as_bytes)),
                payload: append(payload.map(str::as_bytes)),
            })
            .collect();
        buffer.resize(buffer.len() + MessageBatch::PADDING, 0);
        MessageBatch {
            buffer: Buffer::from(buffer),
            messages,
        }
    }

    fn payload(name: &str) -> ScanOrigin {
        ScanOrigin::Payload {
            path: vec![PathStep::Key(name.to_owned())],
            raw_json: false,
        }
    }

    fn spec(columns: Vec<(Field, ScanOrigin)>, max_future: Option<usize>) -> ScanSpec {
        let columns: Vec<ScanColumn> = columns
            .into_iter()
            .map(|(field, origin)| ScanColumn {
                field: Arc::new(field),
                origin,
            })
            .collect();
        let fields: Vec<_> = columns
            .iter()
            .map(|column| Arc::clone(&column.field))
            .collect();
        ScanSpec {
            table: "t".to_owned(),
            topic: "t".to_owned(),
            connection: KafkaConnection::default(),
            columns,
            schema: Arc::new(Schema::new(fields)),
            read_committed: true,
            fetch: crate::types::FetchMode::Auto,
            max_future: max_future.map(|column| MaxFuture {
                column,
                bound: Duration::from_secs(3600),
            }),
        }
    }

    fn utc() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
    }

    /// The rows with the message of each, then the rejections.
    fn show(spec: &ScanSpec, all: &[Parts<'_>]) -> Vec<String> {
        let decoded: DecodedRows = Decode::try_new(spec)
            .unwrap()
            .decode(&messages(all))
            .unwrap();
        assert_eq!(decoded.batch.num_rows() + decoded.rejected.len(), all.len());
        let table = pretty_format_batches(std::slice::from_ref(&decoded.batch)).unwrap();
        let table = table.to_string();
        let rows = table.lines().skip(3).take(decoded.batch.num_rows());
        let rows = rows.enumerate().map(|(row, text)| {
            let cells: Vec<&str> = text.trim_matches('|').split('|').map(str::trim).collect();
            format!("{} {}", decoded.message_of(row), cells.join(","))
        });
        // The words for what is no JSON are the format's.
        let rejected = decoded.rejected.iter().map(|one| {
            let ours = ["column", "key", "headers"]
                .iter()
                .any(|word| one.reason.starts_with(word));
            format!(
                "{} rejected: {}",
                one.message,
                if ours { &one.reason } else { "not JSON" }
            )
        });
        rows.chain(rejected).collect()
    }

    #[test]
    fn the_record_itself_gives_columns() {
        let metadata = |name, data_type, origin| {
            (
                Field::new(name, data_type, true),
                ScanOrigin::Metadata(origin),
            )
        };
        let spec = spec(
            vec![
                metadata("k", DataType::Utf8View, MetadataColumn::Key),
                (Field::new("n", DataType::Int64, true), payload("n")),
                metadata("p", DataType::Int32, MetadataColumn::Partition),
                metadata("o", DataType::Int64, MetadataColumn::Offset),
                metadata("t", utc(), MetadataColumn::Timestamp),
                metadata("h", DataType::Utf8View, MetadataColumn::Headers),
                metadata("b", DataType::Binary, MetadataColumn::Key),
            ],
            None,
        );
        let long = "a key of more than twelve bytes";
        let all: &[Parts<'_>] = &[
            (Some(b"k1"), Some("{\"a\":\"b\"}"), Some("{\"n\":1}")),
            (None, None, Some("broken")),
            (Some(b"\xff"), None, Some("{\"n\":2}")),
            (Some(long.as_bytes()), None, Some("{}")),
        ];
        assert_eq!(
            show(&spec, all),
            [
                "0 k1,1,7,100,2026-01-01T00:00:00Z,{\"a\":\"b\"},6b31".to_owned(),
                format!(
                    "3 {long},,7,103,2026-01-01T00:00:00Z,,{}",
                    hex(long.as_bytes())
                ),
                "1 rejected: not JSON".to_owned(),
                "2 rejected: key: not UTF-8 text".to_owned(),
            ]
        );
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_message_that_is_not_json_is_no_row_even_if_nothing_of_it_is_read() {
        let all: &[Parts<'_>] = &[
            (None, None, Some("{\"n\":\"not a number\"}")),
            (None, None, None),
            (None, None, Some("")),
            (None, None, Some("{\"n\":1")),
        ];
        let decoded = Decode::try_new(&spec(vec![], None))
            .unwrap()
            .decode(&messages(all))
            .unwrap();
        assert_eq!(decoded.batch.num_rows(), 1);
        assert_eq!(decoded.batch.num_columns(), 0);
        assert_eq!(decoded.source_rows.as_deref(), Some(&[0][..]));
        let rejected: Vec<usize> = decoded.rejected.iter().map(|one| one.message).collect();
        assert_eq!(rejected, [1, 2, 3]);
    }

    #[test]
    fn an_event_time_that_is_null_or_too_far_ahead_is_no_row() {
        let spec = spec(
            vec![(Field::new("at", utc(), true), payload("at"))],
            Some(0),
        );
        let all: &[Parts<'_>] = &[
            (None, None, Some("{\"at\":\"2026-01-01T01:00:00Z\"}")),
            (None, None, Some("{\"at\":\"2026-01-01T01:00:00.000001Z\"}")),
            (None, None, Some("{\"at\":null}")),
            (None, None, Some("{\"at\":\"1971-01-01T00:00:00Z\"}")),
        ];
        assert_eq!(
            show(&spec, all),
            [
                "0 2026-01-01T01:00:00Z",
                "3 1971-01-01T00:00:00Z",
                "1 rejected: column \"at\": event time is 3600 s after the record's timestamp",
                "2 rejected: column \"at\" is the event time and must not be null",
            ]
        );
    }

    #[test]
    fn a_null_in_a_column_that_is_not_null_is_no_row() {
        let spec = spec(
            vec![
                (Field::new("a", DataType::Int64, false), payload("a")),
                (Field::new("b", DataType::Int64, false), payload("b")),
            ],
            None,
        );
        let all: &[Parts<'_>] = &[
            (None, None, Some("{}")),
            (None, None, Some("{\"a\":1,\"b\":2}")),
        ];
        assert_eq!(
            show(&spec, all),
            [
                "1 1,2",
                "0 rejected: column \"a\" is NOT NULL and must not be null"
            ]
        );
    }

    #[test]
    fn a_part_of_the_rows_is_what_its_messages_alone_become() {
        let spec = spec(
            vec![(Field::new("n", DataType::Int64, true), payload("n"))],
            None,
        );
        let of = |texts: &[&'static str]| {
            let all: Vec<Parts<'_>> = texts.iter().map(|text| (None, None, Some(*text))).collect();
            Decode::try_new(&spec).unwrap().decode(&messages(&all))
        };
        let texts = ["{\"n\":0}", "{\"n\":1}", "broken", "{\"n\":3}", "[]"];
        for all in [&texts[..], &texts[..2]] {
            let whole = of(all).unwrap();
            for start in 0..=all.len() {
                for end in start..=all.len() {
                    let (part, alone) = (whole.part(start..end), of(&all[start..end]).unwrap());
                    assert_eq!(part.batch, alone.batch, "{start}..{end}");
                    assert_eq!(part.rejected, alone.rejected, "{start}..{end}");
                    let places = |rows: &DecodedRows| -> Vec<usize> {
                        let rows_of = 0..rows.batch.num_rows();
                        rows_of.map(|row| rows.message_of(row)).collect()
                    };
                    assert_eq!(places(&part), places(&alone), "{start}..{end}");
                }
            }
        }
    }
}
