//! An alert at work: rows and time in, notifications out.
//!
//! ```text
//! changes of a micro-batch, row by row ─→ key's state ─┐
//! the clock, at the micro-batch's end ──→ key's state ─┴→ notifications
//! ```
//! Rows that have times of their own are looked at in the order of these, the others as they come.
//! Invariant: what it tells follows from the rows, their micro-batches' times and the state that it
//! was given; nothing else.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use serde_json::{Map, Value};

use super::clock::AlertClock;
use super::key_state::Rules;
use super::keys::{Facts, Key, Keys, Sighting, Told};
use super::message::message;
use super::notification::{Notification, text_of};
use super::said::Said;
use crate::error::{Error, Result, from_arrow};
use crate::format::JsonEncoder;
use crate::types::{ChangeBatch, EventTime, ProcessingTime};

/// Under this key the clock is written down: no key of an alert is empty.
const CLOCK: &str = "";

/// What of a query's rows an alert looks at. Columns are counted from the query's first.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The alert's name.
    pub alert: String,
    /// Tells it from earlier alerts of its name.
    pub generation: u64,
    /// The columns that people see.
    pub shown: Vec<usize>,
    /// The columns that make the key.
    pub key: Vec<usize>,
    /// What tells a key's rows apart.
    pub row: Vec<usize>,
    /// Start and end of the row's window.
    pub window: Option<(usize, usize)>,
    /// Rows come while their window is open.
    pub is_open: bool,
    /// The row's event time, where rows have times of their own.
    pub time: Option<usize>,
    /// That time is the greatest of a group's messages: a later row may have an earlier one.
    pub is_of_groups: bool,
    /// The condition; `None`: a key that is to report.
    pub holds: Option<usize>,
    /// `CLEAR WHEN`.
    pub clear: Option<usize>,
}

/// What can be changed of an alert while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlertRules {
    /// When it fires.
    pub rules: Rules,
    /// How bad that is.
    pub severity: String,
    /// What is told when it fires; `None`: alert, state and key.
    pub message: Option<String>,
    /// What is told when it is resolved.
    pub resolved: Option<String>,
}

/// The moment at which rows are looked at.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The processing time.
    pub at: ProcessingTime,
    /// The query's watermark, if it has one yet.
    pub watermark: Option<EventTime>,
    /// Before there is a watermark: the least of the greatest event times of the partitions.
    pub earliest: Option<EventTime>,
    /// The greatest event time of all rows that were read.
    pub latest: Option<EventTime>,
    /// For so long everything was read and nothing came.
    pub silent: Duration,
    /// The offsets of the micro-batch's messages, as in [`Notification`].
    pub offsets: Option<String>,
}

/// An alert at work.
pub struct Evaluator {
    watch: Watch,
    rules: AlertRules,
    clock: AlertClock,
    keys: Keys,
    key: Columns,
    row: Columns,
    shown: Columns,
}

impl std::fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluator")
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

impl Evaluator {
    /// An alert that has seen nothing of rows of this schema.
    ///
    /// # Errors
    /// When a column has no form in JSON.
    pub fn try_new(watch: Watch, rules: AlertRules, schema: &SchemaRef) -> Result<Self> {
        Ok(Self {
            key: Columns::try_new(&watch.key, schema)?,
            row: Columns::try_new(&watch.row, schema)?,
            shown: Columns::try_new(&watch.shown, schema)?,
            clock: AlertClock::default(),
            keys: Keys::default(),
            watch,
            rules,
        })
    }

    /// From here on these rules count.
    pub fn follow(&mut self, rules: AlertRules) {
        if self.rules.rules != rules.rules {
            self.keys.follow(&rules.rules);
        }
        self.rules = rules;
    }

    /// Looks at the rows of a micro-batch, and at the time that has passed.
    ///
    /// # Errors
    /// When a row has no form in JSON.
    pub fn look(&mut self, changes: &[ChangeBatch], moment: &Moment) -> Result<Vec<Notification>> {
        // Where nothing moves the watermark, silence does: everything was read.
        let known = moment.earliest.filter(|_| !moment.silent.is_zero());
        self.clock
            .advance(moment.watermark.or(known), moment.silent);
        let mut told = Vec::new();
        let now = self.clock.now().or(moment.earliest);
        self.rows(changes, now, moment, &mut told)?;
        if let Some(now) = self.clock.now() {
            let watermark = moment.watermark;
            self.keys.pass(&self.rules.rules, now, watermark, &mut told);
        }
        let told = told.into_iter();
        Ok(told
            .map(|told| self.notification(told, moment.at))
            .collect())
    }

