//! A plan as `EXPLAIN` shows it: a line an operator, the sink's side first, each with what it does
//! to rows that it has given, in how many lanes it runs, and what it holds.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion::physical_expr::PhysicalExpr;

use super::expr_text::{self, text};
use super::{
    AggregatePlan, Changelog, Emission, GroupColumn, InputPlan, Numbering, OutputStage,
    RECORD_TIME, RowStage, StreamPlan, WindowColumns, WindowRows,
};
use crate::types::{WindowKind, length};

/// How many lanes a query runs in, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lanes {
    /// A lane a partition, as long as there are cores for them.
    EachPartition,
    /// So many, of so many partitions.
    Known {
        /// Lanes.
        lanes: usize,
        /// Partitions of all inputs.
        partitions: usize,
    },
}

impl StreamPlan {
    /// The plan as text.
    pub fn describe(&self, lanes: Lanes) -> String {
        let mut writer = Writer::new(self, lanes);
        let above = writer.above();
        let mut text = String::new();
        let mut write = |depth: usize, line: &str| {
            let _ = writeln!(text, "{:indent$}{line}", "", indent = depth * 2);
        };
        for (depth, line) in above.iter().enumerate() {
            write(depth, line);
        }
        for input in &self.inputs {
            for (depth, line) in writer.input(input).iter().enumerate() {
                write(above.len() + depth, line);
            }
        }
        text
    }
}

struct Writer<'a> {
    plan: &'a StreamPlan,
    lanes: Lanes,
}

impl<'a> Writer<'a> {
    fn new(plan: &'a StreamPlan, lanes: Lanes) -> Self {
        Self { plan, lanes }
    }

    /// The lines from the sink down to where the inputs meet.
    fn above(&mut self) -> Vec<String> {
        let plan = self.plan;
        let mut lines = Vec::new();
        let mut names = plan.inputs.first().map_or_else(Vec::new, columns_of);
        if plan.inputs.len() > 1 {
            lines.push(format!("union all of {} topics", plan.inputs.len()));
        }
        let kind = self.kind();
        if let Some(aggregate) = &plan.aggregate {
            let line = self.aggregate(aggregate, &names);
            lines.push(format!("{line} ({kind}, {})", self.lanes_of_aggregate()));
            names = columns(aggregate, &names);
        }
        for stage in &plan.output {
            let (line, after) = match stage {
                OutputStage::Rows(stage) => row_stage(stage, &names),
                OutputStage::Aggregate(aggregate) => {
                    let line = self.aggregate(aggregate, &names);
                    (line, columns(aggregate, &names))
                }
                OutputStage::Repeat(_) => {
                    let others = names.len().saturating_sub(1);
                    let line = "rows: each as often as it was there".to_owned();
                    (line, names[..others].to_vec())
                }
                OutputStage::Rank(rank) => {
                    let numbers = rank.numbers.iter().map(|number| numbering(*number));
                    let after = names.iter().cloned().chain(numbers.map(str::to_owned));
                    (ranks(rank, &names), after.collect())
                }
                OutputStage::Top(top) => (tops(top, &names), names.clone()),
            };
            names = after;
            lines.push(format!("{line} ({kind}, one lane)"));
        }
        if let Some(limit) = plan.limit {
            lines.push(format!("limit: {limit} rows, then the query ends"));
        }
        lines.push(self.emit());
        lines.reverse();
        lines
    }

    fn emit(&self) -> String {
        let when = match (&self.plan.aggregate, self.plan.emission) {
            (None, _) => "each row as it comes".to_owned(),
            (_, Emission::Final) => "each window when it has closed".to_owned(),
            (_, Emission::Changes) => "what has changed, after each micro-batch".to_owned(),
            (_, Emission::Every(pace)) => {
                format!("what has changed, every {} ms", pace.as_millis())
            }
        };
        let fields = self.plan.schema.fields();
        let by = match (self.plan.changelog(), &self.plan.key) {
            (Changelog::Append, _) => "append-only: no row changes once it is out".to_owned(),
            (Changelog::Update, Some(key)) if !key.is_empty() => {
                let key: Vec<&str> = key.iter().map(|c| fields[*c].name().as_str()).collect();
                format!(
                    "updates: a row replaces the one with its {}",
                    key.join(", ")
                )
            }
            (Changelog::Update, _) => "updates: a row replaces an earlier one".to_owned(),
        };
        format!("emit: {when} ({by})")
    }

