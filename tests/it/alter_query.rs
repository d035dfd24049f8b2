//! Queries that are paused, resumed and set to another pace while they run.

use crate::support::broker::Broker;
use crate::support::client::Client;
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;
use crate::support::wait;

const CLICKS: &str = "CREATE TABLE clicks (who text, n bigint) \
    WITH (connector = 'kafka', topic = 'clicks', format = 'json')";
const PER_NAME: &str = "CREATE MATERIALIZED VIEW per_name AS \
    SELECT who, count(*) AS n FROM clicks GROUP BY who EMIT CHANGES";
const COPY: &str = "CREATE SINK copy WITH (connector = 'kafka', topic = 'copied') AS \
    SELECT who, n FROM clicks";

async fn stage() -> (Broker, Cluster, Server) {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("clicks", 2).await;
    cluster.create_topic("copied", 1).await;
    let mut server = Server::start(&broker.bootstrap());
    let client = server.connect().await;
    client.run(CLICKS).await;
    (broker, cluster, server)
}

fn clicks(range: std::ops::Range<usize>) -> Vec<Record> {
    let record = |n| Record::of(format!(r#"{{"who":"ann","n":{n}}}"#));
    range.map(record).collect()
}

async fn of_query(client: &Client, name: &str, column: &str) -> String {
    let sql = format!("SELECT {column}::text FROM headwater.queries WHERE name = '{name}'");
    client.value(&sql).await
}

/// The first line of EXPLAIN PROGRESS.
async fn progress(client: &Client, name: &str) -> String {
    let rows = client.rows(&format!("EXPLAIN PROGRESS {name}")).await;
    rows[0][0].clone().unwrap_or_default()
}

async fn until_state(client: &Client, name: &str, state: &str) {
    let reached = async || (of_query(client, name, "state").await == state).then_some(());
    wait::until_async(&format!("{name} is {state}"), reached).await;
}

async fn count(client: &Client) -> String {
    client
        .value("SELECT sum(n)::bigint::text FROM per_name")
        .await
}

#[tokio::test]
async fn a_paused_query_takes_no_row_and_goes_on_where_it_stood() {
    let (_broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    client.run(PER_NAME).await;
    client.run(COPY).await;
    cluster.produce("clicks", &clicks(0..10));
    client.run("FLUSH").await;

    client.run("ALTER QUERY per_name PAUSE").await;
    client.run("ALTER QUERY copy PAUSE").await;
    for name in ["per_name", "copy"] {
        assert_eq!(of_query(&client, name, "state").await, "paused");
    }
    client.notices();
    cluster.produce("clicks", &clicks(10..30));
    client.run("FLUSH").await;
    let skipped: Vec<String> = ["per_name", "copy"]
        .map(|name| {
            format!(
                "NOTICE: query \"{name}\" is paused, skipping\n\
                 HINT: ALTER QUERY {name} RESUME lets it go on."
            )
        })
        .into();
    assert_eq!(client.notices(), skipped);
    for name in ["per_name", "copy"] {
        assert_eq!(of_query(&client, name, "rows_in").await, "10");
        let told = progress(&client, name).await;
        let first = format!("It is paused; ALTER QUERY {name} RESUME lets it go on.");
        assert!(told.starts_with(&first), "{told}");
    }
    assert_eq!(count(&client).await, "10", "it stays readable");
    assert_eq!(cluster.read("copied").len(), 10);
    client.run("ALTER QUERY copy PAUSE").await;
    let again = ["NOTICE: query \"copy\" is paused already"];
    assert_eq!(client.notices(), again);

    client.run("ALTER QUERY per_name RESUME").await;
    client.run("ALTER QUERY copy RESUME").await;
    client.run("FLUSH").await;
    assert_eq!(client.notices(), [""; 0]);
    for name in ["per_name", "copy"] {
        assert_eq!(of_query(&client, name, "rows_in").await, "30");
    }
    assert_eq!(count(&client).await, "30");
    assert_eq!(cluster.read("copied").len(), 30, "each once");
    client.run("ALTER QUERY copy PAUSE").await;
    client.run("DROP SINK copy").await;
    client.run("ALTER QUERY per_name PAUSE").await;
    client.run("DROP MATERIALIZED VIEW per_name").await;
}

#[tokio::test]
async fn a_paused_query_is_paused_after_a_restart() {
    let (mut broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    client.run(PER_NAME).await;
    client.run(COPY).await;
    cluster.produce("clicks", &clicks(0..10));
    client.run("FLUSH").await;
    client.run("ALTER QUERY per_name PAUSE").await;
    client.run("ALTER SINK copy PAUSE").await;
    client
        .run("ALTER SINK copy SET (checkpoint_interval = '10 ms')")
        .await;
    let shown = client.value("SHOW CREATE SINK copy").await;
    assert!(shown.contains("checkpoint_interval = '10 ms'"), "{shown}");
    cluster.produce("clicks", &clicks(10..30));

    server.crash_and_start_again();
    let client = server.connect().await;
    until_state(&client, "copy", "paused").await;
    until_state(&client, "per_name", "paused").await;
    assert_eq!(client.value("SHOW CREATE SINK copy").await, shown);
    assert_eq!(of_query(&client, "copy", "rows_in").await, "10");
    client.run("FLUSH").await;
    assert_eq!(count(&client).await, "10", "a paused view has its rows");
    assert_eq!(cluster.read("copied").len(), 10);

    // Also without a broker.
    broker.kill();
    server.crash_and_start_again();
    let client = server.connect().await;
    until_state(&client, "copy", "paused").await;
    broker.start_again();
    client.run("ALTER QUERY copy RESUME").await;
    client.run("ALTER QUERY per_name RESUME").await;
    client.run("FLUSH").await;
    assert_eq!(cluster.read("copied").len(), 30, "each once");
    assert_eq!(count(&client).await, "30");

    server.crash_and_start_again();
    let client = server.connect().await;
    client.run("FLUSH").await;
    until_state(&client, "copy", "running").await;
}

#[tokio::test]
async fn a_trigger_that_is_set_keeps_the_counts() {
    let (_broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    client.run(PER_NAME).await;
    cluster.produce("clicks", &clicks(0..10));
    client.run("FLUSH").await;

    client
        .run("ALTER QUERY per_name SET (trigger = 'interval 1 hour')")
        .await;
    cluster.produce("clicks", &clicks(10..20));
    client.run("FLUSH").await;
    assert_eq!(
        count(&client).await,
        "20",
        "a FLUSH does not wait for the hour"
    );
    cluster.produce("clicks", &clicks(20..30));
    // Nor does another trigger.
    client
        .run("ALTER QUERY per_name SET (trigger = 'continuous')")
        .await;
    let all = async || (count(&client).await == "30").then_some(());
    wait::until_async("all rows", all).await;
    client
        .run("ALTER QUERY per_name SET (trigger = 'interval 1 hour')")
        .await;
    client.run("ALTER QUERY per_name PAUSE").await;
    assert_eq!(of_query(&client, "per_name", "state").await, "paused");
    assert_eq!(of_query(&client, "per_name", "rows_in").await, "30");
}

#[tokio::test]
async fn an_interval_that_is_set_ends_epochs_from_then_on() {
    let (_broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    client
        .run(&COPY.replace("'copied'", "'copied', checkpoint_interval = '10 minutes'"))
        .await;
    cluster.produce("clicks", &clicks(0..10));
    let read = async || (of_query(&client, "copy", "rows_in").await == "10").then_some(());
    wait::until_async("rows read", read).await;
    client
        .run("ALTER QUERY copy SET (checkpoint_interval = '10 ms')")
        .await;
    let out = async || (cluster.read("copied").len() == 10).then_some(());
    wait::until_async("rows out", out).await;

    // A longer one ends the epoch too: the sink's transactions may take longer from here on.
    client
        .run("ALTER QUERY copy SET (checkpoint_interval = '10 minutes')")
        .await;
    cluster.produce("clicks", &clicks(10..20));
    client.run("FLUSH").await;
    assert_eq!(cluster.read("copied").len(), 20);
    assert_eq!(of_query(&client, "copy", "rows_in").await, "20");
}

#[tokio::test]
async fn available_now_ends_and_runs_again() {
    let (_broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    client.run(COPY).await;
    cluster.produce("clicks", &clicks(0..10));
    client
        .run("ALTER QUERY copy SET (trigger = 'available now')")
        .await;
    until_state(&client, "copy", "finished").await;
    assert_eq!(cluster.read("copied").len(), 10, "all that was there");

    cluster.produce("clicks", &clicks(10..20));
    client.run("FLUSH").await;
    assert_eq!(cluster.read("copied").len(), 10, "it has ended");
    let told = progress(&client, "copy").await;
    assert!(
        told.starts_with("It has ended; ALTER QUERY copy RESUME"),
        "{told}"
    );
    client.run("ALTER QUERY copy RESUME").await;
    until_state(&client, "copy", "finished").await;
    assert_eq!(cluster.read("copied").len(), 20, "each once");

    cluster.produce("clicks", &clicks(20..30));
    client
        .run("ALTER QUERY copy SET (trigger = 'continuous')")
        .await;
    client.run("FLUSH").await;
    assert_eq!(cluster.read("copied").len(), 30, "each once");
    assert_eq!(of_query(&client, "copy", "state").await, "running");
}

#[tokio::test]
async fn a_view_of_what_is_there_ends_and_runs_again() {
    let (_broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    cluster.produce("clicks", &clicks(0..10));
    let view = PER_NAME.replace(
        "per_name AS",
        "per_name WITH (trigger = 'available now') AS",
    );
    client.run(&view).await;
    until_state(&client, "per_name", "finished").await;
    assert_eq!(count(&client).await, "10");
    cluster.produce("clicks", &clicks(10..20));
    client.run("ALTER MATERIALIZED VIEW per_name RESUME").await;
    until_state(&client, "per_name", "finished").await;
    assert_eq!(count(&client).await, "20");

    // Who follows it from then on sees what comes.
    client
        .run("ALTER QUERY per_name SET (trigger = 'continuous')")
        .await;
    client.run("FLUSH").await;
    assert_eq!(of_query(&client, "per_name", "state").await, "running");
    client.run("BEGIN").await;
    client
        .run("DECLARE c CURSOR FOR SUBSCRIBE TO per_name WITH (snapshot = false)")
        .await;
    cluster.produce("clicks", &clicks(20..21));
    let rows = client
        .rows("FETCH 2 FROM c WITH (timeout = '1 minute')")
        .await;
    let last = rows.last().and_then(|row| row.last()?.clone());
    assert_eq!(last.as_deref(), Some("21"));

    // Who follows it does not notice that it stood still.
    let other = server.connect().await;
    other.run("ALTER QUERY per_name PAUSE").await;
    cluster.produce("clicks", &clicks(21..22));
    other.run("ALTER QUERY per_name RESUME").await;
    let rows = client
        .rows("FETCH 2 FROM c WITH (timeout = '1 minute')")
        .await;
    let last = rows.last().and_then(|row| row.last()?.clone());
    assert_eq!(last.as_deref(), Some("22"));
    client.run("COMMIT").await;
}

#[tokio::test]
async fn a_query_that_failed_is_tried_again() {
    let (_broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    let strict = CLICKS
        .replace("TABLE clicks", "TABLE strict")
        .replace("'json'", "'json', on_error = 'fail'");
    client.run(&strict).await;
    client.run(&COPY.replace("clicks", "strict")).await;
    cluster.produce("clicks", &[Record::of("broken".to_owned())]);
    until_state(&client, "copy", "failed").await;
    client.run("ALTER QUERY copy RESUME").await;
    until_state(&client, "copy", "failed").await;
    client.run("DROP SINK copy").await;
}

#[tokio::test]
async fn a_live_query_cannot_be_paused() {
    let (_broker, _cluster, mut server) = stage().await;
    let (client, other) = (server.connect().await, server.connect().await);
    let rows = client.simple("SELECT who FROM clicks EMIT CHANGES");
    let refuse = async {
        let name = async || {
            let sql = "SELECT name FROM headwater.queries WHERE kind = 'live'";
            other.rows(sql).await.pop()?.pop()?
        };
        let name = wait::until_async("a live query", name).await;
        let error = other.error(&format!("ALTER QUERY {name} PAUSE")).await;
        other.run(&format!("CANCEL QUERY {name}")).await;
        (name, error)
    };
    let (_, (name, error)) = tokio::join!(rows, refuse);
    let expected = format!(
        "42809: \"{name}\" is a live query\n\
         HINT: It runs as its client takes its rows; CANCEL QUERY {name} ends it.\nAT: 1:13"
    );
    assert_eq!(error.text, expected);
}
