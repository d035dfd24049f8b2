//! A whole continuous query.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow::datatypes::{Field, Schema, SchemaRef};

use super::{AggregatePlan, InputPlan, OutputStage, QueryOptions};
use crate::types::ProcessingTime;

/// A continuous query, ready to run.
#[derive(Debug, Clone)]
pub struct StreamPlan {
    /// The statement, for people.
    pub text: String,
    /// The topics that it reads: more than one under UNION ALL. Never empty.
    pub inputs: Vec<InputPlan>,
    /// The aggregate, if there is one.
    pub aggregate: Option<AggregatePlan>,
    /// What is done with the aggregate's output.
    pub output: Vec<OutputStage>,
    /// The query ends after so many rows.
    pub limit: Option<u64>,
    /// For a query that updates its rows: which columns of `schema` tell its rows apart, if all
    /// of them are there.
    pub key: Option<Vec<usize>>,
    /// The columns of `schema` that tell the window, any of which would do in `key`.
    pub window_key: Vec<usize>,
    /// The rows that reach the sink.
    pub schema: SchemaRef,
    /// When rows are emitted.
    pub emission: Emission,
    /// What its statement or session sets beside the SQL.
    pub options: QueryOptions,
    /// The time that `now()` has in the output.
    pub batch_time: BatchTime,
}

/// When an aggregate's rows leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emission {
    /// Once, when their window has closed; or, without an aggregate, as they come.
    Final,
    /// After each micro-batch, those whose values changed.
    Changes,
    /// At this pace, those whose values changed.
    Every(Duration),
}

/// What kind of output an emission gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changelog {
    /// A row never changes once it is out.
    Append,
    /// A later row with the same key replaces an earlier one.
    Update,
}

/// When micro-batches run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trigger {
    /// As soon as there are rows.
    #[default]
    Continuous,
    /// At this pace.
    Interval(Duration),
    /// Over everything there is; then the query ends.
    AvailableNow,
}

/// The processing time of the micro-batch under way, shared with the compiled expressions.
#[derive(Debug, Clone, Default)]
pub struct BatchTime(Arc<AtomicI64>);

impl BatchTime {
    /// Sets it; done once a micro-batch.
    pub fn set(&self, now: ProcessingTime) {
        self.0.store(now.0, Ordering::Relaxed);
    }

    /// Reads it.
    pub fn get(&self) -> ProcessingTime {
        ProcessingTime(self.0.load(Ordering::Relaxed))
    }
}

impl StreamPlan {
    /// The aggregates, from the topics' side.
    pub fn aggregates(&self) -> impl Iterator<Item = &AggregatePlan> {
        let later = self.output.iter().filter_map(OutputStage::aggregate);
        self.aggregate.iter().chain(later)
    }

    /// True when all rows must meet in one lane: sessions, and rows that change.
    pub fn has_one_lane(&self) -> bool {
        let session = self.aggregate.as_ref().is_some_and(|a| a.is_session());
        session || self.changelog() == Changelog::Update || self.options.by_time
    }

    /// What kind of output the query gives.
    pub fn changelog(&self) -> Changelog {
        match (&self.aggregate, self.emission) {
            (None, _) | (Some(_), Emission::Final) => Changelog::Append,
            (Some(_), Emission::Changes | Emission::Every(_)) => Changelog::Update,
        }
    }

    /// Gives the output's columns other names.
    ///
    /// # Panics
    /// If there is not one name a column.
    pub fn rename(&mut self, names: &[String]) {
        assert_eq!(names.len(), self.schema.fields().len(), "one name a column");
        let fields: Vec<Field> = self
            .schema
            .fields()
            .iter()
            .zip(names)
            .map(|(field, name)| Field::clone(field).with_name(name))
            .collect();
        self.schema = Arc::new(Schema::new(fields));
    }
}
