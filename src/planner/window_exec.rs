//! Windows in a snapshot: a step of DataFusion's plan.
//!
//! Aligned windows are told row by row. Sessions need a key's rows together and in order of time:
//! DataFusion is asked for that, and puts the exchange and the sort below.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{SortOptions, take_record_batch};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimestampMicrosecondType};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{internal_datafusion_err, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr,
    PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, PlanProperties,
};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use futures::{StreamExt, TryStreamExt};

use super::session_rows::SessionRows;
use super::window_node::{WindowNode, bound_fields};
use crate::error::{Error, SqlState};
use crate::types::{WindowKind, WindowSpan};

/// DataFusion's planner, which also knows our windows.
#[derive(Debug)]
pub(super) struct WindowPlanner;

#[async_trait]
impl QueryPlanner for WindowPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(WindowExtension)])
            .create_physical_plan(plan, session)
            .await
    }
}

struct WindowExtension;

#[async_trait]
impl ExtensionPlanner for WindowExtension {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<WindowNode>() else {
            return Ok(None);
        };
        let schema = node.input.schema();
        let compile = |expr| planner.create_physical_expr(expr, schema, session, context);
        let time = compile(&node.time)?;
        let partition = node.partition.iter().map(compile).collect::<Result<_>>()?;
        let [input] = inputs else {
            return internal_err!("a window has one input");
        };
        let windows = Windows {
            kind: node.kind,
            time,
            partition,
        };
        Ok(Some(Arc::new(WindowExec::try_new(
            Arc::clone(input),
            windows,
        )?)))
    }
}

/// Which windows, compiled.
#[derive(Debug, Clone)]
pub(super) struct Windows {
    pub(super) kind: WindowKind,
    pub(super) time: Arc<dyn PhysicalExpr>,
    /// The keys of a session.
    pub(super) partition: Vec<Arc<dyn PhysicalExpr>>,
}

