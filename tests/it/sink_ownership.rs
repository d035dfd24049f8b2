//! Whose a sink is: one transactional id, one sink; one data directory, one server.

use std::time::Duration;

use crate::support::broker::Broker;
use crate::support::client::Client;
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;
use crate::support::wait;

const NUMBERS: &str = "CREATE TABLE numbers (n bigint) WITH (connector = 'kafka', topic = 'numbers', format = 'json')";

/// One id for the sinks of two servers.
const SHARED: &str = ", transactional_id = 'shared'";

/// A sink that copies the numbers, and ends an epoch when it is told to.
fn copy(create: &str, expression: &str, more: &str) -> String {
    format!(
        "{create} copied WITH (connector = 'kafka', topic = 'copied', delivery = 'exactly once', \
         checkpoint_interval = '10 minutes'{more}) AS SELECT {expression} AS n FROM numbers"
    )
}

async fn stage() -> (Broker, Cluster) {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("numbers", 1).await;
    (broker, cluster)
}

/// Two servers with a table of the numbers each.
async fn two_servers(broker: &Broker) -> ([Server; 2], [Client; 2]) {
    let mut servers = [(); 2].map(|()| Server::start(&broker.bootstrap()));
    let [first, second] = &mut servers;
    let clients = [first.connect().await, second.connect().await];
    for client in &clients {
        client.run(NUMBERS).await;
    }
    (servers, clients)
}

fn produce(cluster: &Cluster, number: usize) {
    cluster.produce("numbers", &[Record::of(format!(r#"{{"n":{number}}}"#))]);
}

fn copied(cluster: &Cluster) -> Vec<String> {
    cluster.read("copied").iter().map(Record::text).collect()
}

/// What the sink failed of.
async fn failure(client: &Client) -> String {
    wait::until_async("the sink to fail", async || {
        let failed = "SELECT last_error FROM headwater.queries WHERE state = 'failed'";
        client.rows(failed).await.first()?.first()?.clone()
    })
    .await
}

#[tokio::test]
async fn a_transactional_id_of_another_servers_sink_is_refused_until_that_one_is_dropped() {
    let (broker, cluster) = stage().await;
    let (_servers, [first, second]) = two_servers(&broker).await;
    produce(&cluster, 0);
    let create = copy("CREATE SINK", "n", SHARED);
    first.run(&create).await;
    first.run("FLUSH").await;

    let elsewhere = create.replace("topic = 'copied'", "topic = 'elsewhere'");
    for create in [&create, &elsewhere] {
        let refused = second.error(create).await;
        assert_eq!(refused.state, "55006", "{}", refused.text);
        let says = "the transactional id \"shared\" is in use";
        assert!(refused.text.contains(says), "{}", refused.text);
    }
    produce(&cluster, 1);
    first.run("FLUSH").await;
    assert_eq!(copied(&cluster), [r#"{"n":0}"#, r#"{"n":1}"#]);

    first.run("DROP SINK copied").await;
    second.run(&create).await;
    second.run("FLUSH").await;
    assert_eq!(copied(&cluster).len(), 4, "it began anew");
}

#[tokio::test]
async fn a_sink_whose_id_was_taken_by_force_says_so_and_writes_no_more() {
    let (broker, cluster) = stage().await;
    let (_servers, [first, second]) = two_servers(&broker).await;
    produce(&cluster, 0);
    let create = copy("CREATE SINK", "n", SHARED);
    for client in [&first, &second] {
        client.run(&create).await;
        client.run("FLUSH").await;
        cluster.delete_group("shared").await;
    }
    produce(&cluster, 1);
    first.run("FLUSH").await;
    let error = failure(&first).await;
    assert!(error.contains("another process has taken over"), "{error}");
    second.run("FLUSH").await;
    let state = "SELECT state FROM headwater.queries";
    assert_eq!(second.value(state).await, "running");
    let rows = copied(&cluster);
    assert_eq!(rows, [r#"{"n":0}"#, r#"{"n":0}"#, r#"{"n":1}"#]);

    // Who lost it does not take it away from who has it.
    first.run("DROP SINK copied").await;
    let told = first.notices().join("\n");
    assert!(told.contains("consumer group \"shared\""), "{told}");
    produce(&cluster, 2);
    second.run("FLUSH").await;
    assert_eq!(second.value(state).await, "running");
    assert_eq!(copied(&cluster).len(), 4);
}

#[tokio::test]
async fn a_transactional_id_is_refused_although_its_sink_has_not_ended_an_epoch() {
    let (broker, _cluster) = stage().await;
    let (_servers, [first, second]) = two_servers(&broker).await;
    let create = copy("CREATE SINK", "n", SHARED);
    first.run(&create).await;
    wait::until_async("the first sink", async || {
        let sql = "SELECT state FROM headwater.queries";
        (first.value(sql).await == "running").then_some(())
    })
    .await;
    let refused = wait::until_async("a refusal", async || {
        let refused = second.simple(&create).await.err();
        if refused.is_none() {
            second.run("DROP SINK copied").await;
        }
        refused
    })
    .await;
    assert_eq!(refused.state, "55006", "{}", refused.text);
}

#[tokio::test]
async fn a_replaced_sink_goes_on_after_a_crash_before_its_first_epoch() {
    let (broker, cluster) = stage().await;
    let mut server = Server::start(&broker.bootstrap());
    let client = server.connect().await;
    client.run(NUMBERS).await;
    client.run(&copy("CREATE SINK", "n", "")).await;
    produce(&cluster, 1);
    client.run("FLUSH").await;

    // The epoch that the outside keeps is of a process that is gone, and of another query.
    server.crash_and_start_again();
    let client = server.connect().await;
    client
        .run(&copy("CREATE OR REPLACE SINK", "n * 10", ""))
        .await;
    server.crash_and_start_again();
    let client = server.connect().await;
    produce(&cluster, 2);
    client.run("FLUSH").await;
    let state = "SELECT state FROM headwater.queries";
    assert_eq!(client.value(state).await, "running");
    assert_eq!(
        copied(&cluster),
        [r#"{"n":1}"#, r#"{"n":10}"#, r#"{"n":20}"#]
    );
}

#[tokio::test]
async fn an_epoch_that_a_copy_of_the_data_directory_has_committed_is_not_gone_on_from() {
    let (broker, cluster) = stage().await;
    let mut server = Server::start(&broker.bootstrap());
    let client = server.connect().await;
    client.run(NUMBERS).await;
    client.run(&copy("CREATE SINK", "n", "")).await;
    produce(&cluster, 0);
    client.run("FLUSH").await;
    server.process().kill();
    let mut other = Server::start_on_copy(&server);
    other.process().kill();

    // Dies with the next epoch's checkpoint written, and the epoch not committed.
    assert!(server.start_again_to_crash(2), "it serves");
    let client = server.connect().await;
    produce(&cluster, 1);
    client
        .simple("FLUSH")
        .await
        .expect_err("the server dies meanwhile");
    let ended = server.process().ended_within(Duration::from_secs(20));
    assert!(ended.is_some(), "it has died");
    assert_eq!(copied(&cluster), [r#"{"n":0}"#]);

    // The copy commits an epoch of the same number.
    other.start_again();
    let client = other.connect().await;
    client.run("FLUSH").await;
    other.process().kill();
    let both = [r#"{"n":0}"#, r#"{"n":1}"#];
    assert_eq!(copied(&cluster), both);

    server.start_again();
    let client = server.connect().await;
    let error = failure(&client).await;
    assert!(error.contains("was committed by another server"), "{error}");
    produce(&cluster, 2);
    assert_eq!(copied(&cluster), both, "nothing is written twice");
}
