//! Questions about a real Kafka's topics.

use headwater::error::SqlState;
use headwater::source::{ANSWER_TIMEOUT, Cluster};
use headwater::types::{FetchMode, PartitionId};

use crate::support::broker::real_kafka;
use crate::support::topic::Topic;

fn topic(test: &str, partitions: u32) -> Option<Topic> {
    let servers = real_kafka()?;
    Some(Topic::create(&servers, test, partitions, FetchMode::Auto))
}

#[test]
fn offsets_are_found_by_time() {
    let Some(topic) = topic("times", 2) else {
        return;
    };
    topic.fill(0, 100);
    let cluster = Cluster::connect(&topic.connection).unwrap();
    let partitions = cluster.partitions(&topic.name, ANSWER_TIMEOUT).unwrap();
    assert_eq!(partitions, [PartitionId(0), PartitionId(1)]);
    let at = |time_ms| {
        cluster
            .offsets_for_time(&topic.name, &partitions, time_ms, ANSWER_TIMEOUT)
            .unwrap()
            .into_iter()
            .map(|(_, offset)| offset.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(at(i64::MIN), [0, 0]);
    assert_eq!(at(1050), [50, 0]);
    assert_eq!(at(1099), [99, 0]);
    assert_eq!(at(1100), [100, 0]);
}

#[test]
fn an_unknown_topic_names_its_neighbours_and_makes_no_topic() {
    let Some(topic) = topic("neighbour", 1) else {
        return;
    };
    let cluster = Cluster::connect(&topic.connection).unwrap();
    let wrong = format!("{}x", topic.name);
    let error = cluster.partitions(&wrong, ANSWER_TIMEOUT).unwrap_err();
    assert_eq!(error.state(), SqlState::UndefinedTable);
    assert_eq!(error.message(), format!("topic \"{wrong}\" does not exist"));
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains(&format!("\"{}\"", topic.name)),
        "{error:?}"
    );
    assert!(
        !cluster.topics(ANSWER_TIMEOUT).unwrap().contains(&wrong),
        "it was not made"
    );
    let error = cluster
        .partitions("not a name!", ANSWER_TIMEOUT)
        .unwrap_err();
    assert!(error.message().contains("not a name!"), "{error:?}");
}

#[test]
fn a_topic_is_made_once() {
    let Some(topic) = topic("twice", 2) else {
        return;
    };
    let cluster = Cluster::connect(&topic.connection).unwrap();
    assert!(
        !cluster.create_topic(&topic.name, 5, None).unwrap(),
        "it is there"
    );
    assert_eq!(
        cluster
            .partitions(&topic.name, ANSWER_TIMEOUT)
            .unwrap()
            .len(),
        2
    );
    let error = cluster.create_topic("bad/name", 1, None).unwrap_err();
    assert_eq!(error.state(), SqlState::InvalidParameterValue, "{error:?}");
}
