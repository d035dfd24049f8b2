//! Rounds of references and cases over one topic, and the table of what came of them.
//!
//! Invariant: each round measures the references again, and the best round counts; a case that is
//! refused once is not tried again, and ends nothing.

use std::future::Future;
use std::time::Duration;

use futures::StreamExt;
use headwater::error::Error;
use headwater::session::Outcome;

use crate::Context;
use crate::drain;
use crate::live;
use crate::meter::{Figure, measure};
use crate::together;
use crate::topic::Topic;
use crate::walk::walk;

const WALK: &str = "walk";
const DRAIN: &str = "bare drain";
const PRODUCT: &str = "direct fetch";
/// After this a query counts as hung.
const PATIENCE: Duration = Duration::from_secs(900);

/// One line of a table: what runs at once, and how many rows each of it reads.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) rows: u64,
    pub(crate) work: Work,
}

/// What a case does.
pub(crate) enum Work {
    /// A live query.
    Live(String),
    /// Live queries over trades that come into sight when all of them wait for the first: what it
    /// takes to start them does not count, and none is ahead of the others.
    Together(Vec<String>),
    /// A query that ends.
    Snapshot(String),
}

/// What was measured, in the order of the lines.
pub(crate) struct Report {
    lines: Vec<(String, Result<Figure, String>)>,
}

impl Report {
    /// The best round of a line.
    pub(crate) fn figure(&self, name: &str) -> Option<Figure> {
        let line = self.lines.iter().find(|(line, _)| line == name)?;
        line.1.as_ref().ok().copied()
    }

    /// A line's processor time to the walk's.
    pub(crate) fn walks(&self, name: &str) -> Option<f64> {
        Some(self.figure(name)?.cpu_ns / self.figure(WALK)?.cpu_ns)
    }

    /// A line's rows a second to the bare drain's.
    pub(crate) fn drains(&self, name: &str) -> Option<f64> {
        Some(self.figure(name)?.rows_per_second / self.figure(DRAIN)?.rows_per_second)
    }

    fn note(&mut self, name: &str, figure: Result<Figure, String>) {
        match self.lines.iter_mut().find(|(line, _)| line == name) {
            None => self.lines.push((name.to_owned(), figure)),
            Some((_, known)) => {
                *known = match (known.clone(), figure) {
                    (Ok(known), Ok(figure)) => Ok(known.best(figure)),
                    (Err(error), _) | (_, Err(error)) => Err(error),
                }
            }
        }
    }

    fn has_failed(&self, name: &str) -> bool {
        let mut lines = self.lines.iter();
        lines.any(|(line, figure)| line == name && figure.is_err())
    }
}

/// Measures the references and the wanted cases over a topic. `tables` are the statements that the
/// cases need.
pub(crate) fn compare(
    context: &Context,
    topic: &Topic,
    tables: &[String],
    cases: &[Case],
) -> Report {
    let mut report = Report { lines: Vec::new() };
    for _ in 0..context.arguments.rounds {
        references(&mut report, topic);
        for case in cases {
            if context.arguments.wants(&case.name) && !report.has_failed(&case.name) {
                let figure = run(context, tables, case);
                report.note(&case.name, figure);
            }
        }
    }
    report
}

fn references(report: &mut Report, topic: &Topic) {
    let walk = || match walk(&topic.servers, &topic.name)? {
        records if records == topic.rows => Ok(()),
        records => Err(format!("{records} records of {}", topic.rows)),
    };
    report.note(WALK, measure(topic.rows, walk));
    report.note(DRAIN, measure(topic.rows, || drain::by_library(topic)));
    report.note(PRODUCT, measure(topic.rows, || drain::by_product(topic)));
}

/// Runs a case to its end.
fn run(context: &Context, tables: &[String], case: &Case) -> Result<Figure, String> {
    match &case.work {
        Work::Live(query) => measure(case.rows, || {
            let queries = std::slice::from_ref(query);
            wait(context, async {
                let session = live::session(tables).await?;
                live::run(&session, queries, case.rows, |_| {}).await
            })
        }),
        Work::Together(queries) => together::run(context, queries, case.rows),
        Work::Snapshot(query) => measure(case.rows, || wait(context, snapshot(tables, query))),
    }
}

/// Waits for a query's end, with patience.
pub(crate) fn wait<T>(
    context: &Context,
    work: impl Future<Output = headwater::error::Result<T>>,
) -> Result<T, String> {
    let patient = async { tokio::time::timeout(PATIENCE, work).await };
    match context.runtime.block_on(patient) {
        Ok(done) => done.map_err(|error| told(&error)),
        Err(_) => Err("not done in time".to_owned()),
    }
}

async fn snapshot(tables: &[String], query: &str) -> headwater::error::Result<()> {
    let mut session = live::session(tables).await?;
    let Outcome::Rows(mut rows) = live::execute(&mut session, query).await? else {
        return Err(Error::internal("a query has rows"));
    };
    while let Some(batch) = rows.stream.next().await {
        batch?;
    }
    Ok(())
}

/// An error in one line.
pub(crate) fn told(error: &Error) -> String {
    match error.hint_text() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

/// Prints the lines; `refused` says what an error means.
pub(crate) fn print(title: &str, report: &Report, refused: &str) {
    println!();
    println!("{title}");
    println!(
        "{:<30}{:>12}{:>12}{:>9}{:>9}{:>11}{:>10}",
        "", "rows/s", "cpu ns/row", "x walk", "x drain", "peak MiB", "ms"
    );
    for (name, figure) in &report.lines {
        match figure {
            Err(error) => println!("{name:<30}{refused}: {error}"),
            Ok(figure) => println!(
                "{name:<30}{:>12.0}{:>12.0}{:>9.2}{:>9.2}{:>11.0}{:>10.1}",
                figure.rows_per_second,
                figure.cpu_ns,
                report.walks(name).unwrap_or(f64::NAN),
                report.drains(name).unwrap_or(f64::NAN),
                figure.peak_mib,
                figure.elapsed.as_secs_f64() * 1_000.0,
            ),
        }
    }
}
