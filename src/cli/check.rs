//! `headwater check`: reads, binds and plans a file; shows every error with its place; starts nothing.

use std::process::ExitCode;
use std::sync::Arc;

use super::output;
use super::run::{Script, quiet};
use crate::config::CommonSettings;
use crate::error::Result;
use crate::session::{Services, Session, Statement};
use crate::telemetry;

/// The arguments of `headwater check`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The file of statements; - is standard input
    #[arg(value_name = "FILE.sql")]
    file: String,

    #[command(flatten)]
    common: CommonSettings,
}

/// Checks the file.
pub(super) async fn run(options: Options) -> Result<ExitCode> {
    let config = quiet(options.common).resolve()?;
    telemetry::init(config.log_format, &config.log_level)?;
    let script = Script::read(&options.file)?;
    let mut session = Session::new(Services::in_memory(Arc::new(config))?);
    let statements = match session.parse_each(&script.text) {
        Ok(statements) => statements,
        Err(error) => {
            script.report(&error);
            return Ok(ExitCode::FAILURE);
        }
    };
    let (mut checked, mut errors) = (0, 0);
    for parsed in statements {
        let is_empty = matches!(&parsed, Ok(parsed) if parsed.statement == Statement::Empty);
        checked += u32::from(!is_empty);
        let done = match parsed {
            Ok(parsed) => session.check(parsed).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            script.report(&error);
            errors += 1;
        }
    }
    output::line(&summary(checked, errors))?;
    Ok(if errors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn summary(checked: u32, errors: u32) -> String {
    let counted = |count: u32, noun: &str| match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    };
    format!(
        "{}, {}",
        counted(checked, "statement"),
        counted(errors, "error")
    )
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn the_summary_counts_in_words() {
        assert_eq!(summary(0, 0), "no statements, no errors");
        assert_eq!(summary(1, 2), "1 statement, 2 errors");
    }
}
