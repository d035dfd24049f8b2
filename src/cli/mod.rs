//! The command line: arguments → configuration → one command → exit code.
//!
//! Owns what is printed and the exit codes: 0 done, 1 failed, 2 wrong usage (and 127 from `psql`
//! when the machine has none). Log lines go to standard error, answers to standard output.

mod serve;
mod demo;
mod run;
mod check;
mod psql;
mod broker;
mod feed;
mod node;
mod listen;
mod signals;
mod output;
mod progress;
mod report;
mod rows;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::Settings;
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
    /// Runs the server.
    Serve(Settings),
    /// Runs the server with an embedded broker, live trades, and the queries of `queries/`.
    Demo(demo::Options),
    /// Runs a file of statements without a server; prints the last query's rows.
    Run(run::Options),
    /// Reads, binds and plans a file, and shows every error with its place; starts nothing.
    Check(check::Options),
    /// Opens your psql on the local server, with what live queries need.
    Psql(psql::Options),
    /// Runs the embedded Kafka broker alone; for trials and tests, not for production.
    Broker(broker::Options),
    /// Puts outside data into a topic: lines, an HTTP endpoint, a websocket, Slack.
    Feed(Box<feed::Options>),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve(settings) => block_on(serve::run(settings)),
        Command::Demo(options) => block_on(demo::run(options)),
        Command::Run(options) => block_on(run::run(options)),
        Command::Check(options) => block_on(check::run(options)),
        Command::Psql(options) => psql::run(options),
        Command::Broker(options) => block_on(broker::run(options)),
        Command::Feed(options) => block_on(feed::run(*options)),
    };
    done.unwrap_or_else(|error| {
        report::error(&error);
        ExitCode::FAILURE
    })
}

/// Runs a command on a runtime of its own.
fn block_on(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(crate::task::STACK_BYTES)
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
