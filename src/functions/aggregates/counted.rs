//! Different values with how often each came.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::scalar::ScalarValue;

/// Values with their counts, at most so many of them: a new one takes the place of the rarest, and
/// its count goes on from there (the space-saving algorithm). As long as no value had to go, the
/// counts are exact.
///
/// Invariant: nothing depends on the order of the hash table.
#[derive(Debug)]
pub(super) struct Counted {
    data_type: DataType,
    converter: RowConverter,
    values_max: usize,
    /// Where each value is in `values`.
    places: HashMap<Box<[u8]>, usize, ahash::RandomState>,
    values: Vec<Value>,
    /// Every value's count, age and place, the rarest first, of equally rare ones the last seen;
    /// only kept when there is a bound.
    by_count: BTreeSet<(i64, Reverse<usize>, usize)>,
    /// How many values were seen for the first time: the next one's age.
    ages: usize,
    key_bytes: usize,
}

#[derive(Debug)]
struct Value {
    /// In Arrow's row format, whose bytes are in the order of the values.
    key: Box<[u8]>,
    count: i64,
    age: usize,
}

impl Counted {
    /// `values_max` of `usize::MAX` counts everything.
    pub(super) fn try_new(data_type: &DataType, values_max: usize) -> Result<Self> {
        Ok(Self {
            data_type: data_type.clone(),
            converter: RowConverter::new(vec![SortField::new(data_type.clone())])?,
            values_max,
            places: HashMap::default(),
            values: Vec::new(),
            by_count: BTreeSet::new(),
            ages: 0,
            key_bytes: 0,
        })
    }

    /// Counts each value that is not NULL.
    pub(super) fn update(&mut self, column: &ArrayRef) -> Result<()> {
        let rows = self.rows(column)?;
        let nulls = column.logical_nulls();
        for row in 0..column.len() {
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                self.add(rows.row(row).data(), 1);
            }
        }
        Ok(())
    }

    /// Takes in what [`Self::state`] gave elsewhere.
    pub(super) fn merge(&mut self, states: &ArrayRef) -> Result<()> {
        for state in states.as_list::<i32>().iter().flatten() {
            let Some(pairs) = state.as_struct_opt() else {
                return exec_err!("a state of counted values came as {}", state.data_type());
            };
            let rows = self.rows(pairs.column(0))?;
            let counts = pairs.column(1).as_primitive::<Int64Type>();
            for (row, &count) in counts.values().iter().enumerate() {
                self.add(rows.row(row).data(), count);
            }
        }
        Ok(())
    }

    fn rows(&self, column: &ArrayRef) -> Result<Rows> {
        Ok(self.converter.convert_columns(&[Arc::clone(column)])?)
    }

    fn add(&mut self, key: &[u8], count: i64) {
        let place = match self.places.get(key) {
            Some(&place) => place,
            None if self.values.len() < self.values_max => self.push(key),
            None => self.replace_rarest(key),
        };
        let value = &mut self.values[place];
        let before = (value.count, Reverse(value.age), place);
        value.count += count;
        if self.values_max != usize::MAX {
            self.by_count.remove(&before);
            self.by_count
                .insert((value.count, Reverse(value.age), place));
        }
    }

    fn push(&mut self, key: &[u8]) -> usize {
        let place = self.values.len();
        self.values.push(Value {
            key: key.into(),
            count: 0,
            age: self.ages,
        });
        self.places.insert(key.into(), place);
        self.ages += 1;
        self.key_bytes += 2 * key.len();
        place
    }

    fn replace_rarest(&mut self, key: &[u8]) -> usize {
        let (_, _, place) = self
            .by_count
            .pop_first()
            .expect("a full set of values has a rarest one");
        let value = &mut self.values[place];
        self.places.remove(&value.key);
        self.key_bytes = self.key_bytes + 2 * key.len() - 2 * value.key.len();
        value.key = key.into();
        value.age = self.ages;
        self.places.insert(key.into(), place);
        self.ages += 1;
        place
    }

    /// The most frequent values, at most so many; of equally frequent ones those seen first. NULL
    /// if there is none.
    pub(super) fn most_frequent(&self, count_max: usize) -> Result<ScalarValue> {
        if self.values.is_empty() {
            return ScalarValue::try_from(&pairs_type(&self.data_type));
        }
        let mut values: Vec<&Value> = self.values.iter().collect();
        values.sort_by_key(|value| (Reverse(value.count), value.age));
        values.truncate(count_max);
        self.list(&values)
    }

    /// The most frequent value; of equally frequent ones the least, or the greatest.
    pub(super) fn mode(&self, greatest: bool) -> Result<ScalarValue> {
        let best = self.values.iter().reduce(|best, value| {
            let is_first = if greatest {
                value.key > best.key
            } else {
                value.key < best.key
            };
            if value.count > best.count || (value.count == best.count && is_first) {
                value
            } else {
                best
            }
        });
        match best {
            Some(value) => ScalarValue::try_from_array(&self.array(&[value])?, 0),
            None => ScalarValue::try_from(&self.data_type),
        }
    }

    /// All values, the oldest first.
    pub(super) fn state(&self) -> Result<ScalarValue> {
        let mut values: Vec<&Value> = self.values.iter().collect();
        values.sort_by_key(|value| value.age);
        self.list(&values)
    }

    fn array(&self, values: &[&Value]) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let rows = values.iter().map(|value| parser.parse(&value.key));
        let array = self.converter.convert_rows(rows)?.swap_remove(0);
        Ok(array)
    }

    fn list(&self, values: &[&Value]) -> Result<ScalarValue> {
        let counts: Int64Array = values.iter().map(|value| value.count).collect();
        let pairs = StructArray::try_new(
            pair_fields(&self.data_type),
            vec![self.array(values)?, Arc::new(counts)],
            None,
        )?;
        let list = ListArray::try_new(
            pair_item(&self.data_type),
            OffsetBuffer::from_lengths([values.len()]),
            Arc::new(pairs),
            None,
        )?;
        Ok(ScalarValue::List(Arc::new(list)))
    }

    pub(super) fn size(&self) -> usize {
        self.values.capacity() * size_of::<Value>()
            + self.places.capacity() * size_of::<(Box<[u8]>, usize)>()
            + self.by_count.len() * size_of::<(i64, Reverse<usize>, usize)>()
            + self.key_bytes
            + self.converter.size()
    }
}

