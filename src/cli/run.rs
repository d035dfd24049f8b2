//! `headwater run`: a file of statements without a server; prints the last query's rows.

use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;

use super::progress::{self, Progress, catching_up};
use super::rows::{RowFormat, RowPrinter};
use super::{output, report, signals};
use crate::clock;
use crate::config::{CommonSettings, Settings};
use crate::engine::Engine;
use crate::error::{Error, Result, SqlState};
use crate::session::{Outcome, Parsed, Rows, Services, Session, Statement};
use crate::telemetry;

/// The arguments of `headwater run`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The file of statements; - is standard input
    #[arg(value_name = "FILE.sql")]
    file: String,

    /// How the last query's rows are printed
    #[arg(long, value_enum, default_value = "table")]
    format: RowFormat,

    #[command(flatten)]
    common: CommonSettings,
}

/// A file of statements.
pub(super) struct Script {
    pub(super) name: String,
    pub(super) text: String,
}

impl Script {
    /// Reads the file, or standard input.
    ///
    /// # Errors
    /// When it cannot be read or is not UTF-8.
    pub(super) fn read(file: &str) -> Result<Self> {
        let (name, text) = if file == "-" {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            ("standard input", read.map(|_| text))
        } else {
            (file, std::fs::read_to_string(file))
        };
        let text = text.map_err(|error| {
            let message = format!("could not read \"{name}\": {error}");
            Error::external(SqlState::IoError, false, message)
        })?;
        Ok(Self {
            name: name.to_owned(),
            text,
        })
    }

    /// Prints an error with its place in this file.
    pub(super) fn report(&self, error: &Error) {
        report::error_in(error, &self.name, &self.text);
    }
}

/// Settings of a command without a server: only what goes wrong is logged.
pub(super) fn quiet(mut common: CommonSettings) -> Settings {
    common.log_level.get_or_insert_with(|| "error".to_owned());
    common.into()
}

/// Runs the file.
pub(super) async fn run(options: Options) -> Result<ExitCode> {
    let config = quiet(options.common).resolve()?;
    telemetry::init(config.log_format, &config.log_level)?;
    let mut shutdown = signals::watch()?;
    let script = Script::read(&options.file)?;
    let mut session = Session::new(Services::in_memory(Arc::new(config))?);
    let run = run_all(&mut session, &script, options.format);
    let done = tokio::select! {
        done = run => done,
        () = shutdown.requested() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    match done {
        Err(error) if !output::reader_is_gone(&error) => {
            script.report(&error);
            Ok(ExitCode::FAILURE)
        }
        Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
    }
}

/// What shells expect of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

async fn run_all(session: &mut Session, script: &Script, format: RowFormat) -> Result<()> {
    let statements = session.parse(&script.text)?;
    let last = statements
        .iter()
        .rposition(|parsed| gives_rows(&parsed.statement));
    for (at, parsed) in statements.into_iter().enumerate() {
        let outcome = execute(session, parsed).await;
        for notice in session.notices().take() {
            report::notice(&notice.content);
        }
        let rows = match outcome? {
            Outcome::Rows(rows) => rows,
            Outcome::CopyOut(copy) => copy.rows,
            Outcome::Command { .. } | Outcome::Empty => continue,
        };
        if Some(at) == last {
            print(rows, format, &session.services().engine).await?;
        } else {
            read_to_end(rows).await?;
        }
    }
    Ok(())
}

/// Runs a statement; one that takes longer (FLUSH, an INSERT) shows that it lives.
async fn execute(session: &mut Session, parsed: Parsed) -> Result<Outcome> {
    let engine = session.services().engine.clone();
    let progress = Progress::counter();
    let mut running = Box::pin(session.execute(parsed, &[]));
    let outcome = loop {
        tokio::select! {
            outcome = &mut running => break outcome,
            () = clock::sleep(progress::TICK) => progress.message(catching_up(&engine)),
        }
    };
    progress.finish();
    outcome
}

/// True for statements whose rows may be what the user waits for.
fn gives_rows(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Query(_)
            | Statement::CopyOut(_)
            | Statement::Show(_)
            | Statement::Describe(_)
            | Statement::Explain(_)
            | Statement::Fetch(_)
            | Statement::Execute(_)
    )
}

/// Rows that nobody sees are read all the same: reading them may fail.
async fn read_to_end(mut rows: Rows) -> Result<()> {
    while let Some(batch) = rows.next(0).await {
        batch?;
    }
    Ok(())
}

/// Prints rows as they come; a table is aligned over the rows that come first.
async fn print(mut rows: Rows, format: RowFormat, engine: &Engine) -> Result<()> {
    let mut printer = RowPrinter::try_new(format, &rows.schema)?;
    output::text(&printer.head())?;
    let total = rows.progress().map_or(0, |read| read.total as u64);
    let progress = if total > 0 {
        Progress::share(total)
    } else {
        Progress::counter()
    };
    let mut count = 0;
    loop {
        let next = tokio::select! {
            next = rows.next(0) => next,
            () = clock::sleep(progress::TICK) => {
                progress.position(rows.progress().map_or(0, |read| read.read as u64));
                progress.message(format!("{count} rows {}", catching_up(engine)));
                continue;
            }
        };
        let Some(batch) = next.transpose()? else {
            break;
        };
        count += batch.num_rows();
        let text = printer.rows(&batch)?;
        progress.suspend(|| output::text(&text))?;
    }
    progress.finish();
    output::text(&printer.tail())
}
