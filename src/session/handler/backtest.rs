//! BACKTEST: what an alert would have told, over rows that are there, in virtual time.
//!
//! The alert's own plan and the alert's own code; nothing is kept and nobody is told.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use chrono::Utc;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use futures::StreamExt;

use super::{alert, create_alert};
use crate::alert::{Evaluator, Moment, Notification, notification_rows};
use crate::catalog::AlertDefinition;
use crate::engine::{Emitted, LiveRows, LiveStart};
use crate::error::{Error, Result, SqlState, from_datafusion};
use crate::plan::{InputPlan, QueryOptions, RowStage, Trigger};
use crate::session::{Outcome, RowsTag, Session};
use crate::sql::{self, Backtest, BacktestTarget, TimeText};
use crate::types::{ChangeBatch, EventTime, ProcessingTime};

/// So many notifications at the most: a condition that flaps shall not fill the memory.
const TOLD_MAX: usize = 100_000;

pub(in crate::session) async fn run(session: &mut Session, backtest: Backtest) -> Result<Outcome> {
    let services = Arc::clone(session.services());
    let found = match &backtest.target {
        BacktestTarget::Named(name) => alert::find(session, name)?,
        BacktestTarget::Definition(clause) => Arc::new(AlertDefinition::try_new(clause)?),
    };
    let now = services.clock.now();
    let range = Range::try_new(&backtest, now)?;
    let definition = AlertDefinition {
        options: QueryOptions {
            trigger: Trigger::AvailableNow,
            paused: false,
            ..found.options
        },
        ..(*found).clone()
    };
    let state = session.state()?;
    let (mut plan, watch) = create_alert::planned(&services, &state, &definition).await?;
    for input in &mut plan.inputs {
        range.cut(input)?;
        // Of a partition that is read to its end nothing more comes.
        input.source.idle_timeout = Some(Duration::ZERO);
    }
    let evaluator = Evaluator::try_new(watch, create_alert::rules(&definition), &plan.schema)?;
    let rows = services.engine.live(plan, range.start(), true)?;
    let told = Trial::new(evaluator, range).run(rows).await?;
    Ok(Outcome::table(RowsTag::Select, batch(told)?))
}

/// The rows: in virtual time something is noticed when it happens.
fn batch(mut told: Vec<Notification>) -> Result<RecordBatch> {
    told.iter_mut().for_each(|one| one.at = one.event_time.0);
    notification_rows(&told)
}

/// Event times from when on and until when.
#[derive(Debug, Clone, Copy)]
struct Range {
    from: Option<EventTime>,
    to: Option<EventTime>,
}

impl Range {
    fn try_new(backtest: &Backtest, now: ProcessingTime) -> Result<Self> {
        let time = |text: &Option<TimeText>| text.as_ref().map(|text| time(text, now)).transpose();
        let (from, to) = (time(&backtest.from)?, time(&backtest.to)?);
        if let (Some(from), Some(to), Some(text)) = (from, to, &backtest.to)
            && to <= from
        {
            let what = "the backtest ends before it begins";
            return Err(Error::user(SqlState::InvalidParameterValue, what).at(Some(text.position)));
        }
        Ok(Self { from, to })
    }

    /// A message is written when its event has happened: none of the range has an earlier timestamp,
    /// unless event times run ahead of the broker's clock.
    fn start(self) -> LiveStart {
        self.from.map_or(LiveStart::Earliest, LiveStart::Timestamp)
    }

