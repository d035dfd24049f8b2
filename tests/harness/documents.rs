//! SQL that the project shows its users: the snippets of pages in `docs/` and the files in `queries/`.
//!
//! Invariant: what a user can copy has been run as it stands; only a live query's way to its rows is `COPY`.

use std::collections::BTreeMap;
use std::path::Path;

use futures::StreamExt;

use crate::bench::Bench;
use crate::support::client::Client;
use crate::support::messages::Record;
use crate::support::pages::{snippets, statements};
use crate::support::wait;

/// What the topics of a page hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topics {
    /// Nothing: the page makes its own.
    None,
    /// What `tests/data/` has.
    Filled,
}

/// Runs the snippets of a page from top to bottom, by one client. A live `SELECT` without `LIMIT`, which a reader
/// ends, runs on a connection of its own until its first row has come.
pub(crate) fn run_snippets(root: &Path, page: &str, topics: Topics) -> Result<(), String> {
    let snippets = snippets(&read(&root.join(page))?);
    if snippets.is_empty() {
        return Err("the page has no snippet".to_owned());
    }
    on_a_bench(async |bench| {
        if topics == Topics::Filled {
            fill(bench, root).await?;
        }
        let (client, _) = bench.connect().await.map_err(|error| error.to_string())?;
        for (line, snippet) in &snippets {
            for sql in statements(snippet) {
                let done = if is_endless(sql) {
                    first_row(bench, sql).await
                } else {
                    let answer = client.simple(sql).await;
                    answer.map(|_| ()).map_err(|error| error.to_string())
                };
                done.map_err(|error| format!("{page}:{line}: {sql}\n{error}"))?;
            }
        }
        Ok(())
    })
}

/// True for a live query that nothing but its reader ends.
fn is_endless(sql: &str) -> bool {
    let first = sql.lines().find(|line| !line.starts_with("--"));
    first.is_some_and(|line| line.starts_with("SELECT "))
        && sql.contains("EMIT ")
        && !sql.contains("LIMIT ")
}

/// Runs a live query over what is there until it gives a row.
async fn first_row(bench: &Bench, live: &str) -> Result<(), String> {
    let (client, _) = bench.connect().await.map_err(|error| error.to_string())?;
    let start = client.simple("SET live_start = 'earliest'").await;
    start.map_err(|error| error.to_string())?;
    let copy = format!("COPY ({live}) TO STDOUT");
    let stream = client.raw().copy_out(&copy).await;
    let stream = stream.map_err(|error| format!("{error:?}"))?;
    let mut stream = std::pin::pin!(stream);
    match tokio::time::timeout(wait::PATIENCE, stream.next()).await {
        Ok(Some(Ok(_))) => Ok(()),
        Ok(Some(Err(error))) => Err(format!("{error:?}")),
        Ok(None) => Err("it ended without a row".to_owned()),
        Err(_) => Err("no row came".to_owned()),
    }
}

/// Makes a topic of each file of messages in `tests/data/`.
async fn fill(bench: &Bench, root: &Path) -> Result<(), String> {
    let folder = std::fs::read_dir(root.join("tests/data")).map_err(|error| error.to_string())?;
    for path in folder.flatten().map(|entry| entry.path()) {
        let is_topic = path.extension().is_some_and(|ending| ending == "ndjson");
        let Some(topic) = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .filter(|_| is_topic)
        else {
            continue;
        };
        let data = read(&path)?;
        bench.cluster().create_topic(topic, 1).await;
        let records: Vec<_> = data.lines().map(Record::of).collect();
        bench.cluster().produce(topic, &records);
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Runs a file of `queries/` over `tests/data/` until its last statement has given what `.expected` says.
pub(crate) fn run_query(root: &Path, query: &Path) -> Result<(), String> {
    let expected = read(&query.with_extension("expected"))?;
    let expected: Vec<&str> = expected.lines().collect();
    let tables = read(&root.join("queries/trades.sql"))?;
    let text = read(query)?;
    on_a_bench(async |bench| {
        fill(bench, root).await?;
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
