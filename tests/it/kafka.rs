//! The same as elsewhere against a real Apache Kafka, and what only a real one can show: SASL over TLS, transactions
//! that were aborted, a broker that is killed and comes back.
//!
//! Left out without `KAFKA_BOOTSTRAP`, except in CI. Invariant: each test has topics of its own.

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::broker::{RealKafka, real_kafka};
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;
use crate::support::wait;

/// A name that no earlier run used.
fn topic(name: &str) -> String {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{name}-{}", nanos.expect("it is after 1970").as_nanos())
}

fn click(who: &str, at: &str) -> Record {
    Record::of(format!(r#"{{"who":"{who}","at":"2026-01-01T{at}"}}"#))
}

fn create_clicks(topic: &str, more: &str) -> String {
    format!(
        "CREATE TABLE clicks (who text, at timestamp, WATERMARK FOR at AS at) \
         WITH (connector = 'kafka', topic = '{topic}', format = 'json', idle_timeout = 'off'{more})"
    )
}

#[tokio::test]
async fn a_topic_is_registered_read_watched_and_written() {
    let Some(bootstrap) = real_kafka() else {
        return;
    };
    let cluster = Cluster::at(&bootstrap);
    let (clicks, minutes) = (topic("clicks"), topic("minutes"));
    cluster.create_topic(&clicks, 3).await;
    let mut server = Server::start(&bootstrap);
    let client = server.connect().await;
    let misspelt = clicks.replace("clicks", "cliks");
    let error = client.error(&create_clicks(&misspelt, "")).await;
    assert!(
        error.state == "42P01" && error.text.contains(&clicks),
        "{error}"
    );
    client.run(&create_clicks(&clicks, "")).await;

    let times = ["00:00:10", "00:00:20", "00:01:00"];
    let per_partition = |p| times.map(|at| click("ann", at).in_partition(p));
    let records: Vec<Record> = (0..3).flat_map(per_partition).collect();
    cluster.produce(&clicks, &records);
    assert_eq!(client.value("SELECT count(*) FROM clicks").await, "9");

    client.run("SET live_start = 'earliest'").await;
    let windows = "SELECT window_start, count(*) AS n FROM TUMBLE(clicks, at, INTERVAL '1 minute') GROUP BY window_start";
    let live = client.rows(&format!("{windows} EMIT FINAL LIMIT 1")).await;
    assert_eq!(
        live,
        [[Some("2026-01-01 00:00:00".to_owned()), Some("6".to_owned())]]
    );

    client
        .run(&format!("CREATE MATERIALIZED VIEW per_minute AS {windows}"))
        .await;
    client
        .run(&format!(
            "CREATE SINK s WITH (connector = 'kafka', topic = '{minutes}') AS {windows}"
        ))
        .await;
    client.run("FLUSH").await;
    assert_eq!(client.value("SELECT n FROM per_minute").await, "6");
    let written: Vec<String> = cluster.read(&minutes).iter().map(Record::text).collect();
    assert_eq!(
        written,
        [r#"{"window_start":"2026-01-01T00:00:00Z","n":6}"#]
    );
}

#[tokio::test]
async fn messages_of_an_aborted_transaction_do_not_exist() {
    let Some(bootstrap) = real_kafka() else {
        return;
    };
    let cluster = Cluster::at(&bootstrap);
    let clicks = topic("aborted");
    cluster.create_topic(&clicks, 1).await;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .set("transactional.id", &clicks)
        .create()
        .expect("a producer");
    producer
        .init_transactions(wait::PATIENCE)
        .expect("the broker answers");
    for (who, commits) in [("yes", true), ("no", false), ("again", true)] {
        producer.begin_transaction().expect("none is open");
        let payload = click(who, "00:00:10").text();
        producer
            .send(BaseRecord::<(), str>::to(&clicks).payload(&payload))
            .expect("it is queued");
        producer.flush(wait::PATIENCE).expect("it is sent");
        if commits {
            producer
                .commit_transaction(wait::PATIENCE)
                .expect("it commits");
        } else {
            producer
                .abort_transaction(wait::PATIENCE)
                .expect("it aborts");
        }
    }
    let mut server = Server::start(&bootstrap);
    let client = server.connect().await;
    client.run(&create_clicks(&clicks, "")).await;
    client
        .run("CREATE MATERIALIZED VIEW names AS SELECT who FROM clicks")
        .await;
    client.run("FLUSH").await;
    let expected = [[Some("yes".to_owned())], [Some("again".to_owned())]];
    assert_eq!(client.rows("SELECT who FROM clicks").await, expected);
    assert_eq!(client.rows("SELECT who FROM names").await, expected);
}

#[tokio::test]
async fn a_live_query_goes_on_when_the_broker_was_killed_and_started_again() {
    if real_kafka().is_none() {
        return;
    }
    let kafka = RealKafka::start();
    let cluster = Cluster::at(kafka.bootstrap());
    cluster.create_topic("clicks", 1).await;
    cluster.produce("clicks", &[click("before", "00:00:10")]);
    let mut server = Server::start(kafka.bootstrap());
    let client = server.connect().await;
    client.run(&create_clicks("clicks", "")).await;
    client
        .run("CREATE MATERIALIZED VIEW names AS SELECT who FROM clicks")
        .await;
    client
        .run(
            "CREATE SINK copy WITH (connector = 'kafka', topic = 'copy') AS SELECT who FROM clicks",
        )
        .await;
    client.run("SET live_start = 'earliest'").await;
    let observer = server.connect().await;
    let query = async {
        client
            .rows("SELECT who FROM clicks EMIT CHANGES LIMIT 2")
            .await
    };
    let disturb = async {
        wait::until_async("first row out", async || {
            let out = "SELECT count(*) FROM headwater.queries WHERE rows_out = 1";
            (observer.value(out).await == "3").then_some(())
        })
        .await;
        kafka.kill();
        kafka.start_again();
        cluster.produce("clicks", &[click("after", "00:00:20")]);
    };
    let (rows, ()) = tokio::join!(query, disturb);
    assert_eq!(
        rows,
        [[Some("before".to_owned())], [Some("after".to_owned())]]
    );
    client.run("FLUSH").await;
    assert_eq!(client.value("SELECT count(*) FROM names").await, "2");
    let copied: Vec<String> = cluster.read("copy").iter().map(Record::text).collect();
    for who in ["before", "after"] {
        assert!(
            copied.contains(&format!(r#"{{"who":"{who}"}}"#)),
            "at least once: {copied:?}"
        );
    }
}

#[tokio::test]
async fn sasl_over_tls_reaches_the_broker() {
    if real_kafka().is_none() {
        return;
    }
    let kafka = RealKafka::start();
    let cluster = Cluster::at(kafka.bootstrap());
    cluster.create_topic("clicks", 1).await;
    cluster.produce("clicks", &[click("ann", "00:00:10")]);
    let (_, port) = kafka.bootstrap().rsplit_once(':').expect("host:port");
    let secure = format!("localhost:{}", port.parse::<u16>().expect("a port") + 2);
    let certificate = kafka.folder().join("ca.pem").display().to_string();
    let mut server = Server::start_with(&[]);
    let client = server.connect().await;
    let options = |mechanism: &str, password: &str| {
        format!(
            ", bootstrap_servers = '{secure}', kafka.security.protocol = 'SASL_SSL', \
             kafka.sasl.mechanism = '{mechanism}', kafka.sasl.username = 'headwater', \
             kafka.sasl.password = '{password}', kafka.ssl.ca.location = '{certificate}'"
        )
    };
    let error = client
        .error(&create_clicks("clicks", &options("PLAIN", "wrong")))
        .await;
    assert!(
        error.state.starts_with("08") || error.state.starts_with("28"),
        "{error}"
    );
    assert!(
        !error.text.contains("wrong"),
        "a password is never shown: {error}"
    );
    let ways = [
        ("PLAIN", "direct"),
        ("SCRAM-SHA-256", "direct"),
        ("PLAIN", "librdkafka"),
        ("SCRAM-SHA-256", "librdkafka"),
    ];
    for (mechanism, fetch) in ways {
        let options = options(mechanism, "headwater-secret") + &format!(", fetch = '{fetch}'");
        client.run(&create_clicks("clicks", &options)).await;
        assert_eq!(
            client.value("SELECT who FROM clicks").await,
            "ann",
            "{mechanism}"
        );
        let shown = client.value("SHOW CREATE TABLE clicks").await;
        assert!(
            !shown.contains("headwater-secret"),
            "a password is never shown: {shown}"
        );
        client.run("DROP TABLE clicks").await;
    }
}
