//! The user's own psql as a process: what it shows of the catalog, of live rows, and what Ctrl-C does.
//!
//! Knows psql 15 and later. Invariant: a live query is ended by a signal, never by a time.

use std::path::Path;
use std::process::{Command, ExitStatus};

use tempfile::TempDir;

use crate::support::broker::{Broker, not_here};
use crate::support::messages::{Cluster, Record};
use crate::support::process::Process;
use crate::support::server::Server;
use crate::support::wait;

/// A server with a table `trades` over a topic of three messages; `None` without psql.
async fn stage() -> Option<Stage> {
    if Command::new("psql").arg("--version").output().is_err() {
        not_here("there is no psql (package postgresql-client)");
        return None;
    }
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("trades", 1).await;
    let lines = ["BTC-USD", "ETH-EUR", "BTC-USD"].into_iter().enumerate();
    let message =
        |(n, market)| Record::of(format!(r#"{{"market":"{market}","price":"{}.5"}}"#, n + 1));
    cluster.produce("trades", &lines.map(message).collect::<Vec<_>>());
    let mut server = Server::start(&broker.bootstrap());
    let client = server.connect().await;
    client
        .run("CREATE TABLE trades (market text, price double precision) WITH (connector = 'kafka', topic = 'trades')")
        .await;
    Some(Stage {
        server,
        folder: TempDir::new().expect("a temporary folder"),
        _broker: broker,
    })
}

struct Stage {
    server: Server,
    folder: TempDir,
    _broker: Broker,
}

/// What a psql printed, standard output and errors in their order, and how it ended.
struct Printed {
    text: String,
    status: ExitStatus,
}

impl Stage {
    /// Starts psql with further arguments.
    fn psql(&self, arguments: &[&str]) -> Process {
        let address = self.server.address();
        // psql keeps what it writes to a pipe until it has a block of it, unless told otherwise.
        let mut command = Command::new("stdbuf");
        command
            .args(["-oL", "psql"])
            .args([
                "--no-psqlrc",
                "-h",
                &address.ip().to_string(),
                "-p",
                &address.port().to_string(),
            ])
            .args([
                "-U",
                "headwater",
                "-d",
                "headwater",
                "-v",
                "VERBOSITY=verbose",
            ])
            .args(arguments)
            .env("PAGER", "")
            .env("LC_ALL", "C");
        Process::start(&mut command, &self.log())
    }

    fn log(&self) -> std::path::PathBuf {
        let path: &Path = self.folder.path();
        path.join("psql.log")
    }

    /// Runs psql to its end.
    fn printed(&self, arguments: &[&str]) -> Printed {
        let mut psql = self.psql(arguments);
        let status = psql.ended_within(wait::PATIENCE);
        let text = psql.output();
        Printed {
            status: status.unwrap_or_else(|| panic!("psql {arguments:?} does not end:\n{text}")),
            text,
        }
    }

    /// Starts a statement that does not end by itself, waits for `shown`, presses Ctrl-C, and returns what it printed.
    fn interrupted(&self, arguments: &[&str], shown: &str) -> Printed {
        let mut psql = self.psql(arguments);
        wait::until(&format!("`{shown}` from psql {arguments:?}"), || {
            psql.output().contains(shown).then_some(())
        });
        psql.signal("INT");
        let status = psql.ended_within(wait::PATIENCE);
        let text = psql.output();
        Printed {
            status: status.unwrap_or_else(|| panic!("psql survives Ctrl-C:\n{text}")),
            text,
        }
    }
}

#[tokio::test]
async fn the_catalog_commands_show_what_is_there() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let client = stage.server.connect().await;
    client
        .run("CREATE VIEW dear AS SELECT * FROM trades WHERE price > 2")
        .await;

    let tables = stage.printed(&["-A", "-c", r"\dt"]);
    assert!(tables.status.success(), "{}", tables.text);
    assert!(
        tables.text.contains("public|trades|table|"),
        "{}",
        tables.text
    );
    assert!(!tables.text.contains("dear"), "{}", tables.text);

    let all = stage.printed(&["-A", "-c", r"\d"]);
    assert!(all.text.contains("public|trades|table|"), "{}", all.text);
    assert!(all.text.contains("public|dear|view|"), "{}", all.text);

    let one = stage.printed(&["-A", "-c", r"\d trades"]);
    assert!(one.text.contains("Table \"public.trades\""), "{}", one.text);
    assert!(one.text.contains("\nmarket|text|"), "{}", one.text);
    assert!(
        one.text.contains("\nprice|double precision|"),
        "{}",
        one.text
    );

    let missing = stage.printed(&["-c", r"\d nothing"]);
    assert!(
        missing
            .text
            .contains("Did not find any relation named \"nothing\""),
        "{}",
        missing.text
    );
}

#[tokio::test]
async fn errors_come_with_code_place_and_hint() {
    let Some(stage) = stage().await else { return };
    let printed = stage.printed(&["-c", "SELECT prise FROM trades"]);
    assert!(!printed.status.success(), "{}", printed.text);
    assert!(printed.text.contains("ERROR:  42703: "), "{}", printed.text);
    assert!(
        printed
            .text
            .contains("LINE 1: SELECT prise FROM trades\n               ^"),
        "{}",
        printed.text
    );
    assert!(printed.text.contains("HINT:  "), "{}", printed.text);
}

#[tokio::test]
async fn live_rows_show_one_by_one_until_ctrl_c() {
    let Some(stage) = stage().await else { return };
    let live = "SELECT market, price FROM trades EMIT CHANGES";
    let arguments = [
        "-A",
        "-t",
        "-v",
        "FETCH_COUNT=1",
        "-c",
        "SET live_start = 'earliest'",
        "-c",
        live,
    ];
    let printed = stage.interrupted(&arguments, "BTC-USD|3.5");
    assert!(
        printed
            .text
            .contains("BTC-USD|1.5\nETH-EUR|2.5\nBTC-USD|3.5"),
        "{}",
        printed.text
    );
    assert!(printed.text.contains("ERROR:  57014: "), "{}", printed.text);
    assert!(!printed.status.success(), "{}", printed.text);
}

#[tokio::test]
async fn a_live_copy_streams_lines_until_ctrl_c() {
    let Some(stage) = stage().await else { return };
    let copy = "COPY (SELECT market, price FROM trades EMIT CHANGES) TO STDOUT WITH (FORMAT csv)";
    let printed = stage.interrupted(
        &["-c", "SET live_start = 'earliest'", "-c", copy],
        "BTC-USD,3.5",
    );
    assert!(
        printed
            .text
            .contains("BTC-USD,1.5\nETH-EUR,2.5\nBTC-USD,3.5\n"),
        "{}",
        printed.text
    );
    assert!(printed.text.contains("ERROR:  57014: "), "{}", printed.text);
}

#[tokio::test]
async fn a_plain_live_query_gets_a_notice_at_once() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let live = "SELECT market, price FROM trades EMIT CHANGES";
    let printed = stage.interrupted(&["-c", live], "NOTICE:");
    assert!(printed.text.contains("FETCH_COUNT"), "{}", printed.text);
    assert!(printed.text.contains("ERROR:  57014: "), "{}", printed.text);
    // Nothing goes on running for a client that has left.
    let client = stage.server.connect().await;
    wait::until_async("end of the live query", async || {
        let running = "SELECT count(*) FROM headwater.queries WHERE state = 'running'";
        (client.value(running).await == "0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn headwater_psql_opens_the_users_psql_for_live_queries() {
    let Some(stage) = stage().await else { return };
    let mut command = Process::headwater();
    let address = stage.server.address();
    command.args([
        "psql",
        "-h",
        &address.ip().to_string(),
        "-p",
        &address.port().to_string(),
    ]);
    command.args([
        "-A",
        "-t",
        "-c",
        r"\echo fetch :FETCH_COUNT",
        "-c",
        "SELECT count(*) FROM trades",
    ]);
    let mut psql = Process::start(&mut command, &stage.log());
    let status = psql.ended_within(wait::PATIENCE);
    let text = psql.output();
    assert!(status.is_some_and(|status| status.success()), "{text}");
    assert!(text.contains("fetch 1\n3\n"), "{text}");
}
