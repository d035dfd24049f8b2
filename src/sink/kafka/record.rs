//! The keys and headers of a batch's rows. Pure.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::producer::HeaderText;
use crate::error::{Error, Result, SqlState, from_arrow};
use crate::format::{EncodedRows, JsonEncoder};

/// Makes keys, values and headers of batches of one schema.
#[derive(Debug)]
pub(super) struct Records {
    key: Key,
    /// What stands for the NULL of a single key column where there must be a key.
    null_key: Vec<u8>,
    /// The columns of the value.
    value_columns: Vec<usize>,
    value: JsonEncoder,
    /// The columns that are headers, with their names.
    headers: Vec<(String, usize)>,
}

/// What makes a key.
#[derive(Debug)]
enum Key {
    None,
    /// One column's text or bytes.
    Plain(usize),
    /// One column's value as JSON writes it.
    Value(usize, JsonEncoder),
    /// A JSON object of some columns.
    Json(Vec<usize>, JsonEncoder),
}

/// The keys, values and headers of one batch.
#[derive(Debug)]
pub(super) struct Encoded {
    keys: Keys,
    null_key: Vec<u8>,
    pub(super) values: EncodedRows,
    /// A column for each header: its name, and each row's value.
    headers: Vec<(String, ArrayRef)>,
}

#[derive(Debug)]
enum Keys {
    None,
    /// An array of type Binary.
    Plain(ArrayRef),
    /// Objects of one member each, and the length of what comes before its value.
    Value(EncodedRows, usize),
    Json(EncodedRows),
}

impl Records {
    /// # Errors
    /// When a named column is not in the schema, or a column has no form in JSON.
    pub(super) fn try_new(
        schema: &SchemaRef,
        key_columns: &[String],
        headers: &[String],
    ) -> Result<Self> {
        let keys = key_columns
            .iter()
            .map(|name| index_of(schema, name, "key_columns"))
            .collect::<Result<Vec<_>>>()?;
        let headers = headers
            .iter()
            .map(|name| Ok((name.clone(), index_of(schema, name, "headers")?)))
            .collect::<Result<Vec<_>>>()?;
        let value_columns: Vec<usize> = (0..schema.fields().len())
            .filter(|column| !headers.iter().any(|(_, header)| header == column))
            .collect();
        let plain = |column: &usize| {
            matches!(
                schema.field(*column).data_type(),
                DataType::Utf8View | DataType::Utf8 | DataType::Binary | DataType::BinaryView
            )
        };
        let key = match keys.as_slice() {
            [] => Key::None,
            [column] if plain(column) => Key::Plain(*column),
            [column] => Key::Value(*column, JsonEncoder::try_new(project(schema, &keys)?)?),
            _ => {
                let encoder = JsonEncoder::try_new(project(schema, &keys)?)?;
                Key::Json(keys, encoder)
            }
        };
        let value = JsonEncoder::try_new(project(schema, &value_columns)?)?;
        let null_key = key_columns.first().map_or_else(Vec::new, |name| {
            let name = serde_json::Value::from(name.as_str());
            format!("{{{name}:null}}").into_bytes()
        });
        Ok(Self {
            key,
            null_key,
            value_columns,
            value,
            headers,
        })
    }

    /// # Errors
    /// When a `json` column holds text that is not JSON.
    pub(super) fn encode(&self, rows: &RecordBatch) -> Result<Encoded> {
        let keys = match &self.key {
            Key::None => Keys::None,
            Key::Plain(column) => {
                Keys::Plain(cast(rows.column(*column), &DataType::Binary).map_err(from_arrow)?)
            }
            Key::Value(column, encoder) => {
                let key = rows.project(&[*column]).map_err(from_arrow)?;
                let name = serde_json::Value::from(key.schema_ref().field(0).name().as_str());
                // `{"name":value}`
                Keys::Value(encoder.encode(&key)?, name.to_string().len() + 2)
            }
            Key::Json(columns, encoder) => {
                Keys::Json(encoder.encode(&rows.project(columns).map_err(from_arrow)?)?)
            }
        };
        let values = rows.project(&self.value_columns).map_err(from_arrow)?;
        let headers = self
            .headers
            .iter()
            .map(|(name, column)| {
                let text = cast(rows.column(*column), &DataType::Utf8).map_err(from_arrow)?;
                Ok((name.clone(), text))
            })
            .collect::<Result<_>>()?;
        Ok(Encoded {
            keys,
            null_key: self.null_key.clone(),
            values: self.value.encode(&values)?,
            headers,
        })
    }
}

impl Encoded {
    /// A row's key.
    pub(super) fn key(&self, row: usize) -> Option<&[u8]> {
        match &self.keys {
            Keys::None => None,
            Keys::Plain(keys) => keys
                .is_valid(row)
                .then(|| keys.as_binary::<i32>().value(row)),
            Keys::Value(keys, before) => {
                let object = keys.row(row);
                Some(&object[*before..object.len() - 1]).filter(|value| *value != b"null")
            }
            Keys::Json(keys) => Some(keys.row(row)),
        }
    }

    /// A row's key where there must be one: a NULL of a single column is written as a JSON object,
    /// as keys of several columns are.
    pub(super) fn key_or_null(&self, row: usize) -> &[u8] {
        self.key(row).unwrap_or(&self.null_key)
    }

