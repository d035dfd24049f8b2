//! `headwater psql`: the user's own psql, on the local server, with what live queries need.
//!
//! psql before 17 shows rows of a running statement only with `FETCH_COUNT`, and a pager would hold
//! them back.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::config::{CommonSettings, Config, Settings, address, environment};
use crate::error::{Error, Result, SqlState};

/// What a shell says when a program does not exist.
const NOT_FOUND: u8 = 127;

/// The arguments of `headwater psql`. `-h` and `--help` are psql's own.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(super) struct Options {
    /// The server's address [default: 127.0.0.1:5433]
    #[arg(long, env = "HEADWATER_LISTEN", value_name = "HOST:PORT", value_parser = address)]
    listen: Option<SocketAddr>,

    /// The server's configuration file, if it says the address
    #[arg(long, env = "HEADWATER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Passed on to psql, for example -c 'SHOW TABLES'
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PSQL ARGUMENTS"
    )]
    arguments: Vec<OsString>,
}

/// Becomes psql; returns only when that fails.
pub(super) fn run(options: Options) -> Result<ExitCode> {
    let config = Settings {
        listen: options.listen,
        common: CommonSettings {
            config: options.config,
            ..CommonSettings::default()
        },
        ..Settings::default()
    }
    .resolve()?;
    let error = command(&config, &options.arguments).exec();
    if error.kind() == ErrorKind::NotFound {
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(std::io::stderr(), "{MISSING}");
        return Ok(ExitCode::from(NOT_FOUND));
    }
    Err(Error::external(
        SqlState::IoError,
        false,
        format!("could not start psql: {error}"),
    ))
}

const MISSING: &str = "error: psql is not on this machine's PATH
hint: It comes with the PostgreSQL client:
  Debian, Ubuntu   apt install postgresql-client
  Fedora, RHEL     dnf install postgresql
  Alpine           apk add postgresql-client
  macOS            brew install libpq && brew link --force libpq";

fn command(config: &Config, arguments: &[OsString]) -> Command {
    let mut psql = Command::new("psql");
    psql.args(["-v", "FETCH_COUNT=1", "-P", "pager=off"])
        .args(arguments)
        .env("PGHOST", config.listen.ip().to_string())
        .env("PGPORT", config.listen.port().to_string())
        .env("PGDATABASE", "headwater")
        .env("PSQL_PAGER", "");
    if environment("PGUSER").is_none() {
        psql.env("PGUSER", "headwater");
    }
    psql
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::Parser;

    use super::{Config, Options, command};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn arguments(line: &[&str]) -> Vec<OsString> {
        Line::parse_from(line).options.arguments
    }

    #[test]
    fn what_we_do_not_know_goes_to_psql() {
        assert_eq!(
            arguments(&["psql", "-c", "SHOW TABLES"]),
            ["-c", "SHOW TABLES"]
        );
        assert_eq!(arguments(&["psql", "--help"]), ["--help"]);
        assert_eq!(arguments(&["psql", "-h", "elsewhere"]), ["-h", "elsewhere"]);
        assert_eq!(
            arguments(&["psql", "--listen", "127.0.0.1:1", "-Atc", "SELECT 1"]),
            ["-Atc", "SELECT 1"]
        );
    }

    #[test]
    fn psql_is_told_the_address_and_to_show_rows_at_once() {
        let psql = command(&Config::default(), &["-c".into(), "SELECT 1".into()]);
        let arguments: Vec<_> = psql.get_args().collect();
        assert_eq!(
            arguments,
            ["-v", "FETCH_COUNT=1", "-P", "pager=off", "-c", "SELECT 1"]
        );
        let port = psql.get_envs().find(|(name, _)| *name == "PGPORT").unwrap();
        assert_eq!(port.1.unwrap(), "5433");
    }
}
