//! FLUSH while something outside does not answer: it waits, and says for what.

use std::cell::Cell;

use crate::support::broker::Broker;
use crate::support::client::Client;
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;
use crate::support::wait;

const NUMBERS: &str = "CREATE TABLE numbers (n int) WITH (topic = 'numbers')";

async fn stage() -> (Broker, Cluster, Server, Client) {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("numbers", 1).await;
    let mut server = Server::start(&broker.bootstrap());
    let client = server.connect().await;
    client.run(NUMBERS).await;
    (broker, cluster, server, client)
}

/// Runs FLUSH, which says this while it waits, and does `then` when it has.
async fn flush_says(client: &Client, text: &str, then: impl FnOnce()) -> bool {
    let has_ended = Cell::new(false);
    let flush = async {
        let answer = client.simple("FLUSH").await;
        has_ended.set(true);
        answer.is_ok()
    };
    let told = async {
        let mut all = Vec::new();
        wait::until_async("the warning", async || {
            all.extend(client.notices());
            let found = all.iter().any(|notice| notice.starts_with(text));
            (found || has_ended.get()).then_some(())
        })
        .await;
        assert!(!has_ended.get(), "it ended before it said so: {all:?}");
        then();
    };
    tokio::join!(flush, told).0
}

#[tokio::test]
async fn flush_says_that_a_broker_does_not_answer() {
    let (mut broker, _cluster, _server, client) = stage().await;
    client
        .run("CREATE MATERIALIZED VIEW total AS SELECT sum(n) AS n FROM numbers")
        .await;
    client.run("FLUSH").await;
    broker.kill();
    let text = "WARNING: FLUSH waits for query \"total\": its broker does not answer";
    flush_says(&client, text, || {}).await;
}

#[tokio::test]
async fn flush_says_that_a_sink_s_broker_does_not_answer_and_ends_when_it_does() {
    let (_broker, cluster, _server, client) = stage().await;
    let mut other = Broker::start();
    Cluster::at(other.bootstrap())
        .create_topic("copies", 1)
        .await;
    let sql = format!(
        "CREATE SINK copies WITH (connector = 'kafka', topic = 'copies', bootstrap_servers = '{}') \
         AS SELECT n FROM numbers",
        other.bootstrap()
    );
    client.run(&sql).await;
    client.run("FLUSH").await;
    other.kill();
    cluster.produce("numbers", &[Record::of(r#"{"n":1}"#)]);
    let text = "WARNING: FLUSH waits for query \"copies\": ";
    let is_done = flush_says(&client, text, || other.start_again()).await;
    assert!(is_done, "everything was taken in");
}
