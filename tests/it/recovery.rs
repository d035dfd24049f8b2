//! Crashes of the server and of the broker: what is there afterwards, and what goes on by itself.
//!
//! The broker here is the embedded one; `kafka.rs` does the same to a real Apache Kafka.

use crate::support::broker::Broker;
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;

const CLICKS: &str = "CREATE TABLE clicks (who text, at timestamp, WATERMARK FOR at AS at) \
    WITH (connector = 'kafka', topic = 'clicks', format = 'json', idle_timeout = 'off')";

fn click(who: &str, at: &str) -> Record {
    Record::of(format!(r#"{{"who":"{who}","at":"2026-01-01T{at}"}}"#))
}

async fn stage() -> (Broker, Cluster, Server) {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("clicks", 1).await;
    let server = Server::start(&broker.bootstrap());
    (broker, cluster, server)
}

#[tokio::test]
async fn definitions_survive_kill_9_and_the_views_go_on() {
    let (_broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    client.run(CLICKS).await;
    client
        .run("CREATE VIEW ann AS SELECT * FROM clicks WHERE who = 'ann'")
        .await;
    client
        .run(
            "CREATE MATERIALIZED VIEW per_minute AS SELECT window_start, count(*) AS n \
             FROM TUMBLE(clicks, at, INTERVAL '1 minute') GROUP BY window_start",
        )
        .await;
    let shown = client.value("SHOW CREATE TABLE clicks").await;
    cluster.produce(
        "clicks",
        &[click("ann", "00:00:10"), click("bob", "00:01:00")],
    );
    client.run("FLUSH").await;

    server.crash_and_start_again();
    let client = server.connect().await;
    assert_eq!(client.value("SHOW CREATE TABLE clicks").await, shown);
    assert_eq!(client.value("SELECT count(*) FROM ann").await, "1");
    client.run("FLUSH").await;
    assert_eq!(client.value("SELECT n FROM per_minute").await, "1");
    cluster.produce("clicks", &[click("eve", "00:02:00")]);
    client.run("FLUSH").await;
    assert_eq!(client.value("SELECT sum(n) FROM per_minute").await, "2");

    client.run("DROP TABLE clicks CASCADE").await;
    server.crash_and_start_again();
    let client = server.connect().await;
    assert_eq!(client.error("SELECT * FROM clicks").await.state, "42P01");
}

#[tokio::test]
async fn a_live_query_goes_on_when_the_broker_was_killed_and_started_again() {
    let (mut broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    client.run(CLICKS).await;
    client.run("SET live_start = 'earliest'").await;
    cluster.produce("clicks", &[click("before", "00:00:10")]);

    let observer = server.connect().await;
    let query = async {
        client
            .rows("SELECT who FROM clicks EMIT CHANGES LIMIT 2")
            .await
    };
    let disturb = async {
        // The first row has been read: the query stands at the topic's end.
        crate::support::wait::until_async("first row out", async || {
            let out = "SELECT rows_out FROM headwater.queries WHERE state = 'running'";
            let rows = observer.rows(out).await;
            (rows == [[Some("1".to_owned())]]).then_some(())
        })
        .await;
        broker.kill();
        broker.start_again();
        cluster.produce("clicks", &[click("after", "00:00:20")]);
    };
    let (rows, ()) = tokio::join!(query, disturb);
    assert_eq!(
        rows,
        [[Some("before".to_owned())], [Some("after".to_owned())]]
    );
}

#[tokio::test]
async fn a_server_starts_while_its_broker_is_away_and_catches_up_when_it_comes() {
    let (mut broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    client.run(CLICKS).await;
    client
        .run("CREATE MATERIALIZED VIEW names AS SELECT who FROM clicks")
        .await;
    cluster.produce("clicks", &[click("ann", "00:00:10")]);
    client.run("FLUSH").await;

    broker.kill();
    server.crash_and_start_again();
    let client = server.connect().await;
    assert_eq!(
        client.value("SELECT count(*) FROM headwater.queries").await,
        "1"
    );
    broker.start_again();
    cluster.produce("clicks", &[click("bob", "00:00:20")]);
    client.run("FLUSH").await;
    assert_eq!(client.value("SELECT count(*) FROM names").await, "2");
}

#[tokio::test]
async fn sigterm_ends_the_server_cleanly() {
    let (_broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    client.run(CLICKS).await;
    cluster.produce("clicks", &[click("ann", "00:00:10")]);
    server.process().signal("TERM");
    let status = server
        .process()
        .ended_within(crate::support::wait::PATIENCE);
    let log = server.process().last_lines();
    assert!(
        status.is_some_and(|status| status.success()),
        "{status:?}\n{log}"
    );
    server.start_again();
    let client = server.connect().await;
    assert_eq!(client.value("SELECT who FROM clicks").await, "ann");
}

#[tokio::test]
async fn partitions_that_were_added_are_read_after_a_start() {
    let (_broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    client.run(CLICKS).await;
    let view = "CREATE MATERIALIZED VIEW per_minute AS SELECT window_start, count(*) AS n \
        FROM TUMBLE(clicks, at, INTERVAL '1 minute') GROUP BY window_start";
    client.run(view).await;
    cluster.produce("clicks", &[click("ann", "00:00:10")]);
    client.run("FLUSH").await;

    cluster.grow_topic("clicks", 2).await;
    let later = [
        click("bob", "00:00:20").in_partition(1),
        click("bob", "00:01:00").in_partition(1),
        click("ann", "00:01:00"),
    ];
    cluster.produce("clicks", &later);
    server.crash_and_start_again();
    let client = server.connect().await;
    client.run("FLUSH").await;
    assert_eq!(client.value("SELECT n FROM per_minute").await, "2");
    assert_eq!(client.value("SELECT count(*) FROM clicks").await, "4");
}

#[tokio::test]
async fn a_sink_of_many_groups_goes_on_after_kill_9() {
    const GROUPS: i64 = 70_000;
    let (_broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    client
        .run(
            "CREATE TABLE clicks (who text, at timestamp, WATERMARK FOR at AS at) \
             WITH (connector = 'kafka', topic = 'clicks', format = 'json')",
        )
        .await;
    client
        .run(
            "CREATE SINK totals WITH (connector = 'kafka', topic = 'totals', format = 'upsert', \
             key_columns = 'who', state_ttl = '1 hour') AS \
             SELECT who, count(*) AS n, count(DISTINCT at) AS times FROM clicks GROUP BY who EMIT CHANGES",
        )
        .await;
    let clicks: Vec<Record> = (0..GROUPS)
        .map(|who| click(&format!("user {who}"), "00:00:10"))
        .collect();
    cluster.produce("clicks", &clicks);
    client.run("FLUSH").await;

    server.crash_and_start_again();
    let client = server.connect().await;
    cluster.produce("clicks", &clicks);
    client.run("FLUSH").await;
    let mut newest = std::collections::BTreeMap::new();
    for record in cluster.read("totals") {
        newest.insert(record.key.clone(), record.text());
    }
    assert_eq!(newest.len(), clicks.len());
    let wrong = newest
        .values()
        .find(|value| !value.ends_with(r#""n":2,"times":1}"#));
    assert_eq!(wrong, None);
    let rows_in = "SELECT rows_in FROM headwater.queries WHERE name = 'totals'";
    assert_eq!(client.value(rows_in).await, (2 * GROUPS).to_string());
}

#[tokio::test]
async fn a_topic_that_was_made_anew_meanwhile_is_not_read_on() {
    let (_broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    client.run(CLICKS).await;
    client
        .run("CREATE MATERIALIZED VIEW names AS SELECT who FROM clicks")
        .await;
    cluster.produce("clicks", &[click("ann", "00:00:10")]);
    client.run("FLUSH").await;

    server.process().kill();
    cluster.delete_topic("clicks").await;
    cluster.create_topic("clicks", 1).await;
    // As many as were read, so that the offset alone tells nothing.
    let others = [click("bob", "00:00:20"), click("eve", "00:00:30")];
    cluster.produce("clicks", &others);
    server.start_again();
    let client = server.connect().await;
    let error = crate::support::wait::until_async("the query fails", async || {
        let failed = "SELECT last_error FROM headwater.queries WHERE state = 'failed'";
        client.rows(failed).await.pop()?.pop()?
    })
    .await;
    let expected = "topic \"clicks\" is not the one that was read";
    assert!(error.contains(expected), "{error}");
    assert_eq!(client.rows("SELECT who FROM names").await.len(), 1);

    client.run("DROP MATERIALIZED VIEW names").await;
    client
        .run("CREATE MATERIALIZED VIEW names AS SELECT who FROM clicks")
        .await;
    client.run("FLUSH").await;
    assert_eq!(client.rows("SELECT who FROM names").await.len(), 2);
}

/// What a query says of its lag and the time that it will take, in whole seconds.
async fn standing(client: &crate::support::client::Client) -> (u64, u64, Option<f64>) {
    let sql = "SELECT rows_in, lag, extract(epoch FROM catch_up_eta) FROM headwater.queries";
    let rows = client.rows(sql).await;
    let number = |text: &Option<String>| text.as_ref().expect("it is told").parse();
    let [rows_in, lag, eta] = &rows[0][..] else {
        panic!("three columns: {rows:?}")
    };
    (
        number(rows_in).expect("a number"),
        number(lag).expect("a number"),
        eta.as_ref().map(|eta| eta.parse().expect("a number")),
    )
}

#[tokio::test]
async fn a_query_that_falls_behind_says_how_far_it_is_and_how_long_it_will_take() {
    let (_broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    let clicks: Vec<Record> = (0..200).map(|_| click("ann", "00:00:10")).collect();
    cluster.produce("clicks", &clicks);
    client
        .run(&CLICKS.replace("idle_timeout = 'off'", "max_rows_per_second = 40"))
        .await;
    client
        .run("CREATE MATERIALIZED VIEW seen AS SELECT who FROM clicks")
        .await;
    let (rows_in, lag, eta) = crate::support::wait::until_async("an estimate", async || {
        let (rows_in, lag, eta) = standing(&client).await;
        (rows_in > 0 && lag > 0).then_some((rows_in, lag, eta?))
    })
    .await;
    assert_eq!(
        rows_in + lag,
        200,
        "what is not read is what it lags behind"
    );
    assert!(eta > 0.0, "{eta}");
    client.run("FLUSH").await;
    assert_eq!(standing(&client).await, (200, 0, Some(0.0)));
}

#[tokio::test]
async fn a_query_whose_broker_is_away_says_since_when_and_what_it_does() {
    let (mut broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    client.run(CLICKS).await;
    client
        .run("CREATE MATERIALIZED VIEW seen AS SELECT who FROM clicks")
        .await;
    cluster.produce("clicks", &[click("ann", "00:00:10")]);
    client.run("FLUSH").await;
    broker.kill();
    let explanation = "SELECT explanation FROM headwater.queries";
    let told = crate::support::wait::until_async("the trouble to be told", async || {
        let told = client.value(explanation).await;
        told.contains("does not answer since 2").then_some(told)
    })
    .await;
    assert!(told.contains("The query keeps asking"), "{told}");
    broker.start_again();
    cluster.produce("clicks", &[click("bob", "00:00:11")]);
    client.run("FLUSH").await;
    let told = client.value(explanation).await;
    assert!(!told.contains("does not answer"), "{told}");
    assert_eq!(client.value("SELECT count(*) FROM seen").await, "2");
}
