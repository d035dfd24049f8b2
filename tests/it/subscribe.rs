//! Subscriptions from a driver: cancel, a client that reads nothing, the extended protocol, a view that is dropped.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio_postgres::NoTls;

use crate::support::broker::Broker;
use crate::support::client::Client;
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;
use crate::support::wait;

struct Stage {
    cluster: Cluster,
    server: Server,
    _broker: Broker,
}

async fn stage() -> (Stage, Client) {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("numbers", 1).await;
    let mut server = Server::start(&broker.bootstrap());
    let client = server.connect().await;
    for sql in [
        "CREATE TABLE numbers (n bigint, t text) WITH (connector = 'kafka', topic = 'numbers', format = 'json')",
        "CREATE MATERIALIZED VIEW v AS SELECT n, t FROM numbers WHERE n >= 0",
    ] {
        client.run(sql).await;
    }
    let _broker = broker;
    let stage = Stage {
        cluster,
        server,
        _broker,
    };
    (stage, client)
}

fn numbers(range: std::ops::Range<i64>, text: &str) -> Vec<Record> {
    range
        .map(|n| Record::of(format!(r#"{{"n":{n},"t":"{text}"}}"#)))
        .collect()
}

#[tokio::test]
async fn a_subscription_is_described_before_it_runs() {
    let (_stage, client) = stage().await;
    let statement = client
        .raw()
        .prepare("SUBSCRIBE TO v WITH (progress = true)")
        .await
        .expect("it is prepared");
    let columns: Vec<(&str, &str)> = statement
        .columns()
        .iter()
        .map(|column| (column.name(), column.type_().name()))
        .collect();
    assert_eq!(
        columns,
        [
            ("op", "text"),
            ("emitted_at", "timestamptz"),
            ("watermark", "timestamptz"),
            ("n", "int8"),
            ("t", "text"),
        ]
    );
}

#[tokio::test]
async fn rows_come_as_the_view_changes_and_in_their_order() {
    let (stage, client) = stage().await;
    stage.cluster.produce("numbers", &numbers(0..10, "a"));
    client.run("FLUSH").await;
    let rows = client
        .raw()
        .query_raw("SUBSCRIBE TO v", Vec::<i64>::new())
        .await;
    let mut rows = pin!(rows.expect("it starts"));
    for n in 0..30 {
        if n >= 10 {
            stage.cluster.produce("numbers", &numbers(n..n + 1, "a"));
        }
        let row = tokio::time::timeout(wait::PATIENCE, rows.next())
            .await
            .expect("a row in time")
            .expect("it goes on")
            .expect("no error");
        assert_eq!((row.get::<_, &str>(0), row.get::<_, i64>(2)), ("insert", n));
    }
}

#[tokio::test]
async fn cancel_ends_a_subscription_soon_and_the_connection_goes_on() {
    let (stage, client) = stage().await;
    stage.cluster.produce("numbers", &numbers(0..1, "a"));
    client.run("FLUSH").await;
    client.run("SET live_start = 'earliest'").await;
    for sql in ["SUBSCRIBE TO v", "SUBSCRIBE TO (SELECT n FROM numbers)"] {
        let rows = client.raw().query_raw(sql, Vec::<i64>::new()).await;
        let mut rows = pin!(rows.expect("it starts"));
        let first = rows.next().await.expect("a row").expect("no error");
        assert_eq!(first.get::<_, &str>(0), "insert");
        let error = cancelled(&client, rows.next(), sql).await;
        assert_eq!(error.expect_err("it is cancelled"), "57014", "{sql}");
    }
    let sql = "COPY (SUBSCRIBE TO v) TO STDOUT";
    let lines = client.raw().copy_out(sql).await.expect("it starts");
    let mut lines = pin!(lines);
    assert!(lines.next().await.is_some_and(|line| line.is_ok()));
    let error = cancelled(&client, lines.next(), sql).await;
    assert_eq!(error.expect_err("it is cancelled"), "57014", "{sql}");
    assert_eq!(client.value("SELECT 1").await, "1");
}

/// Cancels what the client does; gives the SQLSTATE of what comes then.
async fn cancelled<T>(
    client: &Client,
    next: impl Future<Output = Option<Result<T, tokio_postgres::Error>>>,
    sql: &str,
) -> Result<T, String> {
    let asked = Instant::now();
    let token = client.cancel_token();
    token.cancel_query(NoTls).await.expect("it is taken");
    let next = tokio::time::timeout(wait::PATIENCE, next).await;
    let took = asked.elapsed();
    // 100 ms are promised; a busy machine is given more.
    assert!(took < Duration::from_millis(400), "{sql} took {took:?}");
    let next = next.expect("in time").expect("an error before the end");
    next.map_err(|error| {
        error
            .code()
            .map_or_else(String::new, |c| c.code().to_owned())
    })
}

#[tokio::test]
async fn one_that_reads_nothing_is_cut_off_and_the_view_goes_on() {
    let (mut stage, client) = stage().await;
    let slow = stage.server.connect().await;
    let rows = slow
        .raw()
        .query_raw("SUBSCRIBE TO v", Vec::<i64>::new())
        .await;
    let mut rows = pin!(rows.expect("it starts"));
    // More than the sockets and the queue hold: 128 MiB in rows of 4 KiB.
    let text = "x".repeat(4_096);
    for part in 0..16 {
        let part = part * 2_000;
        stage
            .cluster
            .produce("numbers", &numbers(part..part + 2_000, &text));
        client.run("FLUSH").await;
    }
    assert_eq!(client.value("SELECT count(*) FROM v").await, "32000");
    let mut got = 0;
    let error = loop {
        match tokio::time::timeout(wait::PATIENCE, rows.next()).await {
            Ok(Some(Ok(_))) => got += 1,
            Ok(Some(Err(error))) => break error,
            Ok(None) => panic!("it ends without an error after {got} rows"),
            Err(_) => panic!("it hangs after {got} rows"),
        }
    };
    assert!(got < 32_000, "it should have fallen behind");
    let state = error.code().map(|state| state.code().to_owned());
    assert_eq!(state.as_deref(), Some("53400"), "{error}");
}

#[tokio::test]
async fn a_dropped_view_ends_its_subscriptions() {
    let (mut stage, client) = stage().await;
    stage.cluster.produce("numbers", &numbers(0..1, "a"));
    client.run("FLUSH").await;
    let other = stage.server.connect().await;
    let rows = client
        .raw()
        .query_raw("SUBSCRIBE TO v", Vec::<i64>::new())
        .await;
    let mut rows = pin!(rows.expect("it starts"));
    assert!(rows.next().await.is_some_and(|row| row.is_ok()));
    other.run("DROP MATERIALIZED VIEW v").await;
    let ended = tokio::time::timeout(wait::PATIENCE, rows.next()).await;
    let error = ended.expect("in time").expect("an error before the end");
    let state = error.err().and_then(|error| error.code().cloned());
    assert_eq!(state.expect("of the server").code(), "55000");
}
