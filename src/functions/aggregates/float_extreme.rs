//! `min` and `max` as DataFusion has them, but with PostgreSQL's order of floating-point numbers: NaN
//! is greater than all others, whatever the order of the rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, prep_null_mask_filter};
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::error::Result;
use datafusion::functions_aggregate::min_max;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion::scalar::ScalarValue;

use crate::types::float_is_less;

/// `min` and `max`.
pub(super) fn functions() -> [AggregateUDF; 2] {
    let function = |greatest, inner| AggregateUDF::from(FloatExtreme { greatest, inner });
    [
        function(false, min_max::min_udaf()),
        function(true, min_max::max_udaf()),
    ]
}

/// A function of DataFusion's, which still does all other types.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FloatExtreme {
    greatest: bool,
    inner: Arc<AggregateUDF>,
}

impl FloatExtreme {
    fn is_ours(result: &DataType) -> bool {
        matches!(result, DataType::Float32 | DataType::Float64)
    }
}

impl AggregateUDFImpl for FloatExtreme {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field(&self, arguments: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(arguments)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        if Self::is_ours(statistics.return_type) {
            return None;
        }
        self.inner.value_from_stats(statistics)
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(arguments)
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if !Self::is_ours(arguments.return_type()) {
            return self.inner.accumulator(arguments);
        }
        Ok(Box::new(OfRows {
            groups: OfGroups::new(self.greatest, arguments.return_type()),
        }))
    }

    fn create_sliding_accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(arguments)
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        Self::is_ours(arguments.return_type()) || self.inner.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        if !Self::is_ours(arguments.return_type()) {
            return self.inner.create_groups_accumulator(arguments);
        }
        let groups = OfGroups::new(self.greatest, arguments.return_type());
        Ok(Box::new(groups))
    }
}

/// The least or greatest number of each group, held in 64 bits, which hold a `real` exactly.
#[derive(Debug)]
struct OfGroups {
    greatest: bool,
    result: DataType,
    values: Vec<Option<f64>>,
}

impl OfGroups {
    fn new(greatest: bool, result: &DataType) -> Self {
        Self {
            greatest,
            result: result.clone(),
            values: Vec::new(),
        }
    }

    fn take_in(
        &mut self,
        column: &ArrayRef,
        group_of: impl Fn(usize) -> usize,
        keep: Option<&BooleanArray>,
    ) -> Result<()> {
        let numbers = cast(column, &DataType::Float64)?;
        let keep = keep.map(prep_null_mask_filter);
        for (row, new) in numbers.as_primitive::<Float64Type>().iter().enumerate() {
            let Some(new) = new else { continue };
            if keep.as_ref().is_some_and(|keep| !keep.value(row)) {
                continue;
            }
            let value = &mut self.values[group_of(row)];
            let is_better = value.is_none_or(|old| {
                if self.greatest {
                    float_is_less(old, new)
                } else {
                    float_is_less(new, old)
                }
            });
            if is_better {
                *value = Some(new);
            }
        }
        Ok(())
    }

    fn array(&self, values: Vec<Option<f64>>) -> Result<ArrayRef> {
        Ok(cast(&Float64Array::from(values), &self.result)?)
    }
}

impl GroupsAccumulator for OfGroups {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        keep: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.values.resize(total, None);
        self.take_in(&columns[0], |row| groups[row], keep)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.update_batch(states, groups, None, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let values = emit_to.take_needed(&mut self.values);
        self.array(values)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn convert_to_state(
        &self,
        columns: &[ArrayRef],
        keep: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let Some(keep) = keep else {
            return Ok(vec![Arc::clone(&columns[0])]);
        };
        let numbers = cast(&columns[0], &DataType::Float64)?;
        let numbers = numbers.as_primitive::<Float64Type>();
        let kept = NullBuffer::new(prep_null_mask_filter(keep).values().clone());
        let nulls = NullBuffer::union(numbers.nulls(), Some(&kept));
        let numbers = Float64Array::new(numbers.values().clone(), nulls);
        Ok(vec![cast(&numbers, &self.result)?])
    }

    fn size(&self) -> usize {
        self.values.capacity() * size_of::<Option<f64>>()
    }
}

/// All rows as one group.
#[derive(Debug)]
struct OfRows {
    groups: OfGroups,
}

impl Accumulator for OfRows {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.groups.values.resize(1, None);
        self.groups.take_in(&columns[0], |_| 0, None)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.groups.values.resize(1, None);
        let value = self.groups.array(self.groups.values.clone())?;
        ScalarValue::try_from_array(&value, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.groups.size()
    }
}
