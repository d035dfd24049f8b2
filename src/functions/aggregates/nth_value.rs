//! `nth_value(x, n ORDER BY ..)`, which unlike DataFusion's does not need its rows sorted.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, ListArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;
use datafusion::scalar::ScalarValue;

use crate::error::{Error, SqlState};

/// How far from the first or last value one may be asked for: all values before it are kept.
const N_MAX: i64 = 10_000;

pub(super) fn function() -> AggregateUDF {
    AggregateUDF::from(NthValue {
        signature: Signature::any(2, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NthValue {
    signature: Signature,
}

impl AggregateUDFImpl for NthValue {
    fn name(&self) -> &str {
        "nth_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Beneficial
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        _is_ordered: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(self))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let list = |part: &str, of: &DataType| {
            let name = format_state_name(arguments.name, part);
            let item = Arc::new(Field::new_list_field(of.clone(), true));
            Arc::new(Field::new(name, DataType::List(item), true))
        };
        Ok(vec![
            list("values", arguments.return_type()),
            list("keys", &DataType::Binary),
        ])
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let n = arguments.exprs[1]
            .downcast_ref::<Literal>()
            .and_then(|literal| match literal.value() {
                ScalarValue::Int64(n) => *n,
                _ => None,
            })
            .filter(|n| (1..=N_MAX).contains(&n.abs()))
            .ok_or_else(|| {
                DataFusionError::from(Error::user(
                    SqlState::InvalidParameterValue,
                    format!("nth_value(x, n) takes a number from 1 to {N_MAX} as its n"),
                ))
            })?;
        let order = arguments.order_bys.iter().map(|sort| {
            let data_type = sort.expr.data_type(arguments.schema)?;
            Ok(SortField::new_with_options(data_type, sort.options))
        });
        let order: Vec<SortField> = order.collect::<Result<_>>()?;
        Ok(Box::new(Nth {
            data_type: arguments.return_type().clone(),
            wanted: usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX),
            from_last: n < 0,
            converter: if order.is_empty() {
                None
            } else {
                Some(RowConverter::new(order)?)
            },
            values: Vec::new(),
        }))
    }
}

/// The first values, or the last ones, up to the one that is wanted; equal ones in the order in which
/// they came.
#[derive(Debug)]
struct Nth {
    data_type: DataType,
    wanted: usize,
    from_last: bool,
    /// Makes keys whose bytes are in the order that was asked for.
    converter: Option<RowConverter>,
    /// In order, at most `wanted`.
    values: Vec<(Box<[u8]>, ScalarValue)>,
}

impl Nth {
    fn add(&mut self, key: &[u8], value: impl FnOnce() -> Result<ScalarValue>) -> Result<()> {
        let place = self.values.partition_point(|(known, _)| **known <= *key);
        let is_full = self.values.len() == self.wanted;
        let falls_out = if self.from_last { 0 } else { self.wanted };
        if is_full && place == falls_out {
            return Ok(());
        }
        self.values.insert(place, (key.into(), value()?));
        if is_full {
            self.values.remove(falls_out);
        }
        Ok(())
    }
}

impl Accumulator for Nth {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let values = &columns[0];
        let rows = match &self.converter {
            Some(converter) => Some(converter.convert_columns(&columns[2..])?),
            None => None,
        };
        for row in 0..values.len() {
            let value = || Ok(ScalarValue::try_from_array(values, row)?.compacted());
            match &rows {
                Some(rows) => self.add(rows.row(row).data(), value)?,
                None => self.add(&[], value)?,
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let values = states[0].as_list::<i32>().iter().flatten();
        let keys = states[1].as_list::<i32>().iter().flatten();
        for (values, keys) in values.zip(keys) {
            for (row, key) in keys.as_binary::<i32>().iter().enumerate() {
                self.add(key.unwrap_or_default(), || {
                    Ok(ScalarValue::try_from_array(&values, row)?.compacted())
                })?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.values.len() < self.wanted {
            return ScalarValue::try_from(&self.data_type);
        }
        let place = if self.from_last { 0 } else { self.wanted - 1 };
        Ok(self.values[place].1.clone())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = if self.values.is_empty() {
            new_empty_array(&self.data_type)
        } else {
            ScalarValue::iter_to_array(self.values.iter().map(|(_, value)| value.clone()))?
        };
        let keys = BinaryArray::from_iter_values(self.values.iter().map(|(key, _)| key));
        let list = |items: ArrayRef| -> Result<ScalarValue> {
            let list = ListArray::try_new(
                Arc::new(Field::new_list_field(items.data_type().clone(), true)),
                OffsetBuffer::from_lengths([items.len()]),
                items,
                None,
            )?;
            Ok(ScalarValue::List(Arc::new(list)))
        };
        Ok(vec![list(values)?, list(Arc::new(keys))?])
    }

    fn size(&self) -> usize {
        let each = |(key, value): &(Box<[u8]>, ScalarValue)| key.len() + value.size();
        size_of_val(self)
            + self.values.iter().map(each).sum::<usize>()
            + self.converter.as_ref().map_or(0, RowConverter::size)
    }
}