    fn kind(&self) -> &'static str {
        match self.plan.changelog() {
            Changelog::Append => "append-only",
            Changelog::Update => "updates",
        }
    }

    /// The lines of one input, from where it meets the others down to its topic.
    fn input(&mut self, input: &InputPlan) -> Vec<String> {
        let scan = &input.source.scan;
        let all: Vec<String> = scan
            .schema
            .fields()
            .iter()
            .map(|field| shown(field.name()).to_owned())
            .collect();
        let mut names = all.clone();
        names.truncate(input.source.visible_columns);
        let columns = match names.as_slice() {
            [] => "no columns".to_owned(),
            names => format!("columns {}", names.join(", ")),
        };
        let time = &input.source.event_time;
        let mut lines = vec![format!(
            "scan: {} (topic {}), {columns}, event time {}, watermark {} ({})",
            scan.table,
            scan.topic,
            shown(&time.column),
            text(&time.watermark, &all),
            self.readers(),
        )];
        for stage in &input.rows {
            let (line, after) = row_stage(stage, &names);
            lines.push(format!("{line} (append-only, {})", self.readers()));
            names = after;
        }
        lines.reverse();
        lines
    }

    fn readers(&self) -> String {
        match self.lanes {
            Lanes::EachPartition if self.plan.has_one_lane() => "one lane".to_owned(),
            Lanes::EachPartition => "a lane a partition".to_owned(),
            Lanes::Known { lanes, partitions } => {
                let lane = if lanes == 1 { "lane" } else { "lanes" };
                let partition = if partitions == 1 {
                    "partition"
                } else {
                    "partitions"
                };
                format!("{lanes} {lane} for {partitions} {partition}")
            }
        }
    }

    fn lanes_of_aggregate(&self) -> String {
        if self.plan.has_one_lane() {
            return "one lane, in which all rows meet".to_owned();
        }
        format!("{}, put together when a window closes", self.readers())
    }

    /// What an aggregate does and holds.
    fn aggregate(&self, aggregate: &AggregatePlan, names: &[String]) -> String {
        let calls: Vec<String> = aggregate
            .calls
            .iter()
            .map(|call| expr_text::aggregate(call, names))
            .collect();
        let keys: Vec<String> = aggregate
            .keys
            .iter()
            .map(|(key, _)| text(key, names))
            .collect();
        let by = match keys.as_slice() {
            [] => String::new(),
            keys => format!(" by {}", keys.join(", ")),
        };
        let sets = aggregate.sets.as_ref().map_or_else(String::new, |sets| {
            format!(" in {} grouping sets", sets.sets.len())
        });
        let calls = match calls.as_slice() {
            [] => "nothing but the groups".to_owned(),
            calls => calls.join(", "),
        };
        let head = match &aggregate.window {
            None => "aggregate".to_owned(),
            Some(window) => match window.grace {
                0 => format!("window aggregate: {}", window.kind),
                grace => format!("window aggregate: {}, grace {}", window.kind, length(grace)),
            },
        };
        let state = self.state(aggregate);
        format!("{head}{by}{sets}: {calls}; holds {state}")
    }

    fn state(&self, aggregate: &AggregatePlan) -> String {
        let Some(window) = &aggregate.window else {
            return match self.plan.options.state_ttl {
                None => "a table of all groups".to_owned(),
                Some(ttl) => {
                    let micros = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX);
                    format!("a table of the groups of the last {}", length(micros))
                }
            };
        };
        match (&window.rows, window.kind) {
            (_, WindowKind::Session { .. }) => "the values of each open session".to_owned(),
            (WindowRows::Bound(..), _) | (_, WindowKind::Tumble { .. }) => {
                "a table a window".to_owned()
            }
            (_, kind @ WindowKind::Hop { .. }) => {
                format!("panes of {}, in two stacks", length(kind.pane()))
            }
            (_, kind @ WindowKind::Cumulate { .. }) => {
                format!("panes of {}, added up", length(kind.pane()))
            }
        }
    }
}

