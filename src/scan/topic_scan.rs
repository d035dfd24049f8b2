//! A snapshot's scan as a step of DataFusion's plan: ranges of offsets, read in parallel.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions, StatisticsArgs,
};
use futures::StreamExt;

use super::reading::{Count, Part, RejectedSink, RowStream};
use crate::plan::ScanSpec;
use crate::types::PartitionRange;

/// Up to this limit one reader serves all partitions: a client for each would cost more than it
/// brings.
const ONE_READER_ROWS_MAX: usize = 10_000;

/// The name of the metric that counts the messages read.
const MESSAGES: &str = "messages";

/// Reads ranges of a topic's offsets.
#[derive(Debug)]
pub struct TopicScanExec {
    spec: Arc<ScanSpec>,
    /// How many of the spec's columns, from the first, the query sees.
    visible: usize,
    /// What each of the plan's partitions reads; at least one.
    parts: Vec<Vec<PartitionRange>>,
    limit: Option<usize>,
    rejected: Arc<dyn RejectedSink>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl TopicScanExec {
    /// A scan of these ranges by up to `parallel` readers. Columns of the spec beyond `visible` are
    /// decoded to judge the rows, and not given.
    pub(super) fn new(
        spec: ScanSpec,
        visible: usize,
        ranges: &[PartitionRange],
        (limit, parallel): (Option<usize>, usize),
        rejected: Arc<dyn RejectedSink>,
    ) -> Result<Self> {
        let parallel = match limit {
            Some(limit) if limit <= ONE_READER_ROWS_MAX => 1,
            _ => parallel,
        };
        let parts = divide(ranges, parallel);
        let seen: Vec<usize> = (0..visible).collect();
        let schema = Arc::new(spec.schema.project(&seen)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(parts.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            spec: Arc::new(spec),
            visible,
            parts,
            limit,
            rejected,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// How many offsets lie in the ranges: at least as many as there are messages.
    fn offsets(&self, part: Option<usize>) -> usize {
        let parts = match part {
            Some(part) => &self.parts[part..=part],
            None => &self.parts[..],
        };
        let offsets: i64 = parts
            .iter()
            .flatten()
            .map(|range| range.end.0 - range.start.0)
            .sum();
        usize::try_from(offsets).unwrap_or(0)
    }
}

/// How many of the offsets that a plan's scans read are read; `None` for a plan that reads no topic.
pub fn progress(plan: &Arc<dyn ExecutionPlan>) -> Option<Progress> {
    let own = plan.downcast_ref::<TopicScanExec>().map(|scan| Progress {
        read: scan
            .metrics
            .clone_inner()
            .sum_by_name(MESSAGES)
            .map_or(0, |read| read.as_usize()),
        total: scan.offsets(None),
    });
    let below = plan.children().into_iter().filter_map(progress);
    own.into_iter().chain(below).reduce(|one, other| Progress {
        read: one.read + other.read,
        total: one.total + other.total,
    })
}

/// How far a snapshot has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Messages read.
    pub read: usize,
    /// Offsets that lie in the ranges: at least as many as there are messages.
    pub total: usize,
}

/// Divides ranges into groups of about the same number of messages; at least one group.
fn divide(ranges: &[PartitionRange], groups_max: usize) -> Vec<Vec<PartitionRange>> {
    let mut ranges: Vec<PartitionRange> = ranges
        .iter()
        .filter(|range| range.start < range.end)
        .copied()
        .collect();
    ranges.sort_by_key(|range| (range.start.0 - range.end.0, range.partition));
    let groups = groups_max.min(ranges.len()).max(1);
    let mut divided = vec![(0_i64, Vec::new()); groups];
    for range in ranges {
        let (messages, group) = divided
            .iter_mut()
            .min_by_key(|(messages, _)| *messages)
            .expect("there is at least one group");
        *messages += range.end.0 - range.start.0;
        group.push(range);
    }
    divided.into_iter().map(|(_, group)| group).collect()
}

impl DisplayAs for TopicScanExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.spec.columns[..self.visible]
            .iter()
            .map(|column| column.field.name().as_str())
            .collect();
        write!(
            f,
            "TopicScanExec: topic={}, columns=[{}]",
            self.spec.topic,
            columns.join(", ")
        )?;
        let partitions = self.parts.iter().map(Vec::len).sum::<usize>();
        write!(
            f,
            ", partitions={partitions}, messages={}",
            self.offsets(None)
        )?;
        match self.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for TopicScanExec {
    fn name(&self) -> &'static str {
        "TopicScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let count = Count {
            messages: MetricBuilder::new(&self.metrics).counter(MESSAGES, partition),
            rejected: MetricBuilder::new(&self.metrics).counter("rejected", partition),
        };
        let part = Part {
            spec: Arc::clone(&self.spec),
            visible: self.visible,
            ranges: self.parts[partition].clone(),
            limit: self.limit,
            batch_rows: context.session_config().batch_size(),
            rejected: Arc::clone(&self.rejected),
            count,
        };
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let rows = RowStream::start(part).map_err(external)?.map(move |batch| {
            batch
                .map_err(external)
                .map(|batch| batch.record_output(&metrics))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let rows = self.offsets(args.partition());
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = Precision::Inexact(rows);
        Ok(Arc::new(statistics))
    }
}

/// Our error, as DataFusion carries it.
pub(super) fn external(error: crate::error::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::divide;
    use crate::types::{Offset, PartitionId, PartitionRange};

    fn messages(sizes: &[i64], groups_max: usize) -> Vec<i64> {
        let ranges: Vec<PartitionRange> = sizes
            .iter()
            .zip(0..)
            .map(|(size, partition)| PartitionRange {
                partition: PartitionId(partition),
                start: Offset(100),
                end: Offset(100 + size),
            })
            .collect();
        divide(&ranges, groups_max)
            .iter()
            .map(|group| group.iter().map(|range| range.end.0 - range.start.0).sum())
            .collect()
    }

    #[test]
    fn partitions_are_divided_evenly_and_none_is_empty() {
        assert_eq!(messages(&[10, 1, 1, 8], 2), [10, 10]);
        assert_eq!(messages(&[5, 0, 5], 8), [5, 5]);
        assert_eq!(messages(&[0, 0], 8), [0]);
        assert_eq!(messages(&[], 8), [0]);
    }
}
