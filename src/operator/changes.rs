//! Which groups of a table have changed since they were last emitted.

use ahash::RandomState;
use arrow::array::ArrayRef;
use arrow::row::{RowConverter, SortField};

use crate::error::{Result, from_arrow};

/// The groups touched since the last emission, and a fingerprint of what was emitted of each.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// In the order in which they were touched.
    touched: Vec<usize>,
    is_touched: Vec<bool>,
    /// 128 bits of each group's last emitted values; a group whose values are what they were is
    /// not emitted again.
    emitted: Vec<Option<(u64, u64)>>,
}

impl Changes {
    /// Rows came for these groups.
    pub(super) fn touch(&mut self, groups: &[usize]) {
        for &group in groups {
            if group >= self.is_touched.len() {
                self.is_touched.resize(group + 1, false);
            }
            if !self.is_touched[group] {
                self.is_touched[group] = true;
                self.touched.push(group);
            }
        }
    }

    /// The groups touched since the last call.
    pub(super) fn take(&mut self) -> Vec<usize> {
        for &group in &self.touched {
            self.is_touched[group] = false;
        }
        std::mem::take(&mut self.touched)
    }

    /// For each of `groups`, whose values are a row of `values`: does it differ from what was
    /// emitted last? Remembers the values as emitted.
    pub(super) fn differs(&mut self, groups: &[usize], values: &[ArrayRef]) -> Result<Vec<bool>> {
        let fields = values
            .iter()
            .map(|v| SortField::new(v.data_type().clone()))
            .collect();
        let converter = RowConverter::new(fields).map_err(from_arrow)?;
        let rows = converter.convert_columns(values).map_err(from_arrow)?;
        let (left, right) = (
            RandomState::with_seeds(1, 2, 3, 4),
            RandomState::with_seeds(5, 6, 7, 8),
        );
        let mut differs = Vec::with_capacity(groups.len());
        for (row, &group) in rows.iter().zip(groups) {
            let print = Some((left.hash_one(row.data()), right.hash_one(row.data())));
            if group >= self.emitted.len() {
                self.emitted.resize(group + 1, None);
            }
            differs.push(self.emitted[group] != print);
            self.emitted[group] = print;
        }
        Ok(differs)
    }

    /// Memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.touched.capacity() * size_of::<usize>()
            + self.is_touched.capacity()
            + self.emitted.capacity() * size_of::<Option<(u64, u64)>>()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    fn values(numbers: &[i64]) -> Vec<ArrayRef> {
        vec![Arc::new(Int64Array::from(numbers.to_vec()))]
    }

    #[test]
    fn a_group_is_emitted_again_only_when_its_values_changed() {
        let mut changes = Changes::default();
        changes.touch(&[1, 0, 1]);
        assert_eq!(changes.take(), [1, 0]);
        assert_eq!(changes.take(), Vec::<usize>::new());
        assert_eq!(
            changes.differs(&[1, 0], &values(&[7, 8])).unwrap(),
            [true, true]
        );
        assert_eq!(
            changes.differs(&[1, 0], &values(&[7, 9])).unwrap(),
            [false, true]
        );
    }
}