    /// Lets time pass up to here, where no further row comes.
    pub fn finish(&mut self, until: Option<EventTime>, at: ProcessingTime) -> Vec<Notification> {
        let mut told = Vec::new();
        if let Some(now) = until.max(self.clock.now()) {
            self.keys.pass(&self.rules.rules, now, until, &mut told);
        }
        let told = told.into_iter();
        told.map(|told| self.notification(told, at)).collect()
    }

    /// How long the stream must go on being silent until something happens by itself.
    pub fn next(&self) -> Option<Duration> {
        self.clock.until(self.keys.next()?)
    }

    /// At most so many of the keys that changed since they were last written down, each with its text,
    /// or nothing if it is forgotten.
    ///
    /// # Errors
    /// None that a state can give.
    pub fn written(&mut self, at_most: usize) -> Result<Vec<(String, Option<String>)>> {
        let mut written = self.keys.written(at_most)?;
        if let Some(now) = self.clock.now() {
            written.push((CLOCK.to_owned(), Some(now.0.to_string())));
        }
        Ok(written)
    }

    /// Everything is to be written down.
    pub fn none_written(&mut self) {
        self.keys.none_written();
    }

    /// Takes in a key as it was written down.
    ///
    /// # Errors
    /// When that is no text of ours.
    pub fn read(&mut self, key: &str, text: &str) -> Result<()> {
        if key != CLOCK {
            return self.keys.read(&self.rules.rules, key, text);
        }
        let time = text.parse().map_err(|_| {
            Error::internal(format!("the clock of an alert cannot be used: {text}"))
        })?;
        self.clock = AlertClock::at(Some(EventTime(time)));
        Ok(())
    }

    /// Keys that changed since this was last asked, as they stand.
    pub fn shown(&mut self) -> impl Iterator<Item = (String, Option<&Key>)> {
        self.keys.shown()
    }

    /// About how many bytes its keys hold.
    pub fn held_bytes(&self) -> u64 {
        self.keys.held_bytes()
    }

    fn rows(
        &mut self,
        changes: &[ChangeBatch],
        now: Option<EventTime>,
        moment: &Moment,
        told: &mut Vec<Told>,
    ) -> Result<()> {
        let rules = self.rules.rules;
        let batches = changes.iter().map(|batch| Said::of(&self.watch, batch));
        let batches = batches.collect::<Result<Vec<_>>>()?;
        let idle = |(batch, row): (usize, usize)| {
            let event = batches[batch].event(row, "");
            event.is_none_or(|event| event.is_idle(&rules))
        };
        // Most rows say that all is well of keys of which nothing else is known: they need no texts.
        if self.keys.are_at_rest() && places(&batches).all(idle) {
            return Ok(());
        }
        let mut order: Vec<(usize, usize)> = places(&batches).collect();
        if self.watch.time.is_some() {
            order.sort_by_key(|(batch, row)| batches[*batch].time(*row));
        }
        let rows = || batches.iter().map(Said::rows);
        let keys = rows().map(|rows| self.key.texts(rows));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let ids = rows().map(|rows| self.row.texts(rows));
        let ids = ids.collect::<Result<Vec<_>>>()?;
        for (batch, row) in order {
            let (said, key) = (&batches[batch], keys[batch][row].as_str());
            let Some(event) = said.event(row, &ids[batch][row]) else {
                continue;
            };
            let Some(at) = said.at(row, (now, moment.latest)) else {
                continue;
            };
            let facts = || {
                Ok(Facts {
                    values: self.shown.text(said.rows(), row)?,
                    offsets: moment.offsets.clone().unwrap_or_default(),
                    window: said.window(row),
                })
            };
            let event = &event;
            let sighting = Sighting { key, event, at };
            self.keys.sight(&rules, sighting, facts, told)?;
        }
        Ok(())
    }