    /// Leaves rows out that are not in it.
    fn cut(self, input: &mut InputPlan) -> Result<()> {
        let source = &mut input.source;
        let schema = &source.scan.schema;
        let time = &source.event_time.time;
        let kind = time.data_type(schema).map_err(from_datafusion)?;
        let bounds = [(self.from, Operator::GtEq), (self.to, Operator::Lt)];
        let mut stages = Vec::new();
        for (bound, operator) in bounds {
            let Some(EventTime(bound)) = bound else {
                continue;
            };
            let bound = ScalarValue::TimestampMicrosecond(Some(bound), None);
            let bound = bound.cast_to(&kind).map_err(from_datafusion)?;
            let bound: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(bound));
            let within = BinaryExpr::new(Arc::clone(time), operator, bound);
            stages.push(RowStage::Filter(Arc::new(within)));
        }
        if stages.is_empty() {
            return Ok(());
        }
        // The event time may lie in columns that the query's own steps do not see.
        let visible = source.visible_columns;
        if visible < source.scan.columns.len() {
            let columns: Vec<usize> = (0..visible).collect();
            let shown = schema.project(&columns).map_err(crate::error::from_arrow)?;
            let exprs = shown.fields().iter().enumerate().map(|(index, field)| {
                Arc::new(Column::new(field.name(), index)) as Arc<dyn PhysicalExpr>
            });
            stages.push(RowStage::Project {
                exprs: exprs.collect(),
                schema: Arc::new(shown),
            });
            source.visible_columns = source.scan.columns.len();
        }
        input.rows.splice(0..0, stages);
        Ok(())
    }
}

/// `'-7 days'` and `'now'` count from now.
fn time(text: &TimeText, now: ProcessingTime) -> Result<EventTime> {
    let written = text.text.trim();
    if written.eq_ignore_ascii_case("now") {
        return Ok(EventTime(now.0));
    }
    if written.starts_with('-') {
        let length = sql::interval::parse(written);
        let length = length.map_err(|error| error.at(Some(text.position)))?;
        return Ok(EventTime(now.0.saturating_add(length)));
    }
    match string_to_datetime(&Utc, written) {
        Ok(time) => Ok(EventTime(time.timestamp_micros())),
        Err(_) => Err(Error::user(
            SqlState::InvalidDatetimeFormat,
            format!("\"{written}\" is not a time"),
        )
        .hint("Write '2026-01-31T12:00:00Z', a length before now such as '-7 days', or 'now'.")
        .at(Some(text.position))),
    }
}

/// An alert that looks at rows as they come, in virtual time.
struct Trial {
    evaluator: Evaluator,
    range: Range,
    watermark: Option<EventTime>,
    /// The rows of a micro-batch, until its watermark is known.
    waiting: Vec<ChangeBatch>,
    waits_since: Option<ProcessingTime>,
    told: Vec<Notification>,
}

impl Trial {
    fn new(evaluator: Evaluator, range: Range) -> Self {
        Self {
            evaluator,
            range,
            watermark: None,
            waiting: Vec::new(),
            waits_since: None,
            told: Vec::new(),
        }
    }

    async fn run(mut self, mut rows: LiveRows) -> Result<Vec<Notification>> {
        while let Some(emitted) = rows.next().await {
            match emitted? {
                Emitted::Changes { changes, at } => {
                    if self.watermark.is_some() && self.waits_since.is_some_and(|since| since != at)
                    {
                        self.look()?;
                    }
                    self.waits_since = Some(at);
                    self.waiting.push(changes);
                }
                Emitted::Watermark { watermark, .. } => {
                    // What lies behind the end was left out: it only moves the watermark.
                    let end = self.range.to.unwrap_or(EventTime::MAX);
                    self.watermark = Some(watermark.min(end));
                    self.look()?;
                    if watermark >= end {
                        break;
                    }
                }
            }
            if self.told.len() > TOLD_MAX {
                let text = format!("the alert would tell more than {TOLD_MAX} times");
                return Err(Error::user(SqlState::ProgramLimitExceeded, text)
                    .hint("Use a shorter range, or FOR, CLEAR WHEN and COOLDOWN."));
            }
        }
        self.look()?;
        let at = ProcessingTime(0);
        self.told.extend(self.evaluator.finish(self.range.to, at));
        let order = |a: &Notification, b: &Notification| {
            let place = |of: &Notification| (of.event_time, of.number);
            place(a).cmp(&place(b)).then_with(|| a.key.cmp(&b.key))
        };
        self.told.sort_by(order);
        Ok(self.told)
    }

    fn look(&mut self) -> Result<()> {
        let moment = Moment {
            at: ProcessingTime(0),
            watermark: self.watermark,
            earliest: self.range.from.or(Some(EventTime(0))),
            latest: None,
            silent: Duration::ZERO,
            offsets: None,
        };
        let told = self.evaluator.look(&self.waiting, &moment)?;
        self.waiting.clear();
        self.told.extend(told);
        Ok(())
    }
}
