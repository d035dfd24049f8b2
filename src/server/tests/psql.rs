//! psql as a process: its meta-commands ask the system catalogs in ways of their own.

use std::process::Command;

use super::Running;
use crate::session::define;

const DEFINITIONS: &str = "
    CREATE TABLE trades (
        id text, market text NOT NULL, price double precision, volume numeric(20,8), tags text[],
        raw json, ts timestamptz, WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
    ) WITH (connector = 'kafka', topic = 'trades', bootstrap_servers = 'localhost:9');
    CREATE VIEW dear AS SELECT market, max(price), count(*) FROM trades GROUP BY market;
    CREATE MATERIALIZED VIEW candles AS SELECT market, max(price) AS high FROM trades GROUP BY market";

/// What psql prints for a command; `None` on a machine without psql.
fn psql(server: &Running, command: &str) -> Option<String> {
    let output = Command::new("psql")
        .args([
            "-X",
            "-h",
            "127.0.0.1",
            "-p",
            &server.address.port().to_string(),
        ])
        .args(["-U", "ann", "-d", "headwater", "-c", command])
        .output();
    let Ok(output) = output else {
        assert!(
            std::env::var_os("CI").is_none(),
            "psql is missing (package postgresql-client)"
        );
        return None;
    };
    let printed = [output.stdout, output.stderr].concat();
    Some(String::from_utf8(printed).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_meta_commands_of_psql_find_what_there_is() {
    let server = super::start().await;
    define(&server.services, DEFINITIONS);
    let shown = [
        (r"\d", "trades"),
        (r"\dt", "trades"),
        (r"\dv", "dear"),
        (r"\dm", "candles"),
        (r"\d trades", "numeric(20,8)"),
        (r"\d+ trades", "text[]"),
        (r"\d dear", "max"),
        (r"\d+ dear", "count(*)"),
        (r"\sv dear", "SELECT market, max(price), count(*)"),
        (r"\dt+", "trades"),
        (r"\dn+", "public"),
        (r"\l+", "headwater"),
        (r"\du+", "Superuser"),
        (r"\df", "List of functions"),
        (r"\dconfig timezone", "UTC"),
        (r"\dv headwater.*", "queries"),
        (r"\d headwater.queries", "timestamp with time zone"),
        (r"\conninfo", "as user \"ann\""),
        ("SELECT to_regclass('trades') IS NOT NULL", "t"),
        (
            "SELECT format('%I has %s of %L', 'Odd', 1, 'it''s')",
            "\"Odd\" has 1 of 'it''s'",
        ),
        (
            "SELECT data_type FROM information_schema.columns WHERE column_name = 'ts'",
            "timestamp with time zone",
        ),
    ];
    for (command, expected) in shown {
        let Some(printed) = psql(&server, command) else {
            return;
        };
        assert!(printed.contains(expected), "{command}: {printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_meta_command_of_psql_fails() {
    let server = super::start().await;
    define(&server.services, DEFINITIONS);
    let commands = [
        r"\dS pg_cl*",
        r"\dv+",
        r"\dm+",
        r"\dn",
        r"\l",
        r"\du",
        r"\df+ a*",
        r"\dT",
        r"\da",
        r"\do =",
        r"\db",
        r"\dC",
        r"\dc",
        r"\dD",
        r"\dd",
        r"\dp",
        r"\z",
        r"\ddp",
        r"\des",
        r"\det",
        r"\dew",
        r"\deu",
        r"\dE",
        r"\di",
        r"\ds",
        r"\dL",
        r"\dO",
        r"\dP",
        r"\dRp",
        r"\dRs",
        r"\drds",
        r"\dx",
        r"\dy",
        r"\dX",
        r"\dF",
        r"\encoding",
        r"\dA",
        r"\dl",
        r"\dt *.*",
        r"\dt headwater.*",
    ];
    let mut failed = Vec::new();
    for command in commands {
        let Some(printed) = psql(&server, command) else {
            return;
        };
        if printed.contains("ERROR") || printed.contains("FATAL") {
            failed.push(format!("{command}: {printed}"));
        }
    }
    assert_eq!(failed, Vec::<String>::new());
}
