//! The command line: arguments → configuration → one command → exit code.
//!
//! Owns what is printed and the exit codes: 0 done, 1 failed, 2 wrong usage (and 127 from `psql`
//! when the machine has none). Log lines go to standard error, answers to standard output.

mod listen;
mod psql;
mod report;
mod signals;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::error::{Error, Result};

/// After a command is done, blocking work still under way may take this long.
const LEFT_OVER_WORK_TIME_MAX: Duration = Duration::from_millis(200);

/// A SQL streaming server for Kafka: register topics, query them live, stream the results to sinks.
#[derive(Debug, Parser)]
#[command(name = "headwater", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Opens your psql on the local server, with what live queries need.
    Psql(psql::Options),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Psql(options) => psql::run(options),
    };
    done.unwrap_or_else(|error| {
        report::error(&error);
        ExitCode::FAILURE
    })
}

/// Runs a command on a runtime of its own.
fn block_on(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("headwater")
        .enable_all()
        .build()
        .map_err(|error| Error::internal(format!("could not start the runtime: {error}")))?;
    let done = runtime.block_on(command);
    runtime.shutdown_timeout(LEFT_OVER_WORK_TIME_MAX);
    done
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        super::Arguments::command().debug_assert();
    }
}
