//! The demo as a newcomer meets it: the README's first tour, word for word.

use std::time::Duration;

use futures::StreamExt;
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::support::client::Client;
use crate::support::pages::{snippets, statements};
use crate::support::process::Process;
use crate::support::wait::{self, PATIENCE};

/// A window of a minute has to close.
const FIRST_ROW_TIME_MAX: Duration = Duration::from_secs(150);

fn demo(folder: &TempDir) -> Process {
    let mut command = Process::headwater();
    command.args([
        "demo",
        "--listen",
        "127.0.0.1:0",
        "--http-listen",
        "127.0.0.1:0",
        "--kafka-port",
        "0",
        // A build without optimisation keeps up with this beside other tests; one message in 10,000 is broken.
        "--rate",
        "50",
        "--history-seconds",
        "210",
    ]);
    command.arg("--data-dir").arg(folder.path().join("data"));
    Process::start(&mut command, &folder.path().join("demo.log"))
}

#[tokio::test]
async fn the_first_tour_works_word_for_word() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    let readme = readme.expect("there is a README");
    let (_, tour) = readme
        .split_once("## First tour")
        .expect("it has a first tour");
    let (tour, _) = tour.split_once("\n## ").expect("it is not the last part");
    let folder = TempDir::new().expect("a temporary folder");
    let mut demo = demo(&folder);
    let address = demo.announced("postgresql");
    let client = Client::connect(address).await.expect("it listens");
    let mut run = 0;
    for (_, snippet) in snippets(tour) {
        for statement in statements(&snippet) {
            follow(&client, statement).await;
            run += 1;
        }
    }
    assert!(run > 5, "the tour has statements");
    demo.signal("INT");
    let status = demo.ended_within(PATIENCE);
    assert!(
        status.is_some_and(|status| status.success()),
        "{status:?}\n{}",
        demo.last_lines()
    );
}

/// Runs a statement; of a live one its first row, then Ctrl-C. Questions are asked until there is something to see.
async fn follow(client: &Client, statement: &str) {
    if statement.contains("EMIT") && statement.starts_with("SELECT") {
        let row = async {
            let rows = client
                .raw()
                .query_raw(statement, Vec::<i32>::new())
                .await
                .expect(statement);
            let mut rows = std::pin::pin!(rows);
            rows.next()
                .await
                .expect("it does not end by itself")
                .expect(statement);
        };
        tokio::time::timeout(FIRST_ROW_TIME_MAX, row)
            .await
            .expect(statement);
        client
            .cancel_token()
            .cancel_query(NoTls)
            .await
            .expect("the request is taken");
    } else if statement.starts_with("SELECT") {
        wait::until_async(statement, async || {
            let rows = client.rows(statement).await;
            (!rows.is_empty()).then_some(())
        })
        .await;
    } else {
        client.run(statement).await;
    }
}

#[tokio::test]
async fn the_rows_of_a_print_sink_are_seen() {
    let folder = TempDir::new().expect("a temporary folder");
    let mut demo = demo(&folder);
    let address = demo.announced("postgresql");
    let client = Client::connect(address).await.expect("it listens");
    client
        .run("CREATE SINK seen WITH (connector = 'print') AS SELECT market FROM trades")
        .await;
    wait::until("a row in the log", || {
        let log = demo.output();
        let is_row = |line: &str| line.contains("sink=seen") && line.contains(r#"{"market":"#);
        log.lines().any(is_row).then_some(())
    });
}

#[test]
fn a_second_start_on_the_same_folder_finds_everything_again() {
    let folder = TempDir::new().expect("a temporary folder");
    for _ in 0..2 {
        let mut demo = demo(&folder);
        demo.announced("postgresql");
        demo.signal("TERM");
        let status = demo.ended_within(PATIENCE);
        assert!(
            status.is_some_and(|status| status.success()),
            "{status:?}\n{}",
            demo.last_lines()
        );
    }
}
