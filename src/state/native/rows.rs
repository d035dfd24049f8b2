//! Which rows of a batch count, decided once a batch.

use arrow::array::{Array, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};

/// Calls `each` with the group and the number of every row that counts.
pub(super) fn each_row(
    groups: &[usize],
    keep: Option<&BooleanArray>,
    nulls: Option<&NullBuffer>,
    mut each: impl FnMut(usize, usize),
) {
    match counted(keep, nulls) {
        None => {
            for (row, &group) in groups.iter().enumerate() {
                each(group, row);
            }
        }
        Some(mask) => {
            for row in mask.set_indices() {
                each(groups[row], row);
            }
        }
    }
}

/// Calls `each` with the group and the value of every row that counts.
pub(super) fn each_value<T: ArrowPrimitiveType>(
    groups: &[usize],
    keep: Option<&BooleanArray>,
    column: &PrimitiveArray<T>,
    mut each: impl FnMut(usize, T::Native),
) {
    match counted(keep, column.nulls()) {
        None => {
            for (&group, &value) in groups.iter().zip(column.values()) {
                each(group, value);
            }
        }
        Some(mask) => {
            let values = column.values();
            for row in mask.set_indices() {
                each(groups[row], values[row]);
            }
        }
    }
}

/// The rows that the filter keeps and that are not NULL; `None` for all.
fn counted(keep: Option<&BooleanArray>, nulls: Option<&NullBuffer>) -> Option<BooleanBuffer> {
    let kept = keep.map(|keep| match keep.nulls() {
        Some(valid) => keep.values() & valid.inner(),
        None => keep.values().clone(),
    });
    let valid = nulls.filter(|nulls| nulls.null_count() > 0);
    match (kept, valid) {
        (None, None) => None,
        (Some(kept), None) => Some(kept),
        (None, Some(valid)) => Some(valid.inner().clone()),
        (Some(kept), Some(valid)) => Some(&kept & valid.inner()),
    }
}
