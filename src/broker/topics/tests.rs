//! Topics from their creation to their end, and across restarts.

use super::*;
use crate::broker::log::{Isolation, LogLimits};
use crate::broker::server::Server;

fn open(dir: &Path) -> Server {
    let data_dir = Some(dir.to_owned());
    Server::open(BrokerConfig {
        data_dir,
        partitions_max: 10,
        ..BrokerConfig::default()
    })
    .unwrap()
}

fn create(server: &Server, name: &str, partitions: i32) -> Result<i32, ResponseError> {
    let created = server
        .topics
        .create(name, Some(partitions), BTreeMap::new(), false);
    created.map_err(|refusal| refusal.code)
}

fn names(server: &Server) -> Vec<String> {
    server
        .topics
        .all()
        .iter()
        .map(|topic| topic.name().to_owned())
        .collect()
}

#[test]
fn topics_partitions_and_settings_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = open(dir.path());
    create(&server, "b", 1).unwrap();
    let configs = BTreeMap::from([("retention.bytes".to_owned(), "800000".to_owned())]);
    server.topics.create("a", Some(2), configs, false).unwrap();
    server
        .topics
        .create("validated", Some(2), BTreeMap::new(), true)
        .unwrap();
    server.topics.add_partitions("a", 3, false).unwrap();
    let change = |value: Option<&str>| {
        let changes = BTreeMap::from([("retention.ms".to_owned(), value.map(str::to_owned))]);
        server.topics.configure("a", changes, false, false).unwrap();
    };
    change(Some("1000"));
    change(None);
    change(Some("2000"));
    drop(server);
    let server = open(dir.path());
    assert_eq!(names(&server), ["a", "b"]);
    let topic = server.topics.get("a").unwrap();
    assert_eq!(topic.partition_count(), 3);
    let limits = LogLimits {
        retention_bytes: Some(800_000),
        retention_ms: Some(2_000),
        segment_bytes: 100_000,
    };
    assert_eq!(topic.config().limits(&server.config), limits);
}

#[test]
fn a_deleted_topic_is_gone_with_its_files_and_can_be_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = open(dir.path());
    create(&server, "t", 1).unwrap();
    let old = server.topics.partition("t", 0).unwrap();
    server.topics.delete("t").unwrap();
    assert_eq!(old.marks(), Err(ResponseError::UnknownTopicOrPartition));
    let refusal = server.topics.delete("t").unwrap_err();
    assert_eq!(refusal.code, ResponseError::UnknownTopicOrPartition);
    create(&server, "t", 2).unwrap();
    assert_eq!(fs::read_dir(dir.path().join("topics")).unwrap().count(), 1);
    drop(server);
    fs::create_dir_all(dir.path().join("topics/99/0")).unwrap(); // A leftover.
    let server = open(dir.path());
    assert_eq!(server.topics.get("t").unwrap().partition_count(), 2);
    assert_eq!(fs::read_dir(dir.path().join("topics")).unwrap().count(), 1);
}

#[test]
fn impossible_topics_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = open(dir.path());
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a/b", "../../etc", "a b", "ä", &long] {
        assert_eq!(
            create(&server, name, 1),
            Err(ResponseError::InvalidTopicException),
            "{name}"
        );
    }
    for partitions in [0, -2, i32::MIN] {
        assert_eq!(
            create(&server, "t", partitions),
            Err(ResponseError::InvalidPartitions)
        );
    }
    assert_eq!(
        create(&server, "t", 11),
        Err(ResponseError::PolicyViolation)
    );
    assert_eq!(
        create(&server, "t", i32::MAX),
        Err(ResponseError::PolicyViolation)
    );
    assert_eq!(create(&server, "t", 9), Ok(9));
    assert_eq!(
        create(&server, "t", 1),
        Err(ResponseError::TopicAlreadyExists)
    );
    let code = |count| {
        server
            .topics
            .add_partitions("t", count, false)
            .unwrap_err()
            .code
    };
    assert_eq!(
        (code(9), code(1)),
        (
            ResponseError::InvalidPartitions,
            ResponseError::InvalidPartitions
        )
    );
    assert_eq!(code(11), ResponseError::PolicyViolation);
}

#[test]
fn deleted_records_stay_deleted_after_a_restart() {
    use crate::broker::batch::check_produced;
    use crate::broker::batch::testing::{Spec, batch};
    let dir = tempfile::tempdir().unwrap();
    let server = open(dir.path());
    create(&server, "t", 1).unwrap();
    let batch = batch(&Spec {
        timestamps: &[1, 2, 3, 4],
        ..Spec::default()
    });
    let partition = server.topics.partition("t", 0).unwrap();
    partition
        .append(&check_produced(&batch).unwrap(), &batch)
        .unwrap();
    assert_eq!(server.topics.delete_records("t", 0, Some(3)), Ok(3));
    let past = server.topics.delete_records("t", 0, Some(5));
    assert_eq!(past, Err(ResponseError::OffsetOutOfRange));
    drop((partition, server));
    let server = open(dir.path());
    let marks = server.topics.partition("t", 0).unwrap().marks().unwrap();
    assert_eq!(
        (marks.start, marks.limit(Isolation::ReadUncommitted)),
        (3, 4)
    );
    assert_eq!(server.topics.delete_records("t", 0, None), Ok(4));
}
