//! `sum` and `avg` as DataFusion has them, but exact: a sum of integers or numerics out of its
//! type's range is an error, where DataFusion's wraps around, and an average is rounded, where
//! DataFusion's is cut off.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, ListArray, PrimitiveArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{and, is_not_null, prep_null_mask_filter};
use arrow::datatypes::{
    ArrowPrimitiveType, DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Field, FieldRef,
    Int64Type,
};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::functions_aggregate::{average, sum};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature,
};
use datafusion::scalar::ScalarValue;

use crate::types::ExactSum;

/// `sum` and `avg`.
pub(super) fn functions() -> [AggregateUDF; 2] {
    [sum::sum_udaf(), average::avg_udaf()].map(|inner| AggregateUDF::from(Exact { inner }))
}

/// A function of DataFusion's, which still does what is not exact.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Exact {
    inner: Arc<AggregateUDF>,
}

/// What is added up, and what becomes of it.
#[derive(Debug, Clone)]
struct Plan {
    kind: ExactSum,
    /// The scale of the numbers.
    scale: i8,
    result: DataType,
    /// What the function is called in an error.
    name: String,
}

impl Exact {
    /// `None` where DataFusion's function does it.
    fn plan(&self, argument: &DataType, result: &DataType, name: &str) -> Option<Plan> {
        let scale = match argument {
            DataType::Int64 => 0,
            DataType::Decimal128(_, scale) => *scale,
            _ => return None,
        };
        let kind = if self.name() == "sum" {
            ExactSum::for_sum(result)?
        } else {
            ExactSum::for_average(scale, result)?
        };
        Some(Plan {
            kind,
            scale,
            result: result.clone(),
            name: called(self.name(), name),
        })
    }

    fn plan_of(&self, arguments: &AccumulatorArgs<'_>) -> Option<Plan> {
        let argument = arguments.expr_fields[0].data_type();
        self.plan(argument, arguments.return_type(), arguments.name)
    }
}

impl AggregateUDFImpl for Exact {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
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

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let argument = arguments.input_fields[0].data_type();
        let Some(plan) = self.plan(argument, arguments.return_type(), arguments.name) else {
            return self.inner.state_fields(arguments);
        };
        let sum = DataType::Decimal128(DECIMAL128_MAX_PRECISION, plan.scale);
        let field = |part: &str, of: DataType| {
            let name = format_state_name(arguments.name, part);
            Arc::new(Field::new(name, of, true))
        };
        if arguments.is_distinct {
            let item = Arc::new(Field::new_list_field(sum, true));
            return Ok(vec![field("values", DataType::List(item))]);
        }
        Ok(vec![field("sum", sum), field("count", DataType::Int64)])
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match self.plan_of(&arguments) {
            None => self.inner.accumulator(arguments),
            Some(plan) if arguments.is_distinct => Ok(Box::new(OfDifferent {
                plan,
                values: BTreeSet::new(),
            })),
            Some(plan) => Ok(Box::new(OfAll {
                plan,
                sum: 0,
                count: 0,
            })),
        }
    }

    fn create_sliding_accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        if arguments.is_distinct || self.plan_of(&arguments).is_none() {
            return self.inner.create_sliding_accumulator(arguments);
        }
        self.accumulator(arguments)
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        match self.plan_of(&arguments) {
            None => self.inner.groups_accumulator_supported(arguments),
            Some(_) => !arguments.is_distinct,
        }
    }

    fn create_groups_accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match self.plan_of(&arguments) {
            None => self.inner.create_groups_accumulator(arguments),
            Some(plan) => Ok(Box::new(OfGroups {
                plan,
                sums: Vec::new(),
            })),
        }
    }
}

/// `sum(x) ROWS BETWEEN ..` is `sum(x)`; a name that the optimizer made up is only `sum`.
fn called(function: &str, name: &str) -> String {
    match name.split_once(')') {
        Some((call, _)) if !call.contains("(alias") => format!("{call})"),
        _ => function.to_owned(),
    }
}

impl Plan {
    fn add(&self, (sum, count): &mut (i128, i64), value: i128) -> Result<()> {
        *sum = self.kind.add(*sum, value, &self.name)?;
        *count += 1;
        Ok(())
    }

    fn result(&self, sum: i128, count: i64) -> Result<Option<i128>> {
        if count == 0 {
            return Ok(None);
        }
        Ok(Some(self.kind.result(sum, count, &self.name)?))
    }

    fn scalar(&self, value: Option<i128>) -> Result<ScalarValue> {
        match (&self.result, value) {
            (DataType::Decimal128(precision, scale), value) => {
                Ok(ScalarValue::Decimal128(value, *precision, *scale))
            }
            (_, Some(value)) => match i64::try_from(value) {
                Ok(value) => Ok(ScalarValue::Int64(Some(value))),
                Err(_) => exec_err!("bigint out of range"),
            },
            (_, None) => Ok(ScalarValue::Int64(None)),
        }
    }

    fn sums_array(&self, sums: Vec<i128>, nulls: Option<NullBuffer>) -> ArrayRef {
        let of = DataType::Decimal128(DECIMAL128_MAX_PRECISION, self.scale);
        let sums = Decimal128Array::new(sums.into(), nulls);
        Arc::new(sums.with_data_type(of))
    }
}

