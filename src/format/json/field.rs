//! What a caller asks of a JSON message: where a column lies and what type it has.

use std::fmt::Write;

use arrow::datatypes::{DataType, Field};

use crate::types::{JsonPath, PathStep};

/// The key of a field's metadata that names an Arrow extension type.
const EXTENSION_NAME: &str = "ARROW:extension:name";
/// Arrow's canonical extension type for JSON text.
const EXTENSION_JSON: &str = "arrow.json";

/// A path as people write it: `a[0].b`.
pub(super) fn shown_path(path: &[PathStep]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            PathStep::Key(name) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            PathStep::Index(index) => {
                write!(out, "[{index}]").expect("a String takes all text");
            }
        }
    }
    out
}

/// How the text of a column is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JsonKind {
    /// The value itself, converted to the column's type.
    #[default]
    Value,
    /// SQL's `json`: any value's own text, kept as it stands in the message.
    RawJson,
}

impl JsonKind {
    /// The kind of an Arrow field: raw if it is marked as Arrow's extension type `arrow.json`.
    pub fn of(field: &Field) -> Self {
        match field.metadata().get(EXTENSION_NAME) {
            Some(name) if name == EXTENSION_JSON => Self::RawJson,
            _ => Self::Value,
        }
    }

    /// The field marked with this kind, so that [`JsonKind::of`] finds it again.
    #[must_use]
    pub fn mark(self, field: Field) -> Field {
        let mut metadata = field.metadata().clone();
        match self {
            Self::Value => metadata.remove(EXTENSION_NAME),
            Self::RawJson => metadata.insert(EXTENSION_NAME.into(), EXTENSION_JSON.into()),
        };
        field.with_metadata(metadata)
    }
}

/// One column to decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonField {
    /// Where it lies in the message; usually one key.
    ///
    /// A path that leads nowhere (a missing member, a step into a number) is NULL, as in SQL/JSON's
    /// lax mode; only the value at its end can be of a wrong type.
    pub path: JsonPath,
    /// The type of its array.
    pub data_type: DataType,
    /// Whether its value is converted or kept as JSON text.
    pub kind: JsonKind,
}

impl JsonField {
    /// A column that is a member of the message.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self {
            path: vec![PathStep::Key(name.into())],
            data_type,
            kind: JsonKind::Value,
        }
    }
}