/// The type of a list of values with their counts.
pub(super) fn pairs_type(data_type: &DataType) -> DataType {
    DataType::List(pair_item(data_type))
}

fn pair_item(data_type: &DataType) -> FieldRef {
    Arc::new(Field::new_list_field(
        DataType::Struct(pair_fields(data_type)),
        true,
    ))
}

fn pair_fields(data_type: &DataType) -> Fields {
    Fields::from(vec![
        Field::new("value", data_type.clone(), true),
        Field::new("count", DataType::Int64, true),
    ])
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;

    use super::*;

    fn counted(values_max: usize, letters: &str) -> Counted {
        let mut counted = Counted::try_new(&DataType::Utf8View, values_max).unwrap();
        let letters: Vec<String> = letters.chars().map(String::from).collect();
        let column: ArrayRef = Arc::new(StringViewArray::from_iter_values(letters));
        counted.update(&column).unwrap();
        counted
    }

    fn check(counted: &Counted, expected: &[(&str, i64)]) {
        let pairs = counted.most_frequent(expected.len()).unwrap();
        let ScalarValue::List(list) = pairs else {
            unreachable!("it is a list");
        };
        let pairs = list.value(0);
        let values = pairs.as_struct().column(0).as_string_view();
        let counts = pairs.as_struct().column(1).as_primitive::<Int64Type>();
        let found = values.iter().flatten().zip(counts.values().iter().copied());
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_most_frequent_come_first_and_of_equal_ones_the_first_seen() {
        check(&counted(9, "cabbac"), &[("c", 2), ("a", 2), ("b", 2)]);
        check(&counted(9, "abbccc"), &[("c", 3), ("b", 2)]);
    }

    #[test]
    fn a_new_value_takes_the_place_of_the_rarest() {
        check(&counted(2, "aaab"), &[("a", 3), ("b", 1)]);
        check(&counted(2, "aaabc"), &[("a", 3), ("c", 2)]);
        check(&counted(2, "aaabcdcc"), &[("c", 5), ("a", 3)]);
    }

    #[test]
    fn states_merge_into_what_one_would_have_counted() {
        let mut left = counted(9, "abca");
        let right = counted(9, "cbccd");
        let state = right.state().unwrap().to_array().unwrap();
        left.merge(&state).unwrap();
        check(&left, &[("c", 4), ("a", 2), ("b", 2), ("d", 1)]);
    }
}