/// Adds the bounds of its windows to each row.
#[derive(Debug)]
struct WindowExec {
    input: Arc<dyn ExecutionPlan>,
    windows: Windows,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl WindowExec {
    fn try_new(input: Arc<dyn ExecutionPlan>, windows: Windows) -> Result<Self> {
        let below = input.schema();
        let mut fields = below.fields().to_vec();
        fields.extend(bound_fields(&windows.time.data_type(&below)?));
        let schema = Arc::new(Schema::new_with_metadata(fields, below.metadata().clone()));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            input.boundedness(),
        );
        Ok(Self {
            input,
            windows,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    fn is_session(&self) -> bool {
        matches!(self.windows.kind, WindowKind::Session { .. })
    }
}

impl DisplayAs for WindowExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Windows {
            kind,
            time,
            partition,
        } = &self.windows;
        write!(f, "WindowExec: {kind} of {time}")?;
        if partition.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = partition.iter().map(|key| key.to_string()).collect();
        write!(f, ", by [{}]", keys.join(", "))
    }
}

impl ExecutionPlan for WindowExec {
    fn name(&self) -> &'static str {
        "WindowExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let needed = match self.windows.partition.as_slice() {
            _ if !self.is_session() => Distribution::UnspecifiedDistribution,
            [] => Distribution::SinglePartition,
            keys => Distribution::KeyPartitioned(keys.to_vec()),
        };
        InputDistributionRequirements::new(vec![needed])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        if !self.is_session() {
            return vec![None];
        }
        let sorted = self.windows.partition.iter().chain([&self.windows.time]);
        let ordering = LexOrdering::new(
            sorted.map(|expr| PhysicalSortExpr::new(Arc::clone(expr), SortOptions::default())),
        );
        vec![ordering.map(OrderingRequirements::from)]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = children.as_slice() else {
            return internal_err!("a window has one input");
        };
        let windows = self.windows.clone();
        Ok(Arc::new(Self::try_new(Arc::clone(input), windows)?))
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for expr in std::iter::once(&self.windows.time).chain(&self.windows.partition) {
            if visit(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let schema = self.schema();
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let rows = if self.is_session() {
            let reservation = MemoryConsumer::new("WindowExec").register(context.memory_pool());
            let rows =
                SessionRows::try_new(self.windows.clone(), Arc::clone(&schema), reservation)?;
            rows.stream(input)
        } else {
            let batch_rows = context.session_config().batch_size();
            let (windows, schema) = (self.windows.clone(), Arc::clone(&schema));
            input
                .and_then(move |batch| {
                    let spread = Spread::try_new(batch, &windows, &schema, batch_rows);
                    std::future::ready(spread.map(futures::stream::iter))
                })
                .try_flatten()
                .boxed()
        };
        let rows = rows.map(move |batch| batch.map(|batch| batch.record_output(&metrics)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// The rows of one batch, each once for each of its windows, in batches of a bounded size.
struct Spread {
    batch: RecordBatch,
    times: TimestampMicrosecondArray,
    kind: WindowKind,
    schema: SchemaRef,
    batch_rows: usize,
    /// The next row, and how many of its windows are done.
    next: (usize, usize),
}

impl Spread {
    fn try_new(
        batch: RecordBatch,
        windows: &Windows,
        schema: &SchemaRef,
        batch_rows: usize,
    ) -> Result<Self> {
        let times = times_of(&batch, windows)?;
        Ok(Self {
            batch,
            times,
            kind: windows.kind,
            schema: Arc::clone(schema),
            batch_rows: batch_rows.max(1),
            next: (0, 0),
        })
    }

    fn chunk(&mut self) -> Result<Option<RecordBatch>> {
        let mut rows = Vec::new();
        let mut spans = Vec::new();
        while self.next.0 < self.batch.num_rows() && rows.len() < self.batch_rows {
            let (row, done) = self.next;
            let room = self.batch_rows - rows.len();
            let before = spans.len();
            if self.times.is_valid(row) {
                let time = self.times.value(row);
                if self.kind.pane_of(time).is_none() {
                    let state = SqlState::DatetimeFieldOverflow;
                    return Err(Error::user(state, "window out of range").into());
                }
                let windows = self.kind.windows_of(time);
                spans.extend(windows.skip(done).take(room));
            }
            let added = spans.len() - before;
            rows.extend(std::iter::repeat_n(index(row)?, added));
            self.next = if added < room {
                (row + 1, 0)
            } else {
                (row, done + added)
            };
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let taken = take_record_batch(&self.batch, &UInt32Array::from(rows))?;
        with_spans(&taken, &spans, &self.schema).map(Some)
    }
}

impl Iterator for Spread {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.chunk().transpose()
    }
}

fn index(row: usize) -> Result<u32> {
    u32::try_from(row).map_err(|_| internal_datafusion_err!("a batch of more than 2^32 rows"))
}

/// The time of each row.
pub(super) fn times_of(
    batch: &RecordBatch,
    windows: &Windows,
) -> Result<TimestampMicrosecondArray> {
    let times = windows.time.evaluate(batch)?;
    let times = times.into_array(batch.num_rows())?;
    times
        .as_primitive_opt::<TimestampMicrosecondType>()
        .cloned()
        .ok_or_else(|| internal_datafusion_err!("a window over {}", times.data_type()))
}

/// A batch with a window for each of its rows.
pub(super) fn with_spans(
    batch: &RecordBatch,
    spans: &[WindowSpan],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let first = batch.num_columns();
    let mut columns = batch.columns().to_vec();
    for bound in crate::types::WindowBound::ALL {
        let DataType::Timestamp(_, zone) = schema.field(first).data_type() else {
            return internal_err!("a window's bound is a timestamp");
        };
        let values = spans.iter().map(|span| span.bound(bound));
        let values = TimestampMicrosecondArray::from_iter_values(values);
        columns.push(Arc::new(values.with_timezone_opt(zone.clone())));
    }
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(DataFusionError::from)
}