/// The values of a column that are not NULL, with their rows.
fn values(column: &ArrayRef) -> Result<Box<dyn Iterator<Item = (usize, i128)> + '_>> {
    fn of<T: ArrowPrimitiveType>(column: &ArrayRef) -> Box<dyn Iterator<Item = (usize, i128)> + '_>
    where
        T::Native: Into<i128>,
    {
        let values = column.as_primitive::<T>().iter().enumerate();
        Box::new(values.filter_map(|(row, value)| Some((row, value?.into()))))
    }
    match column.data_type() {
        DataType::Int64 => Ok(of::<Int64Type>(column)),
        DataType::Decimal128(..) => Ok(of::<Decimal128Type>(column)),
        other => exec_err!("a sum is not exact over {other}"),
    }
}

#[derive(Debug)]
struct OfAll {
    plan: Plan,
    sum: i128,
    count: i64,
}

impl Accumulator for OfAll {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let mut sum = (self.sum, self.count);
        for (_, value) in values(&columns[0])? {
            self.plan.add(&mut sum, value)?;
        }
        (self.sum, self.count) = sum;
        Ok(())
    }

    fn retract_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        for (_, value) in values(&columns[0])? {
            self.sum -= value;
            self.count -= 1;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts = states[1].as_primitive::<Int64Type>();
        for (row, sum) in values(&states[0])? {
            self.sum = self.plan.kind.add(self.sum, sum, &self.plan.name)?;
            self.count += counts.value(row);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.plan.scalar(self.plan.result(self.sum, self.count)?)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = Some(self.sum);
        Ok(vec![
            ScalarValue::Decimal128(sum, DECIMAL128_MAX_PRECISION, self.plan.scale),
            ScalarValue::Int64(Some(self.count)),
        ])
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The function with DISTINCT.
#[derive(Debug)]
struct OfDifferent {
    plan: Plan,
    values: BTreeSet<i128>,
}

impl Accumulator for OfDifferent {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.values
            .extend(values(&columns[0])?.map(|(_, value)| value));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for state in states[0].as_list::<i32>().iter().flatten() {
            self.update_batch(&[state])?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut sum = (0, 0);
        for value in &self.values {
            self.plan.add(&mut sum, *value)?;
        }
        self.plan.scalar(self.plan.result(sum.0, sum.1)?)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = self
            .plan
            .sums_array(self.values.iter().copied().collect(), None);
        let list = ListArray::try_new(
            Arc::new(Field::new_list_field(values.data_type().clone(), true)),
            OffsetBuffer::from_lengths([values.len()]),
            values,
            None,
        )?;
        Ok(vec![ScalarValue::List(Arc::new(list))])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.len() * 2 * size_of::<i128>()
    }
}

/// A sum and a count for each group.
struct OfGroups {
    plan: Plan,
    sums: Vec<(i128, i64)>,
}

impl GroupsAccumulator for OfGroups {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        keep: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.sums.resize(total, (0, 0));
        let keep = keep.map(|keep| match keep.null_count() {
            0 => keep.clone(),
            _ => prep_null_mask_filter(keep),
        });
        for (row, value) in values(&columns[0])? {
            if keep.as_ref().is_none_or(|keep| keep.value(row)) {
                self.plan.add(&mut self.sums[groups[row]], value)?;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.sums.resize(total, (0, 0));
        let counts = states[1].as_primitive::<Int64Type>();
        for (row, value) in values(&states[0])? {
            let (sum, count) = &mut self.sums[groups[row]];
            *sum = self.plan.kind.add(*sum, value, &self.plan.name)?;
            *count += counts.value(row);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let results = emit_to
            .take_needed(&mut self.sums)
            .into_iter()
            .map(|(sum, count)| self.plan.result(sum, count))
            .collect::<Result<Vec<_>>>()?;
        if self.plan.result == DataType::Int64 {
            let narrow = |value: Option<i128>| value.and_then(|value| i64::try_from(value).ok());
            let results: Int64Array = results.into_iter().map(narrow).collect();
            return Ok(Arc::new(results));
        }
        let results: PrimitiveArray<Decimal128Type> = results.into_iter().collect();
        Ok(Arc::new(results.with_data_type(self.plan.result.clone())))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let sums = emit_to.take_needed(&mut self.sums);
        let (sums, counts): (Vec<_>, Vec<_>) = sums.into_iter().unzip();
        let counts = Int64Array::from(counts);
        Ok(vec![self.plan.sums_array(sums, None), Arc::new(counts)])
    }

    fn convert_to_state(
        &self,
        columns: &[ArrayRef],
        keep: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut counts = is_not_null(&columns[0])?;
        if let Some(keep) = keep {
            counts = and(&counts, &prep_null_mask_filter(keep))?;
        }
        let mut sums = vec![0; columns[0].len()];
        for (row, value) in values(&columns[0])? {
            sums[row] = value;
        }
        let counted = NullBuffer::new(counts.values().clone());
        let counts: Int64Array = counted.iter().map(|one| Some(i64::from(one))).collect();
        Ok(vec![
            self.plan.sums_array(sums, Some(counted)),
            Arc::new(counts),
        ])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<(i128, i64)>()
    }
}
