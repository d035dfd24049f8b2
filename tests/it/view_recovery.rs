//! Materialized views after a crash, a disk that refuses, and a topic whose messages have gone: they never read it anew.
//!
//! Invariant: what a view answers after a start is what it answered at an epoch's end, before anything else is read.

use std::fs;
use std::path::PathBuf;
use std::pin::{Pin, pin};

use futures::StreamExt;
use tokio_postgres::RowStream;

use crate::support::broker::Broker;
use crate::support::client::Client;
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;
use crate::support::wait;

const CLICKS: &str = "CREATE TABLE clicks (who text, at timestamp, WATERMARK FOR at AS at) \
    WITH (connector = 'kafka', topic = 'clicks', format = 'json', idle_timeout = 'off')";

/// Views of every form, and what each of them must hold when all clicks have gone through.
const VIEWS: [(&str, &str, &str); 8] = [
    ("added", "SELECT who, at FROM clicks WHERE who <> 'eve'", ""),
    (
        "per_minute",
        "SELECT window_start, who, count(*) AS n, array_agg(who) AS all_of_them \
         FROM TUMBLE(clicks, at, INTERVAL '1 minute') GROUP BY window_start, who",
        "window_end <= (SELECT max(at) FROM clicks)",
    ),
    (
        "sessions",
        "SELECT window_start, window_end, who, count(*) AS n \
         FROM SESSION(clicks PARTITION BY who, at, INTERVAL '50 seconds') GROUP BY window_start, window_end, who",
        "window_end <= (SELECT max(at) FROM clicks)",
    ),
    (
        "often",
        "SELECT who, count(*) AS n, max(at) AS last FROM clicks GROUP BY who HAVING count(*) > 1",
        "",
    ),
    (
        "open_windows",
        "SELECT window_start, who, count(*) AS n FROM TUMBLE(clicks, at, INTERVAL '1 minute') \
         GROUP BY window_start, who EMIT CHANGES",
        "",
    ),
    (
        "counts",
        "SELECT count(*) AS n FROM clicks GROUP BY who",
        "",
    ),
    ("names", "SELECT DISTINCT who FROM clicks", ""),
    (
        "all_clicks",
        "SELECT count(*) AS n, max(who) AS last FROM clicks",
        "",
    ),
];

