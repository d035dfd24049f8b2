//! One file, one way: its records in their order, against a broker and a server of its own.
//!
//! Invariant: with `UPDATE` a file changes only where the server's answer differs from it.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use sqllogictest::{
    DefaultColumnType, ExpectedError, MakeConnection, QueryExpect, Record, Runner, StatementExpect,
    default_column_validator, default_normalizer, default_validator, parse_file,
    update_record_with_output,
};

use crate::bench::Bench;
use crate::database::Database;
use crate::tools;

/// How a file is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The simple protocol: text both ways.
    Simple,
    /// Prepared statements with binary answers.
    Extended,
    /// The simple protocol, with a kill -9 and a new start before every second statement.
    Restart,
}

impl Way {
    /// The ways of a file: a line `# no-restart` says that it holds state that ends with a connection.
    pub(crate) fn of(text: &str) -> &'static [Self] {
        if text.lines().any(|line| line.starts_with("# no-restart")) {
            return &[Self::Simple, Self::Extended];
        }
        &[Self::Simple, Self::Extended, Self::Restart]
    }

    /// Its name in trials and in `onlyif` and `skipif`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Restart => "restart",
        }
    }
}

/// Runs a file, or with `update` rewrites it.
pub(crate) fn run(path: &Path, way: Way, update: bool) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let bench = Arc::new(Bench::start());
        let result = script(&bench, way, update).run(path).await;
        match result {
            Ok(()) => Ok(()),
            Err(error) => Err(format!(
                "{error}\n\nthe server's log:\n{}",
                bench.server_log().await
            )),
        }
    })
}

struct Script<M: MakeConnection<Conn = Database>> {
    bench: Arc<Bench>,
    runner: Runner<Database, M>,
    way: Way,
    update: bool,
    statements: u32,
}

type AnyRecord = Record<DefaultColumnType>;

fn script(
    bench: &Arc<Bench>,
    way: Way,
    update: bool,
) -> Script<impl MakeConnection<Conn = Database>> {
    let shared = Arc::clone(bench);
    let mut runner = Runner::new(move || {
        let database = Database::new(Arc::clone(&shared), way);
        async move { Ok(database) }
    });
    runner.add_label(way.name());
    Script {
        bench: Arc::clone(bench),
        runner,
        way,
        update,
        statements: 0,
    }
}

impl<M: MakeConnection<Conn = Database>> Script<M> {
    async fn run(mut self, path: &Path) -> Result<(), String> {
        let records: Vec<AnyRecord> = parse_file(path).map_err(|error| error.to_string())?;
        let mut updated = String::new();
        for record in records {
            let record = match record {
                Record::System { .. } => self.system(record).await?,
                Record::Statement { .. } | Record::Query { .. } => self.statement(record).await?,
                other => {
                    self.runner.apply_record(other.clone()).await;
                    other
                }
            };
            writeln!(updated, "{record}").map_err(|error| error.to_string())?;
        }
        self.runner.shutdown_async().await;
        if self.update {
            let text = format!("{}\n", updated.trim_end());
            std::fs::write(path, text).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn statement(&mut self, record: AnyRecord) -> Result<AnyRecord, String> {
        self.statements += 1;
        if self.way == Way::Restart && self.statements.is_multiple_of(2) {
            self.bench.crash_server().await;
        }
        if !self.update {
            refuse_any_error(&record)?;
            self.runner
                .run_async(record.clone())
                .await
                .map_err(|error| error.to_string())?;
            return Ok(record);
        }
        let record = asked_for_text(record);
        let output = self.runner.apply_record(record.clone()).await;
        let updated = update_record_with_output(
            &record,
            &output,
            " ",
            default_validator,
            default_normalizer,
            default_column_validator,
        );
        Ok(updated.unwrap_or(record))
    }

    async fn system(&mut self, mut record: AnyRecord) -> Result<AnyRecord, String> {
        let Record::System {
            command,
            stdout,
            loc,
            ..
        } = &mut record
        else {
            return Ok(record);
        };
        let printed = tools::run(&self.bench, command)
            .await
            .map_err(|error| format!("{error}\nat {loc}"))?;
        if let Some(expected) = stdout {
            let printed = self.bench.named(printed.trim());
            if self.update {
                *expected = printed;
            } else if expected.trim() != printed {
                return Err(format!(
                    "expected:\n{}\nprinted:\n{printed}\nat {loc}",
                    expected.trim()
                ));
            }
        }
        Ok(record)
    }
}

/// The error that a record expects.
fn expected_error(record: &mut AnyRecord) -> Option<&mut ExpectedError> {
    match record {
        Record::Statement {
            expected: StatementExpect::Error(error),
            ..
        } => Some(error),
        Record::Query {
            expected: QueryExpect::Error(error),
            ..
        } => Some(error),
        _ => None,
    }
}

/// A bare `error` is a question for the whole text of the error, which `UPDATE=1` answers.
fn asked_for_text(mut record: AnyRecord) -> AnyRecord {
    if let Some(error @ ExpectedError::Empty) = expected_error(&mut record) {
        *error = ExpectedError::Multiline("?".to_owned());
    }
    record
}

/// `error` alone would also be content with a server that does not answer.
fn refuse_any_error(record: &AnyRecord) -> Result<(), String> {
    match expected_error(&mut record.clone()) {
        Some(ExpectedError::Empty) => Err(format!("say which error is expected:\n{record}")),
        _ => Ok(()),
    }
}
