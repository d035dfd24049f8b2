//! Rows in memory of their own.
//!
//! Invariant: rows that are kept keep nothing else alive: neither what was fetched with them nor what was read.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, RecordBatchOptions, StructArray, new_empty_array,
};
use arrow::compute::concat;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;

use crate::error::{Result, from_arrow};

/// A copy that shares nothing with the batch.
pub(super) fn own(batch: &RecordBatch) -> Result<RecordBatch> {
    with_columns(batch, |column| {
        // One array alone would not be copied.
        let none = new_empty_array(column.data_type());
        let copy = concat(&[&none, column]).map_err(from_arrow)?;
        Ok(without_unused(&copy))
    })
}

/// The same rows without the texts and bytes of others.
pub(super) fn only_used(batch: &RecordBatch) -> Result<RecordBatch> {
    with_columns(batch, |column| Ok(without_unused(column)))
}

fn with_columns(
    batch: &RecordBatch,
    change: impl FnMut(&ArrayRef) -> Result<ArrayRef>,
) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(change).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options).map_err(from_arrow)
}

/// Views of texts and bytes share buffers even where they are copied.
fn without_unused(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        DataType::List(field) => {
            let list = column.as_list::<i32>();
            let values = without_unused(list.values());
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(ListArray::new(Arc::clone(field), offsets, values, nulls))
        }
        DataType::Struct(fields) => {
            let parts = column.as_struct();
            let columns = parts.columns().iter().map(without_unused).collect();
            let (length, nulls) = (parts.len(), parts.nulls().cloned());
            let parts = StructArray::try_new_with_length(fields.clone(), columns, nulls, length);
            Arc::new(parts.expect("its columns are as they were"))
        }
        _ => Arc::clone(column),
    }
}