    /// A row's headers.
    pub(super) fn headers(&self, row: usize) -> Vec<HeaderText> {
        self.headers
            .iter()
            .map(|(name, texts)| {
                let value = texts
                    .is_valid(row)
                    .then(|| texts.as_string::<i32>().value(row));
                (name.clone(), value.map(|value| value.as_bytes().to_vec()))
            })
            .collect()
    }
}

fn project(schema: &SchemaRef, columns: &[usize]) -> Result<SchemaRef> {
    Ok(Arc::new(schema.project(columns).map_err(from_arrow)?))
}

fn index_of(schema: &Schema, name: &str, option: &str) -> Result<usize> {
    schema.index_of(name).map_err(|_| {
        let names: Vec<&str> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        Error::user(
            SqlState::UndefinedColumn,
            format!("column \"{name}\" of option \"{option}\" is not in the sink's query"),
        )
        .hint(format!("The query has the columns {}.", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
    };

    use super::Records;
    use crate::error::SqlState;

    fn rows() -> RecordBatch {
        let text: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![Some(&b"\xff"[..]), None]));
        RecordBatch::try_from_iter_with_nullable([
            ("t", text, true),
            ("n", number, true),
            ("b", bytes, true),
        ])
        .unwrap()
    }

    /// Each row's key, value and headers.
    fn encode(keys: &[&str], headers: &[&str]) -> Vec<(Option<Vec<u8>>, String, String)> {
        let rows = rows();
        let owned = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let records = Records::try_new(&rows.schema(), &owned(keys), &owned(headers)).unwrap();
        let encoded = records.encode(&rows).unwrap();
        (0..rows.num_rows())
            .map(|row| {
                let headers: Vec<String> = encoded
                    .headers(row)
                    .into_iter()
                    .map(|(name, value)| {
                        let value = value.map(|value| String::from_utf8(value).unwrap());
                        format!("{name}={}", value.as_deref().unwrap_or("-"))
                    })
                    .collect();
                let value = String::from_utf8(encoded.values.row(row).to_vec()).unwrap();
                (
                    encoded.key(row).map(<[u8]>::to_vec),
                    value,
                    headers.join(","),
                )
            })
            .collect()
    }

    #[test]
    fn a_single_text_or_bytes_column_is_the_key_as_it_is() {
        let text = encode(&["t"], &["b", "n"]);
        assert_eq!(text[0].0.as_deref(), Some(&b"a"[..]));
        assert_eq!(text[1].0, None);
        let bytes = encode(&["b"], &[]);
        assert_eq!(bytes[0].0.as_deref(), Some(&b"\xff"[..]));
        assert_eq!(encode(&[], &[])[0].0, None);
    }

    #[test]
    fn a_single_column_of_another_type_is_the_key_as_json_writes_it() {
        let keys = encode(&["n"], &[]);
        assert_eq!(keys[0].0.as_deref(), Some(&b"1"[..]));
        assert_eq!(keys[1].0, None);
        let name = "a \"quoted\" name";
        let when: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0]));
        let rows = RecordBatch::try_from_iter([(name, when)]).unwrap();
        let records = Records::try_new(&rows.schema(), &[name.to_owned()], &[]).unwrap();
        let encoded = records.encode(&rows).unwrap();
        assert_eq!(encoded.key(0), Some(&b"\"1970-01-01T00:00:00Z\""[..]));
    }

    #[test]
    fn several_columns_are_a_json_object_in_the_order_that_is_given() {
        let key = |row: usize, names: &[&str]| {
            String::from_utf8(encode(names, &[])[row].0.clone().unwrap()).unwrap()
        };
        assert_eq!(key(0, &["n", "t"]), "{\"n\":1,\"t\":\"a\"}");
        assert_eq!(key(1, &["n", "t"]), "{\"n\":null,\"t\":null}");
    }

    #[test]
    fn where_there_must_be_a_key_null_is_written_as_an_object() {
        let rows = rows();
        let records = Records::try_new(&rows.schema(), &["t".to_owned()], &[]).unwrap();
        let encoded = records.encode(&rows).unwrap();
        assert_eq!(encoded.key_or_null(0), b"a");
        assert_eq!(encoded.key_or_null(1), b"{\"t\":null}");
    }

    #[test]
    fn columns_that_are_headers_leave_the_value() {
        let rows = encode(&["t"], &["n"]);
        assert_eq!(
            (rows[0].1.as_str(), rows[0].2.as_str()),
            ("{\"t\":\"a\",\"b\":\"\\\\xff\"}", "n=1")
        );
        assert_eq!(
            (rows[1].1.as_str(), rows[1].2.as_str()),
            ("{\"t\":null,\"b\":null}", "n=-")
        );
    }

    #[test]
    fn a_column_that_is_not_there_is_an_error_that_lists_those_that_are() {
        let error = Records::try_new(&rows().schema(), &["x".to_owned()], &[]).unwrap_err();
        assert_eq!(error.state(), SqlState::UndefinedColumn);
        assert_eq!(
            error.hint_text(),
            Some("The query has the columns t, n, b.")
        );
    }
}