/// A scanned column as it is shown: the record's own time has no name that SQL knows.
fn shown(column: &str) -> &str {
    match column {
        RECORD_TIME => "the record's timestamp",
        other => other,
    }
}

/// What reaches an aggregate of a query: the names that the rows of an input have at its end.
fn columns_of(input: &InputPlan) -> Vec<String> {
    let fields = input.source.scan.schema.fields().iter();
    let names = fields.map(|field| field.name().clone());
    let first: Vec<String> = names.take(input.source.visible_columns).collect();
    let stages = input.rows.iter();
    stages.fold(first, |names, stage| row_stage(stage, &names).1)
}

/// The columns that an aggregate gives.
fn columns(aggregate: &AggregatePlan, names: &[String]) -> Vec<String> {
    let fields = aggregate.schema.fields().iter().zip(&aggregate.groups);
    let groups = fields.map(|(field, group)| match group {
        GroupColumn::Window(bound) => bound.column().to_owned(),
        GroupColumn::Key(key) => match aggregate.keys.get(*key) {
            // The name of a computed key is its own text, in another form.
            Some((key, _)) if field.name().contains('(') => text(key, names),
            _ => field.name().clone(),
        },
    });
    let calls = aggregate.calls.iter();
    groups
        .chain(calls.map(|call| expr_text::aggregate(call, names)))
        .collect()
}

/// The line of a step that looks at one row at a time, and the names of the columns after it.
fn row_stage(stage: &RowStage, names: &[String]) -> (String, Vec<String>) {
    match stage {
        RowStage::Filter(predicate) => (
            format!("filter: {}", text(predicate, names)),
            names.to_vec(),
        ),
        RowStage::Project { exprs, schema } => {
            let mut columns = Vec::with_capacity(exprs.len());
            let mut after = Vec::with_capacity(exprs.len());
            for (expr, field) in exprs.iter().zip(schema.fields()) {
                let (text, name) = (text(expr, names), field.name());
                // A name that the optimizer made, or an expression's own text, says nothing more.
                if *name == text || name.starts_with("__") || name.contains(['(', '@']) {
                    columns.push(text.clone());
                    after.push(text);
                } else {
                    columns.push(format!("{text} as {name}"));
                    after.push(name.clone());
                }
            }
            (format!("compute: {}", columns.join(", ")), after)
        }
        RowStage::Windows {
            kind,
            time,
            form,
            schema,
        } => {
            let how = match form {
                WindowColumns::Bounds => "each row once for each of its windows",
                WindowColumns::RowTime => "each row once, with its time",
            };
            let after = schema.fields().iter().map(|f| f.name().clone()).collect();
            (
                format!("windows: {kind} of {}, {how}", text(time, names)),
                after,
            )
        }
    }
}

fn ranks(rank: &super::RankPlan, names: &[String]) -> String {
    let numbers: Vec<&str> = rank
        .numbers
        .iter()
        .map(|number| numbering(*number))
        .collect();
    let partition: Vec<String> = rank.partition.iter().map(|e| text(e, names)).collect();
    format!(
        "number the rows of a closed window: {} within {}, in the order of {}",
        numbers.join(", "),
        partition.join(", "),
        order(&rank.order, names)
    )
}

fn numbering(number: Numbering) -> &'static str {
    match number {
        Numbering::RowNumber => "row_number",
        Numbering::Rank => "rank",
        Numbering::DenseRank => "dense_rank",
    }
}

fn tops(top: &super::TopPlan, names: &[String]) -> String {
    let order = order(&top.order, names);
    match top.limit {
        Some(limit) => format!("first {limit} rows of a closed window, in the order of {order}"),
        None => format!("the rows of a closed window, in the order of {order}"),
    }
}

fn order(order: &[(Arc<dyn PhysicalExpr>, SortOptions)], names: &[String]) -> String {
    let parts: Vec<String> = order
        .iter()
        .map(|(expr, options)| match options.descending {
            true => format!("{} DESC", text(expr, names)),
            false => text(expr, names),
        })
        .collect();
    match parts.as_slice() {
        [] => "their coming".to_owned(),
        parts => parts.join(", "),
    }
}
