//! A row of an indicator: its value, and where it stands among the others.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Float64Type;
use arrow::row::{RowConverter, SortField};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::scalar::ScalarValue;

/// A value with a key whose bytes are in the order that was asked for.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) key: Box<[u8]>,
    pub(super) value: f64,
}

impl Pair {
    /// By the key, and of equal keys by the value.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let keys = self.key.cmp(&other.key);
        keys.then_with(|| self.value.total_cmp(&other.value))
    }

    /// Two columns of a state; NULL for none.
    pub(super) fn state(pair: Option<&Self>) -> [ScalarValue; 2] {
        [
            ScalarValue::Float64(pair.map(|pair| pair.value)),
            ScalarValue::Binary(pair.map(|pair| pair.key.to_vec())),
        ]
    }

    /// What [`Self::state`] gave, row by row, without those of none.
    pub(super) fn each(
        values: &ArrayRef,
        keys: &ArrayRef,
        mut take: impl FnMut(Self),
    ) -> Result<()> {
        let Some(keys) = keys.as_binary_opt::<i32>() else {
            return exec_err!("the keys of an indicator are bytes");
        };
        for (value, key) in values.as_primitive::<Float64Type>().iter().zip(keys) {
            if let (Some(value), Some(key)) = (value, key) {
                take(Self {
                    key: key.into(),
                    value,
                });
            }
        }
        Ok(())
    }

    /// Memory held beside the pair itself, in bytes.
    pub(super) fn key_bytes(&self) -> usize {
        self.key.len().next_multiple_of(16)
    }
}

/// Finds the value and the place of each row.
#[derive(Debug)]
pub(super) struct Places {
    /// `None` without an order: rows are taken as they come.
    converter: Option<RowConverter>,
    /// The first of the ordering columns.
    first: usize,
}

impl Places {
    pub(super) fn try_new(arguments: &AccumulatorArgs<'_>) -> Result<Self> {
        let order = arguments.order_bys.iter().map(|sort| {
            let data_type = sort.expr.data_type(arguments.schema)?;
            Ok(SortField::new_with_options(data_type, sort.options))
        });
        let order: Vec<SortField> = order.collect::<Result<_>>()?;
        let converter = (!order.is_empty()).then(|| RowConverter::new(order));
        Ok(Self {
            converter: converter.transpose()?,
            first: arguments.exprs.len(),
        })
    }

    /// Whether rows have an order of their own.
    pub(super) fn are_ordered(&self) -> bool {
        self.converter.is_some()
    }

    /// Hands out each row that counts, in the order in which they came.
    pub(super) fn each(&self, columns: &[ArrayRef], mut take: impl FnMut(Pair)) -> Result<()> {
        let values = columns[0].as_primitive::<Float64Type>();
        let Some(converter) = &self.converter else {
            for value in values.iter().flatten() {
                take(Pair {
                    key: Box::default(),
                    value,
                });
            }
            return Ok(());
        };
        let order = &columns[self.first..];
        let rows = converter.convert_columns(order)?;
        let without_place = order[0].logical_nulls();
        for row in 0..values.len() {
            let has_place = without_place
                .as_ref()
                .is_none_or(|nulls| nulls.is_valid(row));
            if has_place && values.is_valid(row) {
                take(Pair {
                    key: rows.row(row).data().into(),
                    value: values.value(row),
                });
            }
        }
        Ok(())
    }
}