    fn notification(&self, told: Told, at: ProcessingTime) -> Notification {
        let Told {
            key,
            transition,
            facts,
        } = told;
        let state = if transition.fires() {
            "firing"
        } else {
            "resolved"
        };
        let AlertRules {
            severity,
            message: fires,
            resolved,
            ..
        } = &self.rules;
        let template = if transition.fires() { fires } else { resolved };
        let fields = || self.fields(&key, &facts, state, transition.at);
        let text = match template {
            Some(template) => message(template, &fields()),
            None => format!("{} {state}: {}", self.watch.alert, plain(&key)),
        };
        Notification {
            id: id_of(&self.watch, &key, transition.number),
            alert: self.watch.alert.clone(),
            state: state.to_owned(),
            severity: severity.clone(),
            message: text,
            window_start: facts.window.map(|(start, _)| start),
            window_end: facts.window.map(|(_, end)| end),
            event_time: transition.at,
            offsets: Some(facts.offsets).filter(|offsets| !offsets.is_empty()),
            values: facts.values,
            number: transition.number,
            silenced: false,
            at: at.0,
            key,
        }
    }

    /// What a template can name.
    fn fields(&self, key: &str, facts: &Facts, state: &str, at: EventTime) -> Map<String, Value> {
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        put("alert", self.watch.alert.clone().into());
        put("state", state.into());
        put("severity", self.rules.severity.clone().into());
        put("event_time", text_of(at.0).into());
        put("key", parsed(key));
        put("values", parsed(&facts.values));
        // A column of the query counts more than a field of ours.
        if let Value::Object(columns) = parsed(&facts.values) {
            fields.extend(columns);
        }
        fields
    }
}

/// All rows of some batches, by batch and row.
fn places(batches: &[Said<'_>]) -> impl Iterator<Item = (usize, usize)> {
    let batches = batches.iter().map(|said| said.rows().num_rows());
    let batches: Vec<usize> = batches.collect();
    let batches = batches.into_iter().enumerate();
    batches.flat_map(|(batch, rows)| (0..rows).map(move |row| (batch, row)))
}

/// Some columns of a batch, as JSON objects.
struct Columns {
    columns: Vec<usize>,
    encoder: JsonEncoder,
}

impl Columns {
    fn try_new(columns: &[usize], schema: &SchemaRef) -> Result<Self> {
        let schema = schema.project(columns).map_err(from_arrow)?;
        Ok(Self {
            columns: columns.to_vec(),
            encoder: JsonEncoder::try_new(Arc::new(schema))?,
        })
    }

    /// A text a row.
    fn texts(&self, rows: &RecordBatch) -> Result<Vec<String>> {
        if self.columns.is_empty() {
            return Ok(vec![String::from("{}"); rows.num_rows()]);
        }
        let columns = rows.project(&self.columns).map_err(from_arrow)?;
        let encoded = self.encoder.encode(&columns)?;
        let texts = encoded
            .rows()
            .map(|row| String::from_utf8_lossy(row).into_owned());
        Ok(texts.collect())
    }

    fn text(&self, rows: &RecordBatch, row: usize) -> Result<String> {
        let mut texts = self.texts(&rows.slice(row, 1))?;
        Ok(texts.pop().unwrap_or_default())
    }
}

/// A key for people: `symbol BTC`.
fn plain(key: &str) -> String {
    let Ok(Value::Object(fields)) = serde_json::from_str(key) else {
        return key.to_owned();
    };
    let fields = fields.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name} {text}"),
        other => format!("{name} {other}"),
    });
    fields.collect::<Vec<_>>().join(", ")
}

/// The id of a transition: the same in a replay, and no other has it.
fn id_of(watch: &Watch, key: &str, number: u64) -> String {
    let generation = watch.generation.to_be_bytes();
    let number = number.to_be_bytes();
    // What differs most often comes first, so that all that follows is mixed with it.
    let parts = [
        &number[..],
        &generation,
        watch.alert.as_bytes(),
        &[0],
        key.as_bytes(),
    ];
    // FNV-1a.
    let hash = parts.concat().iter().fold(
        0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128,
        |hash, byte| {
            (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        },
    );
    uuid::Builder::from_custom_bytes(hash.to_be_bytes())
        .into_uuid()
        .to_string()
}

#[cfg(test)]
mod tests;
