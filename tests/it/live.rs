//! Live queries from a driver: rows as they are made, cancel, clients that go away, many at once.

use std::pin::pin;

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
    cluster.create_topic("numbers", 2).await;
    let mut server = Server::start(&broker.bootstrap());
    let client = server.connect().await;
    client
        .run("CREATE TABLE numbers (n bigint) WITH (connector = 'kafka', topic = 'numbers', format = 'json')")
        .await;
    (
        Stage {
            cluster,
            server,
            _broker: broker,
        },
        client,
    )
}

fn numbers(range: std::ops::Range<i64>) -> Vec<Record> {
    range
        .map(|n| Record::of(format!(r#"{{"n":{n}}}"#)).in_partition(i32::from(n % 2 == 1)))
        .collect()
}

/// Waits until as many queries run.
async fn running(client: &Client, count: &str) {
    wait::until_async(&format!("{count} running queries"), async || {
        let running = "SELECT count(*) FROM headwater.queries WHERE state = 'running'";
        (client.value(running).await == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_row_arrives_before_the_next_is_made() {
    let (mut stage, client) = stage().await;
    let observer = stage.server.connect().await;
    let rows = client
        .raw()
        .query_raw("SELECT n FROM numbers EMIT CHANGES", Vec::<i64>::new());
    let mut rows = pin!(rows.await.expect("it starts"));
    running(&observer, "1").await;
    for n in 0..20 {
        stage.cluster.produce("numbers", &numbers(n..n + 1));
        let row = tokio::time::timeout(wait::PATIENCE, rows.next())
            .await
            .expect("a row in time");
        assert_eq!(
            row.expect("it goes on").expect("no error").get::<_, i64>(0),
            n
        );
    }
}

#[tokio::test]
async fn a_live_query_begins_at_the_end_of_the_topic_unless_told_otherwise() {
    let (mut stage, client) = stage().await;
    stage.cluster.produce("numbers", &numbers(0..10));
    let observer = stage.server.connect().await;
    let query = async {
        client
            .rows("SELECT n FROM numbers EMIT CHANGES LIMIT 1")
            .await
    };
    let produce = async {
        running(&observer, "1").await;
        stage.cluster.produce("numbers", &numbers(10..11));
    };
    let (rows, ()) = tokio::join!(query, produce);
    assert_eq!(rows, [[Some("10".to_owned())]]);
}

#[tokio::test]
async fn cancel_ends_a_live_query_and_the_connection_goes_on() {
    let (mut stage, client) = stage().await;
    let observer = stage.server.connect().await;
    for sql in [
        "SELECT n FROM numbers EMIT CHANGES",
        "SELECT n FROM numbers WHERE n < 0 EMIT CHANGES",
        "COPY (SELECT n FROM numbers EMIT CHANGES) TO STDOUT",
    ] {
        let token = client.cancel_token();
        let cancel = async {
            running(&observer, "1").await;
            token
                .cancel_query(NoTls)
                .await
                .expect("the request is taken");
        };
        let (answer, ()) = tokio::join!(client.simple(sql), cancel);
        assert_eq!(answer.expect_err("it is cancelled").state, "57014", "{sql}");
        assert_eq!(
            client.value("SELECT 1").await,
            "1",
            "the connection goes on"
        );
        running(&observer, "0").await;
    }
}

#[tokio::test]
async fn statement_timeout_ends_a_live_query() {
    let (_stage, client) = stage().await;
    client.run("SET statement_timeout = '200ms'").await;
    assert_eq!(
        client
            .error("SELECT n FROM numbers EMIT CHANGES")
            .await
            .state,
        "57014"
    );
}

#[tokio::test]
async fn the_query_of_a_client_that_went_away_ends() {
    let (mut stage, client) = stage().await;
    let observer = stage.server.connect().await;
    let other = stage.server.connect().await;
    let gone = tokio::spawn(async move {
        other
            .simple("SELECT n FROM numbers WHERE n < 0 EMIT CHANGES")
            .await
    });
    running(&observer, "1").await;
    gone.abort();
    running(&observer, "0").await;
    assert_eq!(client.value("SELECT 1").await, "1");
}

#[tokio::test]
async fn one_client_that_reads_nothing_holds_up_nobody() {
    let (mut stage, client) = stage().await;
    client.run("SET live_start = 'earliest'").await;
    stage.cluster.produce("numbers", &numbers(0..50_000));
    let slow = stage.server.connect().await;
    slow.run("SET live_start = 'earliest'").await;
    let rows = slow
        .raw()
        .query_raw("SELECT n FROM numbers EMIT CHANGES", Vec::<i64>::new());
    let _unread = rows.await.expect("it starts");
    let rows = client
        .rows("SELECT n FROM numbers EMIT CHANGES LIMIT 50000")
        .await;
    assert_eq!(rows.len(), 50_000);
    assert_eq!(client.value("SELECT count(*) FROM numbers").await, "50000");
}

#[tokio::test]
async fn parameters_reach_a_live_query() {
    let (stage, client) = stage().await;
    client.run("SET live_start = 'earliest'").await;
    stage.cluster.produce("numbers", &numbers(0..10));
    let sql = "SELECT n FROM numbers WHERE n > $1 EMIT CHANGES LIMIT 2";
    let rows = client.raw().query(sql, &[&7_i64]).await.expect("it runs");
    let mut values: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    values.sort_unstable();
    assert_eq!(values, [8, 9]);
}
