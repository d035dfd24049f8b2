//! A query that holds more than its memory budget fails, and says which operator holds how much.

use tempfile::TempDir;

use crate::support::broker::Broker;
use crate::support::client::Client;
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;

/// A server with a limit, a table of clicks, and a sink with a group for each of 20,000 that come.
async fn counting(limit: &str, before: &str) -> (Server, Client, Broker, TempDir) {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("clicks", 1).await;
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("headwater.toml");
    std::fs::write(&file, format!("[limits]\n{limit}\n")).expect("it can be written");
    let file = file.display().to_string();
    let mut server = Server::start_with(&["--kafka", &broker.bootstrap(), "--config", &file]);
    let client = server.connect().await;
    client
        .run("CREATE TABLE clicks (who text, n int) WITH (topic = 'clicks')")
        .await;
    client.run(before).await;
    client
        .run(
            "CREATE SINK counts WITH (connector = 'kafka', topic = 'counts', format = 'upsert', \
             key_columns = 'who, n') AS SELECT who, n, count(*) AS many FROM clicks GROUP BY who, n",
        )
        .await;
    let clicks: Vec<Record> = (0..20_000)
        .map(|n| {
            Record::of(format!(
                r#"{{"who":"somebody with a long name {n}","n":{n}}}"#
            ))
        })
        .collect();
    cluster.produce("clicks", &clicks);
    client.run("FLUSH").await;
    (server, client, broker, folder)
}

#[tokio::test]
async fn over_the_budget_of_all_queries_the_one_that_holds_the_most_ends() {
    let small = "CREATE MATERIALIZED VIEW small AS SELECT count(*) AS many FROM clicks";
    let (_server, client, _broker, _folder) = counting("memory_bytes_max = 200000", small).await;
    let error = "SELECT last_error FROM headwater.queries WHERE name = 'counts'";
    let error = client.value(error).await;
    let says = "more than the budget of 200000, and query \"counts\" the most of it (It holds ";
    assert!(error.contains(says), "{error}");
    assert!(
        error.contains(" bytes in its aggregate by who, n."),
        "{error}"
    );
    let state = "SELECT state FROM headwater.queries WHERE name = 'small'";
    assert_eq!(client.value(state).await, "running");
    assert_eq!(client.value("SELECT many FROM small").await, "20000");
}

#[tokio::test]
async fn a_query_over_its_budget_names_its_operator_its_keys_and_its_groups() {
    let limit = "query_memory_bytes_max = 200000";
    let (_server, client, _broker, _folder) = counting(limit, "FLUSH").await;
    let error = "SELECT last_error FROM headwater.queries WHERE name = 'counts'";
    let error = client.value(error).await;
    assert!(error.starts_with("query \"counts\" holds "), "{error}");
    let says = " bytes in its aggregate by who, n, more than its budget of 200000 (It has ";
    assert!(error.contains(says), "{error}");
    let told = client.rows("EXPLAIN PROGRESS counts").await;
    let told = told[0][0].clone().unwrap_or_default();
    let hint = "use a window, set state_ttl so that old groups go, or raise \
                limits.query_memory_bytes_max.";
    assert!(
        told.starts_with("It has failed: ") && told.contains(hint),
        "{told}"
    );
}
