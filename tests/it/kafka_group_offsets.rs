//! The consumer group of a table: what the usual tools see of how far a query has read.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use headwater::source::GroupOffsets;
use headwater::types::{KafkaConnection, Offset, PartitionId};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::support::broker::{Broker, real_kafka};
use crate::support::messages::Cluster;
use crate::support::wait;

fn connection(bootstrap: &str) -> KafkaConnection {
    KafkaConnection {
        bootstrap_servers: bootstrap.to_owned(),
        properties: BTreeMap::new(),
    }
}

fn offsets<const N: usize>(next: [i64; N]) -> BTreeMap<PartitionId, Offset> {
    (0..).map(PartitionId).zip(next.map(Offset)).collect()
}

/// What the group holds of the topic's two partitions.
fn committed(consumer: &BaseConsumer, topic: &str) -> [Option<i64>; 2] {
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition(topic, 0);
    wanted.add_partition(topic, 1);
    let found = consumer.committed_offsets(wanted, wait::PATIENCE).unwrap();
    [0, 1].map(|partition| {
        let found = found.find_partition(topic, partition).unwrap();
        found.offset().to_raw().filter(|offset| *offset >= 0)
    })
}

async fn check(bootstrap: &str) {
    let topic = format!("lag-{}", uuid::Uuid::new_v4());
    Cluster::at(bootstrap).create_topic(&topic, 2).await;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", &topic)
        .create()
        .unwrap();
    let mut group = GroupOffsets::open(&connection(bootstrap), &topic, &topic).unwrap();
    assert_eq!(committed(&consumer, &topic), [None, None], "it is new");
    group.commit(offsets([3, 0]));
    wait::until("first offsets", || {
        group.tick();
        (committed(&consumer, &topic) == [Some(3), Some(0)]).then_some(())
    });
    // More often than once a second they wait, and the last are told in the end.
    for step in 4..=100 {
        group.commit(offsets([step, 1]));
    }
    wait::until("last offsets", || {
        group.tick();
        (committed(&consumer, &topic) == [Some(100), Some(1)]).then_some(())
    });
    group.commit(offsets([101, 2]));
    drop(group);
    wait::until("the offsets of an end", || {
        (committed(&consumer, &topic) == [Some(101), Some(2)]).then_some(())
    });
}

#[tokio::test]
async fn a_group_hears_how_far_a_topic_was_read() {
    check(&Broker::start().bootstrap()).await;
    if let Some(bootstrap) = real_kafka() {
        check(&bootstrap).await;
    }
}

#[test]
fn a_broker_that_is_not_there_is_not_waited_for() {
    let start = Instant::now();
    let mut group = GroupOffsets::open(&connection("127.0.0.1:1"), "t", "g").unwrap();
    for step in 0..100 {
        group.commit(offsets([step]));
    }
    drop(group);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}
