//! A case on the server: its tables, views and messages, and whether the answer is the batch answer.
//!
//! Invariant: cases do not see each other; each has topics, tables and views of its own names.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::case::{Case, Emit, Event, Shape, Step, rows_of};
use super::oracle::{self, Expected};
use super::question::{self, TABLES};
use super::windows::Window;
use crate::support::client::{Answer, Client, Failure};
use crate::support::messages::{Cluster, Record, Writer};
use crate::support::values;
use crate::support::wait;

/// Why a case fails. Two faults are of one sort when a smaller case may stand for a larger one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// A statement failed, with that SQLSTATE.
    Refused(String, String),
    /// The answer is another than the batch answer.
    Differs(String),
    /// Rows in, used, rejected and late are not what they must be.
    Counts(String),
}

impl Fault {
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Refused(state, _), Self::Refused(others, _)) => state == others,
            (Self::Differs(_), Self::Differs(_)) | (Self::Counts(_), Self::Counts(_)) => true,
            _ => false,
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Refused(_, text) | Self::Differs(text) | Self::Counts(text) => text,
        }
    }
}

/// Something that runs cases one after the other, over one connection.
pub(super) struct Player {
    client: Client,
    cluster: Cluster,
    writer: Writer,
    /// Numbers that no other case of this test has.
    numbers: Arc<AtomicUsize>,
}

impl Player {
    pub(super) fn new(client: Client, cluster: Cluster, numbers: &Arc<AtomicUsize>) -> Self {
        let writer = cluster.writer();
        Self {
            client,
            cluster,
            writer,
            numbers: Arc::clone(numbers),
        }
    }

    /// Another connection, after a crash.
    pub(super) fn reconnected(&mut self, client: Client) {
        self.client = client;
    }

    /// A number for a case's names.
    pub(super) fn number(&self) -> usize {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs a case from its tables to its end.
    pub(super) async fn play(&self, case: &Case) -> Result<(), Fault> {
        let number = self.number();
        let played = Box::pin(self.to_its_end(case, number)).await;
        for drop in question::drops(case, number) {
            let dropped = self.run(&drop).await;
            if played.is_ok() {
                dropped?;
            }
        }
        for topic in &TABLES[..case.topics()] {
            self.cluster
                .delete_topic(&format!("{topic}_{number}"))
                .await;
        }
        played
    }

    async fn to_its_end(&self, case: &Case, number: usize) -> Result<(), Fault> {
        self.make(case, number).await?;
        if case.idle {
            return self.check_end(case, number).await;
        }
        let mut done = 0;
        for (place, step) in case.steps.iter().enumerate() {
            if matches!(step, Step::Cut | Step::Flush) {
                self.produce(case, number, done, place);
                done = place;
            }
            if *step == Step::Flush {
                self.run("FLUSH").await?;
                if matches!(case.emit, Emit::Final | Emit::Changes) {
                    let rows = rows_of(&case.steps[..place]);
                    let mut expected = Box::pin(oracle::batch(case, &rows)).await;
                    if case.shape == Shape::Cascade {
                        // The windows over the windows that have closed close later.
                        closed_only(case, &rows, &mut expected.rows);
                    }
                    let answer = self.answer(case, number).await?;
                    compare(
                        case,
                        &answer,
                        &expected,
                        &format!("after {} rows", rows.len()),
                    )?;
                }
            }
        }
        self.produce(case, number, done, case.steps.len());
        self.produce_all(number, &case.closing_rows(), case.rows().len());
        self.run("FLUSH").await?;
        self.check_end(case, number).await
    }

    /// Makes the topics, the tables and the views.
    pub(super) async fn make(&self, case: &Case, number: usize) -> Result<(), Fault> {
        for topic in &TABLES[..case.topics()] {
            let partitions = case.partitions + i32::from(case.idle);
            self.cluster
                .create_topic(&format!("{topic}_{number}"), partitions)
                .await;
        }
        if case.idle {
            // A partition that falls silent for long would be idle too: all rows are there before the query is.
            self.produce(case, number, 0, case.steps.len());
            self.produce_all(number, &case.closing_rows(), case.rows().len());
        }
        for statement in question::statements(case, number) {
            self.run(&statement).await?;
        }
        Ok(())
    }

    /// Compares the answer and the counts when every row has been produced and flushed.
    pub(super) async fn check_end(&self, case: &Case, number: usize) -> Result<(), Fault> {
        let mut rows = case.rows();
        rows.extend(case.closing_rows());
        let expected = Box::pin(oracle::batch(case, &rows)).await;
        let waits = case.idle || case.emit == Emit::Every;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            match self.check_once(case, number, &rows, &expected).await {
                Err(Fault::Differs(_) | Fault::Counts(_))
                    if waits && std::time::Instant::now() < deadline =>
                {
                    wait::pause(std::time::Duration::from_millis(50));
                }
                checked => return checked,
            }
        }
    }

