//! The accumulators against DataFusion's own answer, and what can be read of them on the way.

mod oracle;
mod repeated;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateFunctionExpr, LoweredAggregateBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::executor::block_on;

use super::accumulator::{GroupAccumulator, Update};
use super::group_table::{TableUse, accumulator};
use crate::functions::{AggregateSpellings, aggregate_functions};

/// A row of table `t`.
#[derive(Debug, Clone)]
struct Row {
    group: usize,
    small: Option<i32>,
    big: Option<i64>,
    float: Option<f64>,
    /// A number that may be NaN or infinite.
    any_float: Option<f64>,
    exact: Option<i128>,
    text: Option<String>,
    time: Option<i64>,
    flag: Option<bool>,
}

fn schema() -> SchemaRef {
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    Arc::new(Schema::new(vec![
        Field::new("g", DataType::Int64, true),
        Field::new("id", DataType::Int64, true),
        Field::new("i", DataType::Int32, true),
        Field::new("n", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
        Field::new("x", DataType::Float64, true),
        Field::new("d", DataType::Decimal128(10, 2), true),
        Field::new("s", DataType::Utf8View, true),
        Field::new("t", timestamp, true),
        Field::new("b", DataType::Boolean, true),
    ]))
}

fn number(value: usize) -> i64 {
    i64::try_from(value).unwrap()
}

/// The rows as columns; `id` counts them from `first_id`.
fn columns(rows: &[Row], first_id: usize) -> RecordBatch {
    let ids = (0..rows.len()).map(|row| number(first_id + row));
    let exact = Decimal128Array::from_iter(rows.iter().map(|r| r.exact));
    let times = TimestampMicrosecondArray::from_iter(rows.iter().map(|r| r.time));
    let texts = StringViewArray::from_iter(rows.iter().map(|r| r.text.as_deref()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|r| number(r.group)),
        )),
        Arc::new(Int64Array::from_iter_values(ids)),
        Arc::new(Int32Array::from_iter(rows.iter().map(|r| r.small))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.big))),
        Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.float))),
        Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.any_float))),
        Arc::new(exact.with_precision_and_scale(10, 2).unwrap()),
        Arc::new(texts),
        Arc::new(times.with_timezone("+00:00")),
        Arc::new(rows.iter().map(|r| r.flag).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// DataFusion with our functions; making it takes long.
static CONTEXT: LazyLock<SessionContext> = LazyLock::new(|| {
    let config = SessionConfig::new().with_target_partitions(1);
    let mut builder = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config);
    builder
        .expr_planners()
        .get_or_insert_with(Vec::new)
        .insert(0, Arc::new(AggregateSpellings));
    builder
        .aggregate_functions()
        .get_or_insert_with(Vec::new)
        .extend(aggregate_functions());
    SessionContext::new_with_state(builder.build())
});

/// The rows of `SELECT .. FROM t ..` over a table `t` with these rows.
fn collect(select: &str, rows: &[Row], group: &str) -> Vec<RecordBatch> {
    static TABLES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("t{}", TABLES.fetch_add(1, Ordering::Relaxed));
    let table = MemTable::try_new(schema(), vec![vec![columns(rows, 0)]]).unwrap();
    CONTEXT
        .register_table(name.as_str(), Arc::new(table))
        .unwrap();
    let frame = block_on(CONTEXT.sql(&format!("SELECT {select} FROM {name} AS t {group}")));
    let batches = block_on(frame.unwrap().collect()).unwrap();
    CONTEXT.deregister_table(name.as_str()).unwrap();
    batches
}

/// An aggregate with what it is fed.
struct Function {
    expr: Arc<AggregateFunctionExpr>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
}

