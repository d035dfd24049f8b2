//! The direct fetch meets what it does not read, after it has read some: librdkafka goes on at the same place, and it is
//! told who reads.
//!
//! No broker of today has messages from before Kafka 0.11, so a proxy makes them of what it passes on.

use std::collections::BTreeMap;
use std::ops::Range;

use headwater::source::{FetchedBy, Reader, WhyLibrary};
use headwater::types::{FetchMode, PartitionId};

use super::{numbers, read_to_end};
use crate::support::broker::{Broker, real_kafka};
use crate::support::proxy::{Answer, Fate, Proxy};
use crate::support::server::Server;
use crate::support::topic::Topic;
use crate::support::wait::PATIENCE;

const PARTITIONS: i32 = 8;
/// The partition that turns old, and from where on.
const OLD: (i32, i64) = (3, 200);

/// A proxy whose partition [`OLD`] has messages of an old format from an offset on.
fn old_messages(broker: &str) -> Proxy {
    Proxy::start(broker, |answer: &mut Answer| {
        let parts = answer.parts.iter_mut();
        parts
            .filter(|part| part.partition == OLD.0)
            .for_each(|part| part.make_old(OLD.1));
        Fate::Whole
    })
}

/// Reads on until each partition stands at that end.
fn read_on(reader: &mut Reader, end: i64) -> BTreeMap<i32, Vec<String>> {
    let mut payloads: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    let mut ends = BTreeMap::new();
    while !(0..PARTITIONS).all(|partition| ends.get(&partition) == Some(&end)) {
        let seen = read_to_end(reader, 1);
        for (partition, more) in seen.payloads {
            payloads.entry(partition).or_default().extend(more);
        }
        ends.extend(seen.ends);
    }
    payloads
}

fn fill(topic: &Topic, count: i64) {
    (0..PARTITIONS).for_each(|partition| topic.fill(partition, count));
}

fn check(topic: &Topic, fetch: FetchMode) {
    let proxy = old_messages(&topic.connection.bootstrap_servers);
    let proxied = topic.through(&proxy).read_by(fetch);
    let all: Vec<(i32, i64)> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    let expected = |range: Range<i64>| {
        let each = (0..PARTITIONS).map(|partition| (partition, numbers(range.clone())));
        each.collect::<BTreeMap<_, _>>()
    };
    let mut reader = proxied.open(&all);
    assert!(read_on(&mut reader, 200) == expected(0..200), "each once");
    let is_direct = reader.fetched_by() == FetchedBy::Direct;
    assert_eq!(is_direct, fetch == FetchMode::Auto, "until then");
    // The others' batches come in the same answer as the old messages.
    fill(topic, 300);
    assert!(read_on(&mut reader, 500) == expected(0..300), "each once");
    let why = match fetch {
        FetchMode::Librdkafka => WhyLibrary::Asked,
        FetchMode::Auto | FetchMode::Direct => WhyLibrary::OldFormat,
    };
    let by = FetchedBy::Librdkafka(why);
    assert_eq!(reader.fetched_by(), by, "from then on");
    let partitions = reader.partitions(PATIENCE);
    let partitions = partitions.expect("the broker answers");
    let all = (0..PARTITIONS).map(PartitionId);
    assert!(all.eq(partitions.iter().copied()), "{partitions:?}");
}

#[test]
fn reading_goes_on_at_the_same_place_when_the_library_takes_over() {
    let embedded = Broker::start();
    let servers = [Some(embedded.bootstrap()), real_kafka()];
    for servers in servers.into_iter().flatten() {
        for fetch in [FetchMode::Auto, FetchMode::Librdkafka] {
            let partitions = PARTITIONS.unsigned_abs();
            let topic = Topic::create(&servers, "changeover", partitions, fetch);
            fill(&topic, 200);
            check(&topic, fetch);
        }
    }
}

#[tokio::test]
async fn a_server_tells_that_the_library_has_taken_over_in_its_log_and_in_a_table() {
    let embedded = Broker::start();
    let servers = [Some(embedded.bootstrap()), real_kafka()];
    for servers in servers.into_iter().flatten() {
        let topic = Topic::create(&servers, "told", PARTITIONS.unsigned_abs(), FetchMode::Auto);
        fill(&topic, 200);
        let proxy = old_messages(&servers);
        let mut server = Server::start(&proxy.bootstrap());
        let client = server.connect().await;
        let name = &topic.name;
        client
            .run(&format!(
                "CREATE TABLE t (n int) WITH (connector = 'kafka', topic = '{name}', format = 'json')"
            ))
            .await;
        client
            .run("CREATE MATERIALIZED VIEW v AS SELECT n FROM t")
            .await;
        client.run("FLUSH").await;
        let who = "SELECT DISTINCT fetch, fetch_reason FROM headwater.partitions WHERE query = 'v'";
        let direct = [[Some("direct".to_owned()), None]];
        assert_eq!(client.rows(who).await, direct);
        let line = "librdkafka reads in place of the direct fetch";
        let log = server.process().output();
        assert!(!log.contains(line), "too early: {log}");

        fill(&topic, 100);
        client.run("FLUSH").await;
        let reason = WhyLibrary::OldFormat.to_string();
        // The query's other reader may have met none of them.
        let library = [Some("librdkafka".to_owned()), Some(reason.clone())];
        let fetched = client.rows(who).await;
        assert!(fetched.iter().any(|row| *row == library), "{fetched:?}");
        let counts = "SELECT count(*), sum(n) FROM v";
        let sum = 8 * (199 * 200 / 2 + 99 * 100 / 2);
        let expected = [[Some("2400".to_owned()), Some(sum.to_string())]];
        assert_eq!(client.rows(counts).await, expected, "each once");
        let log = server.process().output();
        let told = log.lines().filter(|told| told.contains(line));
        let told: Vec<&str> = told.collect();
        assert!(
            told.iter()
                .any(|told| told.contains(&reason) && told.contains(name)),
            "{log}"
        );
    }
}
