//! What each statement does: one file a statement, or a family of small ones.

pub(super) mod copy;
pub(super) mod cursor;
pub(super) mod explain;
pub(super) mod prepare;
pub(super) mod query;
pub(super) mod transaction;
pub(super) mod variable;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};

use crate::error::Result;

/// A small table of text, as SHOW and the like answer.
pub(super) fn text_table(columns: &[(&str, Vec<Option<String>>)]) -> Result<RecordBatch> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, _)| Field::new(*name, DataType::Utf8View, true)).collect();
    let arrays = columns
        .iter()
        .map(|(_, values)| Arc::new(values.iter().cloned().collect::<StringViewArray>()) as ArrayRef)
        .collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}