/// Plans an aggregate over `t`, as the planner does.
fn function(sql: &str) -> Function {
    let table = MemTable::try_new(schema(), vec![vec![]]).unwrap();
    // Another test may have put it there; it is the same.
    drop(CONTEXT.register_table("t", Arc::new(table)));
    let state = CONTEXT.state();
    let plan = block_on(state.create_logical_plan(&format!("SELECT {sql} FROM t"))).unwrap();
    let plan = state
        .analyzer()
        .execute_and_check(plan, state.config_options(), |_, _| {})
        .unwrap();
    let planning = PhysicalPlanningContext::default();
    let mut found = None;
    plan.apply(|node| {
        if let LogicalPlan::Aggregate(aggregate) = node {
            let input = aggregate.input.schema();
            let lowered = LoweredAggregateBuilder::new(
                &aggregate.aggr_expr[0],
                input,
                input.as_arrow(),
                state.execution_props(),
                &planning,
            );
            found = Some(lowered.build()?);
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    let lowered = found.expect("the statement has an aggregate");
    let mut arguments = lowered.aggregate.expressions();
    let order = lowered.aggregate.order_bys();
    arguments.extend(order.iter().map(|sort| Arc::clone(&sort.expr)));
    Function {
        expr: lowered.aggregate,
        arguments,
        filter: lowered.filter,
    }
}

/// Each group with its value, as DataFusion computes it over these rows.
fn batch_answer(sql: &str, rows: &[Row]) -> BTreeMap<usize, String> {
    let mut answer = BTreeMap::new();
    for batch in collect(&format!("g, {sql}"), rows, "GROUP BY g") {
        let groups = batch.column(0).as_primitive::<Int64Type>().values();
        let groups = groups.iter().map(|group| usize::try_from(*group).unwrap());
        answer.extend(groups.zip(texts(batch.column(1))));
    }
    answer
}

/// The value of a group without rows.
fn empty_answer(sql: &str) -> String {
    let batches = collect(sql, &[], "");
    texts(batches[0].column(0)).swap_remove(0)
}

fn texts(column: &ArrayRef) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column, &options).unwrap();
    (0..column.len())
        .map(|row| formatter.value(row).to_string())
        .collect()
}

/// Of accumulators that give images.
const DURABLE: TableUse = TableUse {
    readable: false,
    durable: true,
};

/// One accumulator under test, fed as a group table feeds it: groups are numbered as they come.
struct Fed<'a> {
    function: &'a Function,
    accumulator: Box<dyn GroupAccumulator>,
    groups: Vec<usize>,
}

impl<'a> Fed<'a> {
    fn new(function: &'a Function, readable: bool) -> Self {
        let wanted = TableUse {
            readable,
            durable: false,
        };
        Self::wanted(function, wanted)
    }

    fn wanted(function: &'a Function, wanted: TableUse) -> Self {
        let accumulator = accumulator(&function.expr, wanted).unwrap();
        Self {
            function,
            accumulator,
            groups: Vec::new(),
        }
    }

    fn number_of(&self, group: usize) -> Option<usize> {
        self.groups.iter().position(|known| *known == group)
    }

    fn intern(&mut self, groups: impl Iterator<Item = usize>) -> Vec<usize> {
        groups
            .map(|group| {
                self.number_of(group).unwrap_or_else(|| {
                    self.groups.push(group);
                    self.groups.len() - 1
                })
            })
            .collect()
    }

    fn update(&mut self, rows: &[Row], first_id: usize) {
        let batch = columns(rows, first_id);
        let evaluate = |expr: &Arc<dyn PhysicalExpr>| {
            let value = expr.evaluate(&batch).unwrap();
            value.into_array(batch.num_rows()).unwrap()
        };
        let arguments: Vec<ArrayRef> = self.function.arguments.iter().map(evaluate).collect();
        let filter = self.function.filter.as_ref().map(evaluate);
        let groups = self.intern(rows.iter().map(|row| row.group));
        self.accumulator
            .update(Update {
                arguments: &arguments,
                groups: &groups,
                keep: filter.as_ref().map(|mask| mask.as_boolean()),
                total: self.groups.len(),
            })
            .unwrap();
    }

    /// Takes in all that the other one has.
    fn merge(&mut self, other: &mut Self) {
        let groups = self.intern(std::mem::take(&mut other.groups).into_iter());
        let states = other.accumulator.take_state().unwrap();
        self.accumulator
            .merge(&states, &groups, self.groups.len())
            .unwrap();
    }

    /// One that goes on with what this one holds, a group after the other.
    fn restored(&mut self) -> Self {
        let mut fresh = Self::wanted(self.function, DURABLE);
        for (number, group) in self.groups.iter().enumerate() {
            let states = self.accumulator.states_of(&[number]).unwrap();
            fresh.groups.push(*group);
            let total = fresh.groups.len();
            fresh.accumulator.merge(&states, &[number], total).unwrap();
        }
        fresh
    }

    /// Each group with its value, in the order of the groups.
    fn read(&mut self) -> BTreeMap<usize, String> {
        let numbers: Vec<usize> = (0..self.groups.len()).collect();
        let values = texts(&self.accumulator.read(&numbers).unwrap());
        self.groups.iter().copied().zip(values).collect()
    }

    fn take(mut self) -> BTreeMap<usize, String> {
        let values = texts(&self.accumulator.take_values(self.groups.len()).unwrap());
        self.groups.into_iter().zip(values).collect()
    }
}

/// Equal, but for the last digits of floating-point numbers.
fn assert_alike(found: &BTreeMap<usize, String>, expected: &BTreeMap<usize, String>, what: &str) {
    let alike = |(left, right): (&String, &String)| {
        let close = match (left.parse::<f64>(), right.parse::<f64>()) {
            (Ok(left), Ok(right)) => (left - right).abs() <= 1e-9 * left.abs().max(1.0),
            _ => false,
        };
        left == right || close
    };
    let same = found.keys().eq(expected.keys()) && found.values().zip(expected.values()).all(alike);
    assert!(same, "{what}\n   found {found:?}\nexpected {expected:?}");
}
