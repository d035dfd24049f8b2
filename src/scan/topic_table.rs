//! A topic as a table for snapshot queries: what it holds when the query starts, and nothing later.
//!
//! Invariant: all scans of one query see the same end offsets.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use tokio::sync::Mutex;

use super::bounds::{Bounds, Places, Served};
use super::reading::RejectedSink;
use super::topic_scan::{TopicScanExec, external};
use crate::clock;
use crate::plan::{MaxFuture, ScanSpec};
use crate::source::{ANSWER_TIMEOUT, Cluster};
use crate::task;
use crate::types::{PartitionId, PartitionRange};

/// How long the end offsets of a query are remembered: its scans are planned within this time.
const SAME_QUERY: Duration = Duration::from_secs(2);

/// A topic as DataFusion reads it: its payload and metadata columns, without computed ones.
#[derive(Debug)]
pub struct TopicTable {
    spec: ScanSpec,
    places: Places,
    rejected: Arc<dyn RejectedSink>,
    known: Mutex<Option<Known>>,
}

/// What the topic held when a query started.
#[derive(Debug)]
struct Known {
    /// When the query started, if its plan says so.
    query: Option<DateTime<Utc>>,
    asked: Instant,
    ranges: Vec<PartitionRange>,
    /// Who answered. Kept by the scans that are being planned, not by the table, which a prepared
    /// statement may keep for long.
    cluster: Weak<Cluster>,
}

impl TopicTable {
    /// A table of all the columns of `spec`; `rejected` takes the messages that are no rows.
    pub fn new(spec: ScanSpec, rejected: Arc<dyn RejectedSink>) -> Self {
        let places = Places::of(&spec);
        Self {
            spec,
            places,
            rejected,
            known: Mutex::new(None),
        }
    }

    /// What the topic holds for the query that `state` plans, and whom to ask further. A query that
    /// reads the topic twice asks once.
    async fn known(&self, state: &dyn Session) -> Result<(Vec<PartitionRange>, Arc<Cluster>)> {
        let query = state.execution_props().query_execution_start_time;
        let mut known = self.known.lock().await;
        if let Some(known) = &*known
            && query.is_some()
            && known.query == query
            && known.asked.elapsed() < SAME_QUERY
        {
            let cluster = match known.cluster.upgrade() {
                Some(cluster) => cluster,
                None => connect(&self.spec).map_err(external)?,
            };
            return Ok((known.ranges.clone(), cluster));
        }
        let spec = self.spec.clone();
        let (ranges, cluster) = task::spawn_blocking(move || {
            let cluster = connect(&spec)?;
            let partitions = cluster.partitions(&spec.topic, ANSWER_TIMEOUT)?;
            let ranges = cluster.offsets(&spec.topic, &partitions, ANSWER_TIMEOUT)?;
            Ok((ranges, cluster))
        })
        .await
        .map_err(external)?;
        *known = Some(Known {
            query,
            asked: clock::instant(),
            ranges: ranges.clone(),
            cluster: Arc::downgrade(&cluster),
        });
        Ok((ranges, cluster))
    }

    /// Moves the start of each range to the first record that is not earlier.
    async fn begin_at_time(
        &self,
        cluster: Arc<Cluster>,
        ranges: Vec<PartitionRange>,
        time_ms: i64,
    ) -> Result<Vec<PartitionRange>> {
        let topic = self.spec.topic.clone();
        task::spawn_blocking(move || {
            let partitions: Vec<PartitionId> = ranges.iter().map(|range| range.partition).collect();
            let found = cluster.offsets_for_time(&topic, &partitions, time_ms, ANSWER_TIMEOUT)?;
            Ok(ranges
                .into_iter()
                .zip(found)
                .map(|(range, (_, offset))| PartitionRange {
                    start: range.start.max(offset),
                    ..range
                })
                .collect())
        })
        .await
        .map_err(external)
    }

    /// The spec of the wanted columns, and how many of its columns the query sees. The event time is
    /// decoded always, because it decides which messages are rows.
    fn projected(&self, projection: Option<&Vec<usize>>) -> (ScanSpec, usize) {
        let mut wanted: Vec<usize> = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.spec.columns.len()).collect(),
        };
        let visible = wanted.len();
        let mut spec = self.spec.clone();
        if let Some(max_future) = self.spec.max_future {
            let place = wanted
                .iter()
                .position(|column| *column == max_future.column);
            let column = place.unwrap_or(visible);
            if place.is_none() {
                wanted.push(max_future.column);
            }
            spec.max_future = Some(MaxFuture {
                column,
                ..max_future
            });
        }
        spec.columns = wanted
            .iter()
            .map(|column| self.spec.columns[*column].clone())
            .collect();
        let fields: Vec<_> = spec
            .columns
            .iter()
            .map(|column| Arc::clone(&column.field))
            .collect();
        spec.schema = Arc::new(Schema::new(fields));
        (spec, visible)
    }
}

fn connect(spec: &ScanSpec) -> crate::error::Result<Arc<Cluster>> {
    let cluster = Cluster::connect(&spec.connection)?;
    Ok(Arc::new(cluster.read_committed(spec.read_committed)))
}

#[async_trait]
impl TableProvider for TopicTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.spec.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(
                |filter| match self.places.apply(filter, &mut Bounds::all()) {
                    Served::No => TableProviderFilterPushDown::Unsupported,
                    Served::Inexactly => TableProviderFilterPushDown::Inexact,
                    Served::Exactly => TableProviderFilterPushDown::Exact,
                },
            )
            .collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut bounds = Bounds::all();
        for filter in filters {
            self.places.apply(filter, &mut bounds);
        }
        let (all, cluster) = self.known(state).await?;
        let mut ranges: Vec<PartitionRange> = all
            .into_iter()
            .filter_map(|range| bounds.narrow(range))
            .collect();
        if let Some(time_ms) = bounds.record_time_ms()
            && !ranges.is_empty()
        {
            ranges = self.begin_at_time(cluster, ranges, time_ms).await?;
        }
        let (spec, visible) = self.projected(projection);
        let parallel = state.config().target_partitions();
        let rejected = Arc::clone(&self.rejected);
        let scan = TopicScanExec::new(spec, visible, &ranges, (limit, parallel), rejected)?;
        Ok(Arc::new(scan))
    }
}
