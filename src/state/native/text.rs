//! `min` and `max` of texts, in the order of their bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::rows::each_row;
use crate::error::{Error, Result, from_arrow};
use crate::state::accumulator::{GroupAccumulator, Update};

/// The first or the last of all texts; NULL before the first one.
pub(super) struct TextExtreme {
    data_type: DataType,
    /// True for `max`.
    greatest: bool,
    values: Vec<Option<String>>,
    /// The memory of the texts themselves.
    text_bytes: usize,
}

impl TextExtreme {
    pub(super) fn new(data_type: DataType, greatest: bool) -> Self {
        Self {
            data_type,
            greatest,
            values: Vec::new(),
            text_bytes: 0,
        }
    }

    fn take_in(
        &mut self,
        column: &ArrayRef,
        groups: &[usize],
        keep: Option<&BooleanArray>,
    ) -> Result<()> {
        let nulls = column.nulls();
        if let Some(texts) = column.as_string_view_opt() {
            each_row(groups, keep, nulls, |group, row| {
                self.add(group, texts.value(row));
            });
        } else if let Some(texts) = column.as_string_opt::<i32>() {
            each_row(groups, keep, nulls, |group, row| {
                self.add(group, texts.value(row));
            });
        } else if let Some(texts) = column.as_string_opt::<i64>() {
            each_row(groups, keep, nulls, |group, row| {
                self.add(group, texts.value(row));
            });
        } else {
            let found = column.data_type();
            return Err(Error::internal(format!("a text came as {found}")));
        }
        Ok(())
    }

    fn add(&mut self, group: usize, new: &str) {
        match &mut self.values[group] {
            Some(old) => {
                let is_better = if self.greatest {
                    new > old.as_str()
                } else {
                    new < old.as_str()
                };
                if is_better {
                    let before = old.capacity();
                    old.clear();
                    old.push_str(new);
                    self.text_bytes = self.text_bytes + old.capacity() - before;
                }
            }
            none => {
                let text = new.to_owned();
                self.text_bytes += text.capacity();
                *none = Some(text);
            }
        }
    }

    fn take_one(&mut self, group: usize) -> Option<String> {
        let text = self.values[group].take();
        self.text_bytes -= text.as_ref().map_or(0, String::capacity);
        text
    }

    fn array<'a>(&self, texts: impl Iterator<Item = &'a Option<String>>) -> Result<ArrayRef> {
        let mut builder = StringViewBuilder::new();
        for text in texts {
            builder.append_option(text.as_deref());
        }
        let array: ArrayRef = Arc::new(builder.finish());
        if self.data_type == DataType::Utf8View {
            return Ok(array);
        }
        cast(&array, &self.data_type).map_err(from_arrow)
    }
}

impl GroupAccumulator for TextExtreme {
    fn update(&mut self, rows: Update<'_>) -> Result<()> {
        self.values.resize(rows.total, None);
        self.take_in(&rows.arguments[0], rows.groups, rows.keep)
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.values.resize(total, None);
        self.take_in(&states[0], groups, None)
    }

    fn take_state(&mut self) -> Result<Vec<ArrayRef>> {
        let total = self.values.len();
        Ok(vec![self.take_values(total)?])
    }

    fn states_of(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.read(groups)?])
    }

    fn take_values(&mut self, total: usize) -> Result<ArrayRef> {
        self.values.resize(total, None);
        let texts = self.array(self.values.iter())?;
        self.values = Vec::new();
        self.text_bytes = 0;
        Ok(texts)
    }

    fn read(&mut self, groups: &[usize]) -> Result<ArrayRef> {
        self.array(groups.iter().map(|&group| &self.values[group]))
    }

    fn fold(&mut self, from: usize, into: usize) -> Result<()> {
        if let Some(text) = self.take_one(from) {
            self.add(into, &text);
        }
        Ok(())
    }

    fn release(&mut self, groups: &[usize]) -> Result<()> {
        for &group in groups {
            self.take_one(group);
        }
        Ok(())
    }

    fn can_read(&self) -> bool {
        true
    }

    fn size_bytes(&self) -> usize {
        self.values.capacity() * size_of::<Option<String>>() + self.text_bytes
    }
}
