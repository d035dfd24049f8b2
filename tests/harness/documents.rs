//! SQL that the project shows its users: the snippets of `docs/sql.md` and the files in `queries/`.
//!
//! Invariant: what a user can copy has been run as it stands; only a query's way to its rows is `COPY`.

use std::collections::BTreeMap;
use std::path::Path;

use futures::StreamExt;

use crate::bench::Bench;
use crate::support::client::Client;
use crate::support::messages::Record;
use crate::support::pages::{snippets, statements};
use crate::support::wait;

/// Runs the snippets of a page from top to bottom, by one client.
pub(crate) fn run_snippets(page: &Path) -> Result<(), String> {
    let text =
        std::fs::read_to_string(page).map_err(|error| format!("{}: {error}", page.display()))?;
    let snippets = snippets(&text);
    on_a_bench(async |bench| {
        let (client, _) = bench.connect().await.map_err(|error| error.to_string())?;
        for (line, snippet) in &snippets {
            for sql in statements(snippet) {
                let answer = client.simple(sql).await;
                answer.map_err(|error| format!("{}:{line}: {sql}\n{error}", page.display()))?;
            }
        }
        if snippets.is_empty() {
            Err("the page has no snippet".to_owned())
        } else {
            Ok(())
        }
    })
}

/// Runs a file of `queries/` over `tests/data/` until its last statement has given what `.expected` says.
pub(crate) fn run_query(root: &Path, query: &Path) -> Result<(), String> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let expected = read(&query.with_extension("expected"))?;
    let expected: Vec<&str> = expected.lines().collect();
    let tables = read(&root.join("queries/trades.sql"))?;
    let text = read(query)?;
    on_a_bench(async |bench| {
        for topic in ["trades", "feedback"] {
            let data = read(&root.join(format!("tests/data/{topic}.ndjson")))?;
            bench.cluster().create_topic(topic, 1).await;
            bench
                .cluster()
                .produce(topic, &data.lines().map(Record::of).collect::<Vec<_>>());
        }
        let (client, _) = bench.connect().await.map_err(|error| error.to_string())?;
        // Every query but the tables' own stands on what the first one registers.
        let table = statements(&tables)
            .into_iter()
            .next()
            .ok_or("queries/trades.sql registers nothing")?;
        let statements = statements(&text);
        let (live, before) = statements.split_last().ok_or("the file has no statement")?;
        for sql in ["SET live_start = 'earliest'", table].iter().chain(before) {
            client
                .simple(sql)
                .await
                .map_err(|error| format!("{sql}\n{error}"))?;
        }
        compare(&client, live, &expected).await
    })
}

/// Reads a live query's rows until they are the expected ones: all of them, or the newest of each first column.
async fn compare(client: &Client, live: &str, expected: &[&str]) -> Result<(), String> {
    let copy = format!("COPY ({live}) TO STDOUT WITH (FORMAT csv, HEADER)");
    let stream = client
        .raw()
        .copy_out(&copy)
        .await
        .map_err(|error| format!("{copy}\n{error:?}"))?;
    let mut stream = std::pin::pin!(stream);
    let mut text = String::new();
    loop {
        let lines: Vec<&str> = text.lines().collect();
        if sorted(&lines) == sorted(expected) || sorted(&newest(&lines)) == sorted(expected) {
            return Ok(());
        }
        let next = tokio::time::timeout(wait::PATIENCE, stream.next()).await;
        match next {
            Ok(Some(Ok(chunk))) => text += &String::from_utf8_lossy(&chunk),
            Ok(Some(Err(error))) => return Err(format!("{live}\n{error:?}")),
            Ok(None) | Err(_) => {
                return Err(format!(
                    "expected:\n{}\n\ngot:\n{text}",
                    expected.join("\n")
                ));
            }
        }
    }
}

fn newest<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let key = |line: &'a str| line.split(',').next().unwrap_or_default();
    let newest: BTreeMap<&str, &str> = lines.iter().map(|&line| (key(line), line)).collect();
    newest.into_values().collect()
}

fn sorted<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let mut lines = lines.to_vec();
    lines.sort_unstable();
    lines
}

fn on_a_bench(work: impl AsyncFnOnce(&Bench) -> Result<(), String>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let bench = Bench::start();
        match work(&bench).await {
            Ok(()) => Ok(()),
            Err(error) => Err(format!(
                "{error}\n\nthe server's log:\n{}",
                bench.server_log().await
            )),
        }
    })
}
