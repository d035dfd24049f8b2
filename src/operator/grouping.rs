//! A batch's rows on their way into group tables: keys, arguments and filters evaluated once, and
//! for GROUPING SETS the keys of each set.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array, new_null_array};
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::FieldRef;
use arrow::record_batch::RecordBatch;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::row_pipeline::{condition, evaluate};
use crate::error::{Result, from_arrow, from_datafusion};
use crate::plan::AggregatePlan;
use crate::state::{Frozen, GroupTable, Rows as KeyedRows, TableUse};

/// What all tables of an aggregation have in common.
#[derive(Debug)]
pub(super) struct Grouping {
    pub plan: Arc<AggregatePlan>,
    keys: Vec<FieldRef>,
    functions: Vec<Arc<AggregateFunctionExpr>>,
    /// What the tables are for.
    wanted: TableUse,
}

/// A batch's columns, evaluated.
pub(super) struct Evaluated {
    pub keys: Vec<ArrayRef>,
    pub arguments: Vec<Vec<ArrayRef>>,
    pub filters: Vec<Option<BooleanArray>>,
    pub len: usize,
}

impl Grouping {
    pub(super) fn new(plan: Arc<AggregatePlan>, wanted: TableUse) -> Self {
        let functions = plan.calls.iter().map(|call| Arc::clone(&call.function));
        Self {
            keys: plan.key_fields(),
            functions: functions.collect(),
            plan,
            wanted,
        }
    }

    /// What the tables are for.
    pub(super) fn wanted(&self) -> TableUse {
        self.wanted
    }

    /// Whether values are read while a table lives.
    pub(super) fn readable(&self) -> bool {
        self.wanted.readable
    }

    /// Whether images are taken.
    pub(super) fn durable(&self) -> bool {
        self.wanted.durable
    }

    /// The key columns' fields.
    pub(super) fn key_fields(&self) -> &[FieldRef] {
        &self.keys
    }

    /// The aggregate functions.
    pub(super) fn functions(&self) -> &[Arc<AggregateFunctionExpr>] {
        &self.functions
    }

    /// An empty table.
    pub(super) fn table(&self) -> Result<GroupTable> {
        GroupTable::try_new(&self.keys, &self.functions, self.wanted)
    }

    /// The table at a place; an empty one if there is none yet.
    pub(super) fn table_at<'a, K: Ord>(
        &self,
        tables: &'a mut BTreeMap<K, GroupTable>,
        place: K,
    ) -> Result<&'a mut GroupTable> {
        Ok(match tables.entry(place) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(self.table()?),
        })
    }

    /// A table of frozen groups.
    pub(super) fn thaw<'a>(
        &self,
        parts: impl IntoIterator<Item = &'a Frozen>,
    ) -> Result<GroupTable> {
        let mut table = self.table()?;
        for part in parts {
            table.merge(part)?;
        }
        Ok(table)
    }

    pub(super) fn evaluate(&self, batch: &RecordBatch) -> Result<Evaluated> {
        let all = |exprs: &[Arc<dyn PhysicalExpr>]| -> Result<Vec<ArrayRef>> {
            exprs.iter().map(|e| evaluate(e, batch)).collect()
        };
        let plan = &self.plan;
        let keys = plan.keys.iter().map(|(e, _)| evaluate(e, batch));
        let filters = plan.calls.iter().map(|call| {
            let filter = call.filter.as_ref();
            filter.map(|f| condition(f, batch)).transpose()
        });
        let filters: Vec<Option<BooleanArray>> = filters.collect::<Result<_>>()?;
        let calls = plan.calls.iter().zip(&filters);
        let arguments = calls.map(|(call, filter)| match (all(&call.arguments), filter) {
            (Err(error), Some(filter)) if error.is_of_data() => {
                behind(&call.arguments, batch, filter)
            }
            (arguments, _) => arguments,
        });
        Ok(Evaluated {
            keys: keys.collect::<Result<_>>()?,
            arguments: arguments.collect::<Result<_>>()?,
            filters,
            len: batch.num_rows(),
        })
    }

    /// Hands the picked rows (`None`: all) to a table; `touched` learns each row's group.
    pub(super) fn update(
        &self,
        table: &mut GroupTable,
        columns: &Evaluated,
        picked: Option<&[u32]>,
        mut touched: impl FnMut(&[usize]),
    ) -> Result<()> {
        let part = picked.map(|picked| columns.take(picked)).transpose()?;
        let columns = part.as_ref().unwrap_or(columns);
        let Some(sets) = &self.plan.sets else {
            touched(table.update(&columns.rows(&columns.keys))?);
            return Ok(());
        };
        for (is_null, id) in &sets.sets {
            let mut keys: Vec<ArrayRef> = columns
                .keys
                .iter()
                .zip(is_null)
                .map(|(key, is_null)| match is_null {
                    true => new_null_array(key.data_type(), columns.len),
                    false => Arc::clone(key),
                })
                .collect();
            keys.push(id.to_array_of_size(columns.len).map_err(from_datafusion)?);
            touched(table.update(&columns.rows(&keys))?);
        }
        Ok(())
    }
}

/// Values of the rows that a FILTER lets through, computed of no other ones; NULL in their place.
fn behind(
    exprs: &[Arc<dyn PhysicalExpr>],
    batch: &RecordBatch,
    filter: &BooleanArray,
) -> Result<Vec<ArrayRef>> {
    let kept = filter_record_batch(batch, filter).map_err(from_arrow)?;
    let mut next = 0..;
    let place = |counts: bool| counts.then(|| next.next()).flatten();
    let places: UInt32Array = filter.values().iter().map(place).collect();
    let values = exprs.iter().map(|expr| {
        let values = evaluate(expr, &kept)?;
        take(&values, &places, None).map_err(from_arrow)
    });
    values.collect()
}

impl Evaluated {
    fn rows<'a>(&'a self, keys: &'a [ArrayRef]) -> KeyedRows<'a> {
        KeyedRows {
            keys,
            arguments: &self.arguments,
            filters: &self.filters,
            len: self.len,
        }
    }

    /// Some of the rows.
    pub(super) fn take(&self, rows: &[u32]) -> Result<Self> {
        let rows = UInt32Array::from(rows.to_vec());
        let pick = |column: &ArrayRef| take(column, &rows, None).map_err(from_arrow);
        let all = |columns: &Vec<ArrayRef>| columns.iter().map(pick).collect::<Result<Vec<_>>>();
        let filters = self.filters.iter().map(|filter| match filter {
            Some(mask) => {
                let mask = take(mask, &rows, None).map_err(from_arrow)?;
                Ok(Some(mask.as_boolean().clone()))
            }
            None => Ok(None),
        });
        Ok(Self {
            keys: all(&self.keys)?,
            arguments: self.arguments.iter().map(all).collect::<Result<_>>()?,
            filters: filters.collect::<Result<_>>()?,
            len: rows.len(),
        })
    }
}