    /// Compares what there is by now.
    async fn check_once(
        &self,
        case: &Case,
        number: usize,
        rows: &[Event],
        expected: &Expected,
    ) -> Result<(), Fault> {
        let mut answer = self.answer(case, number).await?;
        if matches!(case.emit, Emit::Final | Emit::Every) && case.window != Window::None {
            closed_only(case, rows, &mut answer);
        }
        compare(case, &answer, expected, "at the end")?;
        if case.emit == Emit::Snapshot {
            return Ok(());
        }
        self.check_counts(case, number, expected).await
    }

    async fn check_counts(
        &self,
        case: &Case,
        number: usize,
        expected: &Expected,
    ) -> Result<(), Fault> {
        let sql = format!(
            "SELECT rows_in, rows_used, rows_rejected, rows_late FROM headwater.queries \
             WHERE name = 'answer_{number}'"
        );
        let told = self.rows(&sql).await?;
        let told: Vec<String> = told
            .into_iter()
            .flatten()
            .map(Option::unwrap_or_default)
            .collect();
        let rows = case.rows().len() + case.closing_rows().len();
        let broken = case
            .steps
            .iter()
            .filter(|step| matches!(step, Step::Broken(_)))
            .count();
        let late = expected.late;
        let wanted: Vec<String> = [rows + broken, rows - late, broken, late]
            .iter()
            .map(ToString::to_string)
            .collect();
        // A row of a session that WHERE leaves out afterwards may count as late or as used.
        let unsure = case.beyond && oracle::filters_after_windows(case) && case.filter != "true";
        if told == wanted || unsure {
            return Ok(());
        }
        Err(Fault::Counts(format!(
            "rows in, used, rejected, late: {told:?}, must be {wanted:?}"
        )))
    }

    /// Produces the rows and broken messages of the steps between two places.
    pub(super) fn produce(&self, case: &Case, number: usize, from: usize, to: usize) {
        let mut id = rows_of(&case.steps[..from]).len();
        let mut records = [Vec::new(), Vec::new()];
        for (place, step) in case.steps.iter().enumerate().take(to).skip(from) {
            match step {
                Step::Row(event) => {
                    records[event.topic].push(record(event, id));
                    id += 1;
                }
                Step::Broken(partition) => records[0].push(broken(place).in_partition(*partition)),
                Step::Cut | Step::Flush => {}
            }
        }
        for (topic, records) in TABLES.iter().zip(&records) {
            self.writer.produce(&format!("{topic}_{number}"), records);
        }
    }

    /// Produces rows whose numbers begin with `id`.
    pub(super) fn produce_all(&self, number: usize, rows: &[Event], id: usize) {
        for (place, row) in rows.iter().enumerate() {
            let topic = format!("{}_{number}", TABLES[row.topic]);
            self.writer.produce(&topic, &[record(row, id + place)]);
        }
    }

    async fn answer(&self, case: &Case, number: usize) -> Result<Vec<Vec<String>>, Fault> {
        let rows = match case.emit {
            Emit::Snapshot => self.rows(&question::query(case, number)).await?,
            _ => self.rows(&format!("SELECT * FROM answer_{number}")).await?,
        };
        let cell = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
        Ok(rows
            .into_iter()
            .map(|row| row.into_iter().map(cell).collect())
            .collect())
    }

    pub(super) async fn run(&self, sql: &str) -> Result<(), Fault> {
        self.client
            .simple(sql)
            .await
            .map(drop)
            .map_err(|failure| refused(sql, failure))
    }

