//! A window's columns, added to rows that stand for their windows from there on.

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, SchemaRef};

use super::row_pipeline::{Rows, batch};
use crate::error::{Result, from_arrow};
use crate::types::{WindowBound, WindowKind, WindowSpan};

/// Every row once for each of its windows, with the window's bounds. A row without a time has none.
pub(super) fn a_row_for_each(
    rows: &Rows,
    (kind, times): (WindowKind, &TimestampMicrosecondArray),
    schema: &SchemaRef,
) -> Result<Rows> {
    let mut picked = Vec::with_capacity(times.len());
    let mut spans: Vec<WindowSpan> = Vec::with_capacity(times.len());
    for (row, time) in (0u32..).zip(times) {
        let Some(time) = time else { continue };
        for span in kind.windows_of(time) {
            picked.push(row);
            spans.push(span);
        }
    }
    let origin = picked.iter().map(|row| {
        let origin = rows.origin_of(*row as usize);
        u32::try_from(origin).expect("a batch has fewer than 2^32 rows")
    });
    let origin: UInt32Array = origin.collect();
    let taken = take_record_batch(&rows.batch, &UInt32Array::from(picked)).map_err(from_arrow)?;
    let mut columns = taken.columns().to_vec();
    for bound in WindowBound::ALL {
        let values = spans.iter().map(|span| span.bound(bound));
        let values = TimestampMicrosecondArray::from_iter_values(values);
        columns.push(instants(values, schema, columns.len()));
    }
    Ok(Rows {
        batch: batch(schema, columns, spans.len())?,
        origin: Some(origin),
    })
}

/// Every row once, with its time in the window's columns.
pub(super) fn with_row_time(
    rows: Rows,
    times: &TimestampMicrosecondArray,
    schema: &SchemaRef,
) -> Result<Rows> {
    let mut columns = rows.batch.columns().to_vec();
    for _ in WindowBound::ALL {
        columns.push(instants(times.clone(), schema, columns.len()));
    }
    Ok(Rows {
        batch: batch(schema, columns, rows.batch.num_rows())?,
        origin: rows.origin,
    })
}

/// Times with the zone that the schema's column has.
fn instants(times: TimestampMicrosecondArray, schema: &SchemaRef, column: usize) -> ArrayRef {
    let zone = match schema.field(column).data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    Arc::new(times.with_timezone_opt(zone))
}
