//! A sink that writes each row as a message, at least once.
//!
//! Rows go out when they are staged; a commit waits until they have arrived. The key of a single
//! text column is its text; of one other column its JSON value; of several a JSON object.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::producer::{Produced, Producer};
use crate::error::{Error, Result, SqlState, from_arrow};
use crate::format::JsonEncoder;
use crate::sink::Sink;
use crate::types::KafkaConnection;

/// Where rows go, and which of their columns are more than payload.
#[derive(Debug, Clone)]
pub struct KafkaSinkOptions {
    /// The cluster.
    pub connection: KafkaConnection,
    /// The topic; it must exist.
    pub topic: String,
    /// The columns that make the key; none: no key.
    pub key_columns: Vec<String>,
    /// The columns whose text goes into headers of their names.
    pub headers: Vec<String>,
}

/// Writes rows to a topic.
pub struct KafkaSink {
    producer: Producer,
    values: JsonEncoder,
    key: Key,
    headers: Vec<(String, usize)>,
}

enum Key {
    None,
    Text(usize),
    Json {
        columns: Vec<usize>,
        encoder: JsonEncoder,
        single: bool,
    },
}

impl KafkaSink {
    /// A sink for rows of that schema.
    ///
    /// # Errors
    /// A key or header column that is not in the schema, a type without JSON form, options that
    /// Kafka refuses.
    pub fn open(options: &KafkaSinkOptions, schema: &SchemaRef) -> Result<Self> {
        let place = |name: &String| {
            schema.index_of(name).map_err(|_| {
                Error::user(
                    SqlState::UndefinedColumn,
                    format!("column \"{name}\" is not in the sink's query"),
                )
            })
        };
        let columns = options
            .key_columns
            .iter()
            .map(place)
            .collect::<Result<Vec<_>>>()?;
        let headers = options
            .headers
            .iter()
            .map(|name| Ok((name.clone(), place(name)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            producer: Producer::open(&options.connection, &options.topic)?,
            values: JsonEncoder::try_new(Arc::clone(schema))?,
            key: Key::of(columns, schema)?,
            headers,
        })
    }
}

impl Sink for KafkaSink {
    fn stage(&mut self, rows: &RecordBatch) -> Result<()> {
        let keys = self.key.of_rows(rows)?;
        let headers = self
            .headers
            .iter()
            .map(|(name, column)| Ok((name, texts(rows.column(*column))?)))
            .collect::<Result<Vec<_>>>()?;
        for (row, value) in self.values.encode(rows)?.rows().enumerate() {
            self.producer.send(&Produced {
                key: keys.as_ref().and_then(|keys| keys[row].clone()),
                value: Some(value.to_vec()),
                headers: headers
                    .iter()
                    .map(|(name, values)| ((*name).clone(), values[row].clone()))
                    .collect(),
            })?;
        }
        self.producer.serve();
        Ok(())
    }

    fn commit(&mut self, _epoch: u64) -> Result<()> {
        self.producer.drain()
    }

    fn abort(&mut self) -> Result<()> {
        self.producer.purge();
        Ok(())
    }
}

impl Key {
    fn of(columns: Vec<usize>, schema: &SchemaRef) -> Result<Self> {
        match columns.as_slice() {
            [] => Ok(Self::None),
            [column] if is_text(schema.field(*column).data_type()) => Ok(Self::Text(*column)),
            _ => {
                let fields: Vec<_> = columns.iter().map(|c| schema.field(*c).clone()).collect();
                let encoder = JsonEncoder::try_new(Arc::new(Schema::new(fields)))?;
                Ok(Self::Json {
                    single: columns.len() == 1,
                    columns,
                    encoder,
                })
            }
        }
    }

    fn of_rows(&self, rows: &RecordBatch) -> Result<Option<Vec<Option<Vec<u8>>>>> {
        match self {
            Self::None => Ok(None),
            Self::Text(column) => texts(rows.column(*column)).map(Some),
            Self::Json {
                columns,
                encoder,
                single,
            } => {
                let part = rows.project(columns).map_err(from_arrow)?;
                let objects = encoder.encode(&part)?;
                if !*single {
                    return Ok(Some(
                        objects.rows().map(|object| Some(object.to_vec())).collect(),
                    ));
                }
                objects
                    .rows()
                    .map(value_of_object)
                    .collect::<Result<_>>()
                    .map(Some)
            }
        }
    }
}

/// The one value of an object; NULL is no key.
fn value_of_object(object: &[u8]) -> Result<Option<Vec<u8>>> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(object)
        .map_err(|error| Error::internal(format!("a key has no JSON form: {error}")))?;
    let value = object.into_iter().next().map(|(_, value)| value);
    Ok(value
        .filter(|value| !value.is_null())
        .map(|value| value.to_string().into_bytes()))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

fn texts(column: &ArrayRef) -> Result<Vec<Option<Vec<u8>>>> {
    let column = cast(column, &DataType::Utf8).map_err(from_arrow)?;
    let column = column.as_string::<i32>();
    Ok((0..column.len())
        .map(|row| {
            column
                .is_valid(row)
                .then(|| column.value(row).as_bytes().to_vec())
        })
        .collect())
}