    async fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Fault> {
        match self.client.simple(sql).await {
            Ok(Answer::Rows(rows)) => Ok(rows),
            Ok(Answer::Done(_)) => Ok(Vec::new()),
            Err(failure) => Err(refused(sql, failure)),
        }
    }
}

fn refused(sql: &str, failure: Failure) -> Fault {
    Fault::Refused(failure.state, format!("{sql}\n{}", failure.text))
}

fn record(event: &Event, id: usize) -> Record {
    let quoted = |text: &str| format!("\"{text}\"");
    let text = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    let day = event
        .other
        .map(|other| values::date(i64::from(oracle::day(other)) - 10_957));
    let hundredths = event.other.map(|other| {
        let sign = if other < 0 { "-" } else { "" };
        format!("{sign}{}.{:02}", other.abs() / 100, other.abs() % 100)
    });
    let payload = format!(
        r#"{{"id":{id},"at":"{}Z","k":{},"b":{},"v":{},"f":{},"d":{},"day":{}}}"#,
        // 2000-01-01 is where PostgreSQL begins to count.
        values::timestamp(event.at - 10_957 * 86_400_000_000).replace(' ', "T"),
        text(event.key.as_deref().map(quoted)),
        text(event.flag.map(|flag| flag.to_string())),
        text(event.value.map(|value| value.to_string())),
        text(event.other.map(|other| oracle::float(other).to_string())),
        text(hundredths),
        text(day.as_deref().map(quoted)),
    );
    Record::of(payload).in_partition(event.partition)
}

fn broken(place: usize) -> Record {
    Record::of(
        [
            "",
            "{",
            "[]",
            r#"{"id":1,"v":"many"}"#,
            r#"{"id":1,"at":null}"#,
        ][place % 5],
    )
}

/// Leaves out rows of windows that have not closed.
fn closed_only(case: &Case, rows: &[Event], answer: &mut Vec<Vec<String>>) {
    let watermark = case.watermark(rows).unwrap_or(i64::MIN / 2);
    let zone = if case.zoned { "+00" } else { "" };
    let least = values::timestamp(watermark - 10_957 * 86_400_000_000) + zone;
    answer.retain(|row| row[1] <= least);
}

fn compare(
    case: &Case,
    answer: &[Vec<String>],
    expected: &Expected,
    when: &str,
) -> Result<(), Fault> {
    let sorted = |rows: &[Vec<String>]| {
        let plain = |text: &String| text.strip_suffix("+00").unwrap_or(text).to_owned();
        let mut rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(plain).collect())
            .collect();
        rows.sort();
        rows
    };
    let (answer, expected) = (sorted(answer), sorted(&expected.rows));
    let alike = |row: &[String], other: &[String]| {
        row.len() == other.len() && row.iter().zip(other).all(|(one, other)| alike(one, other))
    };
    let mut pairs = answer.iter().zip(&expected);
    if answer.len() == expected.len() && pairs.all(|(row, other)| alike(row, other)) {
        return Ok(());
    }
    let list = |rows: &[Vec<String>], without: &[Vec<String>]| -> String {
        let unlike = |row: &&Vec<String>| !without.iter().any(|other| alike(row, other));
        let lines = rows.iter().filter(unlike).take(20);
        lines
            .map(|row| format!("  {}\n", row.join(" | ")))
            .collect()
    };
    Err(Fault::Differs(format!(
        "{when}, {} rows of {} windows: the answer has\n{}but must have\n{}",
        answer.len(),
        case.emit.word(),
        list(&answer, &expected),
        list(&expected, &answer)
    )))
}

/// The same text, or two fractions so close that only the order of additions can be between them.
fn alike(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let fraction = |text: &str| {
        let number = text.parse::<f64>().ok();
        number.filter(|_| text.contains(['.', 'e']) || text == "0" || text == "-0")
    };
    let whole = |text: &str| text.parse::<f64>().ok();
    match (whole(one), whole(other)) {
        (Some(a), Some(b)) if fraction(one).or(fraction(other)).is_some() => {
            (a - b).abs() <= 1e-9 * a.abs().max(1.0)
        }
        _ => false,
    }
}