fn click(who: &str, at: &str) -> Record {
    Record::of(format!(r#"{{"who":"{who}","at":"2026-01-01T{at}"}}"#))
}

async fn stage() -> (Broker, Cluster, Server, Client) {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("clicks", 1).await;
    let mut server = Server::start(&broker.bootstrap());
    let client = server.connect().await;
    client.run(CLICKS).await;
    (broker, cluster, server, client)
}

async fn sorted(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let mut rows = client.rows(sql).await;
    rows.sort();
    rows
}

async fn all_rows(client: &Client) -> Vec<(&'static str, Vec<Vec<Option<String>>>)> {
    let mut all = Vec::new();
    for (name, _, _) in VIEWS {
        all.push((name, sorted(client, &format!("SELECT * FROM {name}")).await));
    }
    all
}

/// What a snapshot says that a view must hold.
fn snapshot(query: &str, closed: &str) -> String {
    let query = query.trim_end_matches(" EMIT CHANGES");
    if closed.is_empty() {
        return query.to_owned();
    }
    match query.split_once(" GROUP BY ") {
        Some((rows, groups)) => format!("{rows} WHERE {closed} GROUP BY {groups}"),
        None => format!("{query} AND {closed}"),
    }
}

async fn rows_in(client: &Client, name: &str) -> String {
    let sql = format!("SELECT rows_in FROM headwater.queries WHERE name = '{name}'");
    client.value(&sql).await
}

#[tokio::test]
async fn a_view_has_its_rows_and_goes_on_although_its_messages_are_gone() {
    let (_broker, cluster, mut server, client) = stage().await;
    for (name, query, _) in VIEWS {
        client
            .run(&format!("CREATE MATERIALIZED VIEW {name} AS {query}"))
            .await;
    }
    let parts = [
        vec![
            click("ann", "00:00:10"),
            click("bob", "00:00:20"),
            click("ann", "00:00:30"),
        ],
        vec![
            click("eve", "00:01:05"),
            click("ann", "00:01:10"),
            click("bob", "00:02:00"),
        ],
        vec![
            click("bob", "00:02:10"),
            click("eve", "00:02:20"),
            click("ann", "00:05:00"),
        ],
    ];
    let mut client = client;
    let mut produced = 0;
    for part in &parts {
        cluster.produce("clicks", part);
        produced += part.len();
        client.run("FLUSH").await;
        let before = all_rows(&client).await;
        for crash in 0..2 {
            server.crash_and_start_again();
            client = server.connect().await;
            assert_eq!(all_rows(&client).await, before, "crash {crash}");
        }
        assert_eq!(all_rows(&client).await, before);
    }
    client.run("FLUSH").await;
    for (name, query, closed) in VIEWS {
        let expected = sorted(&client, &snapshot(query, closed)).await;
        assert!(!expected.is_empty(), "{name}: nothing is expected");
        let found = sorted(&client, &format!("SELECT * FROM {name}")).await;
        assert_eq!(found, expected, "{name}");
        assert_eq!(rows_in(&client, name).await, produced.to_string(), "{name}");
    }

    cluster.delete_records("clicks").await;
    let before = all_rows(&client).await;
    server.crash_and_start_again();
    let client = server.connect().await;
    assert_eq!(client.value("SELECT count(*) FROM clicks").await, "0");
    assert_eq!(all_rows(&client).await, before);
    cluster.produce("clicks", &[click("ann", "00:09:00")]);
    client.run("FLUSH").await;
    assert_eq!(all_rows(&client).await[7].1[0][0].as_deref(), Some("10"));
    let ann = "SELECT n FROM often WHERE who = 'ann'";
    assert_eq!(client.value(ann).await, "5");
    let closed = "SELECT n FROM per_minute WHERE window_start = TIMESTAMP '2026-01-01 00:05:00'";
    assert_eq!(client.value(closed).await, "1");
    assert_eq!(rows_in(&client, "often").await, "10");
}

#[tokio::test]
async fn a_view_from_the_topics_end_on_has_what_came_while_the_server_was_away() {
    let (_broker, cluster, mut server, client) = stage().await;
    let latest = CLICKS.replace("'json'", "'json', scan_startup = 'latest'");
    client
        .run(&latest.replace("TABLE clicks", "TABLE later"))
        .await;
    cluster.produce("clicks", &[click("before", "00:00:01")]);
    client
        .run("CREATE MATERIALIZED VIEW seen AS SELECT who FROM later")
        .await;
    let begun = "SELECT count(*) FROM headwater.queries WHERE name = 'seen' AND state = 'running'";
    wait::until_async("running view", async || {
        (client.value(begun).await == "1").then_some(())
    })
    .await;
    cluster.produce("clicks", &[click("ann", "00:00:10")]);
    client.run("FLUSH").await;
    server.process().kill();
    cluster.produce("clicks", &[click("bob", "00:00:20")]);
    server.start_again();
    let client = server.connect().await;
    client.run("FLUSH").await;
    assert_eq!(
        sorted(&client, "SELECT who FROM seen").await,
        [[Some("ann".to_owned())], [Some("bob".to_owned())]]
    );
}

#[tokio::test]
async fn a_view_is_read_while_its_broker_is_away() {
    let (mut broker, cluster, mut server, client) = stage().await;
    client
        .run("CREATE MATERIALIZED VIEW names AS SELECT who FROM clicks")
        .await;
    cluster.produce("clicks", &[click("ann", "00:00:10")]);
    client.run("FLUSH").await;
    broker.kill();
    server.crash_and_start_again();
    let client = server.connect().await;
    assert_eq!(client.value("SELECT who FROM names").await, "ann");
    broker.start_again();
    cluster.produce("clicks", &[click("bob", "00:00:20")]);
    client.run("FLUSH").await;
    assert_eq!(client.value("SELECT count(*) FROM names").await, "2");
}

/// The only query's folder.
fn folder(server: &Server) -> PathBuf {
    let mut all = fs::read_dir(server.data().join("queries")).expect("it is there");
    all.next()
        .expect("a folder")
        .expect("it can be read")
        .path()
}

/// The next row of a subscription to `totals`: what it does, and its count.
async fn change(rows: Pin<&mut RowStream>) -> Result<(String, i64), String> {
    let mut rows = rows;
    let next = tokio::time::timeout(wait::PATIENCE, rows.next()).await;
    match next.expect("in time").expect("not the end") {
        Ok(row) => Ok((row.get(0), row.get(3))),
        Err(error) => Err(error
            .code()
            .map_or_else(|| error.to_string(), |state| state.code().to_owned())),
    }
}

#[tokio::test]
async fn what_a_disk_refused_is_taken_back_and_comes_again() {
    let (_broker, cluster, mut server, client) = stage().await;
    let (observer, flusher) = (server.connect().await, server.connect().await);
    client
        .run(
            "CREATE MATERIALIZED VIEW totals WITH (checkpoint_interval = '10 minutes') AS \
             SELECT who, count(*) AS n FROM clicks GROUP BY who",
        )
        .await;
    cluster.produce("clicks", &[click("ann", "00:00:10")]);
    client.run("FLUSH").await;
    let rows = client
        .raw()
        .query_raw("SUBSCRIBE TO totals", Vec::<i64>::new());
    let mut rows = pin!(rows.await.expect("it starts"));
    let row = |op: &str, n: i64| Ok((op.to_owned(), n));
    assert_eq!(change(rows.as_mut()).await, row("insert", 1));

    let (folder, beside) = (folder(&server), server.data().join("beside"));
    fs::rename(&folder, &beside).expect("it is moved");
    fs::write(&folder, "no directory").expect("it is written");
    cluster.produce("clicks", &[click("ann", "00:00:20")]);
    assert_eq!(change(rows.as_mut()).await, row("update_before", 1));
    assert_eq!(change(rows.as_mut()).await, row("update_after", 2));
    let mend = async {
        let retrying = "SELECT count(*) FROM headwater.queries WHERE state = 'retrying'";
        wait::until_async("query that tries again", async || {
            (observer.value(retrying).await == "1").then_some(())
        })
        .await;
        // What is there no longer lasts, but it is still the best answer.
        assert_eq!(observer.value("SELECT n FROM totals").await, "2");
        fs::remove_file(&folder).expect("it is removed");
        fs::rename(&beside, &folder).expect("it is moved back");
    };
    tokio::join!(flusher.run("FLUSH"), mend);
    assert_eq!(change(rows.as_mut()).await, Err("55000".to_owned()));
    assert_eq!(observer.value("SELECT n FROM totals").await, "2");
    assert_eq!(rows_in(&observer, "totals").await, "2");
    server.crash_and_start_again();
    let client = server.connect().await;
    assert_eq!(client.value("SELECT n FROM totals").await, "2");
}

#[tokio::test]
async fn a_view_that_is_replaced_or_dropped_begins_anew() {
    let (_broker, cluster, mut server, client) = stage().await;
    let totals = "MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM clicks GROUP BY who";
    client.run(&format!("CREATE {totals}")).await;
    cluster.produce("clicks", &[click("ann", "00:00:10")]);
    client.run("FLUSH").await;
    cluster.delete_records("clicks").await;
    cluster.produce("clicks", &[click("ann", "00:00:20")]);
    client.run("FLUSH").await;
    assert_eq!(client.value("SELECT n FROM totals").await, "2");
    client.run(&format!("CREATE OR REPLACE {totals}")).await;
    client.run("FLUSH").await;
    assert_eq!(client.value("SELECT n FROM totals").await, "1");
    server.crash_and_start_again();
    let client = server.connect().await;
    assert_eq!(client.value("SELECT n FROM totals").await, "1");

    client.run("DROP MATERIALIZED VIEW totals").await;
    let left = fs::read_dir(server.data().join("queries")).expect("it is there");
    assert_eq!(left.count(), 0, "nothing is left of it");
    cluster.produce("clicks", &[click("ann", "00:00:30")]);
    client.run(&format!("CREATE {totals}")).await;
    client.run("FLUSH").await;
    assert_eq!(client.value("SELECT n FROM totals").await, "2");
}

#[tokio::test]
async fn a_view_that_accepts_loss_goes_on_while_its_messages_are_removed_before_it() {
    let (_broker, cluster, _server, client) = stage().await;
    client
        .run(
            "CREATE TABLE slow (who text) WITH (connector = 'kafka', topic = 'clicks', \
             format = 'json', max_rows_per_second = 20, on_data_loss = 'continue')",
        )
        .await;
    // More than the reader fetches ahead.
    let long = "x".repeat(30_000);
    let clicks: Vec<Record> = (0..400)
        .map(|n| click(&format!("u{n}{long}"), "00:00:10"))
        .collect();
    cluster.produce("clicks", &clicks);
    client
        .run("CREATE MATERIALIZED VIEW names AS SELECT who FROM slow")
        .await;
    let rows = async || {
        let count = client.value("SELECT count(*) FROM names").await;
        count.parse::<usize>().expect("a number")
    };
    wait::until_async("first rows", async || (rows().await > 0).then_some(())).await;
    cluster.delete_records("clicks").await;
    cluster.produce("clicks", &[click("last", "00:00:20")]);
    wait::until_async("what came after the loss", async || {
        let last = "SELECT count(*) FROM names WHERE who = 'last'";
        (client.value(last).await == "1").then_some(())
    })
    .await;
    assert!(rows().await < 401, "nothing was lost");
    let state = "SELECT state FROM headwater.queries WHERE name = 'names'";
    assert_eq!(client.value(state).await, "running");
}

#[tokio::test]
async fn a_view_whose_unread_messages_are_gone_fails_and_keeps_its_rows() {
    let (_broker, cluster, mut server, client) = stage().await;
    client
        .run("CREATE MATERIALIZED VIEW names AS SELECT who FROM clicks")
        .await;
    cluster.produce("clicks", &[click("ann", "00:00:10")]);
    client.run("FLUSH").await;
    server.process().kill();
    cluster.produce("clicks", &[click("bob", "00:00:20")]);
    cluster.delete_records("clicks").await;
    server.start_again();
    let client = server.connect().await;
    client
        .run("CREATE MATERIALIZED VIEW others AS SELECT count(*) AS n FROM clicks")
        .await;
    cluster.produce("clicks", &[click("eve", "00:00:30")]);
    client.run("FLUSH").await;
    let skipped = "WARNING: query \"names\" has failed, skipping\nHINT: EXPLAIN PROGRESS names tells \
                   more; ALTER QUERY names RESUME tries it again.";
    assert_eq!(client.notices(), [skipped]);
    assert_eq!(
        client.value("SELECT n FROM others").await,
        "1",
        "it waits for the others"
    );
    let error = "SELECT last_error FROM headwater.queries WHERE name = 'names'";
    let error = client.value(error).await;
    assert!(error.contains("removed before they were read"), "{error}");
    assert_eq!(client.value("SELECT who FROM names").await, "ann");
}
