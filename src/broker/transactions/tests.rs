//! Transactions across fencing, time-outs and starts after a crash.

use std::path::Path;

use super::*;
use crate::broker::batch::check_produced;
use crate::broker::batch::testing::{Spec, batch};
use crate::broker::config::BrokerConfig;
use crate::broker::journal::CommittedOffset;
use crate::broker::log::Marks;
use crate::broker::server::Server;

const OUTSIDE: Caller<'_> = Caller {
    member_id: "",
    instance: None,
    generation: -1,
};

fn open(dir: Option<&Path>) -> Server {
    let data_dir = dir.map(Path::to_owned);
    let server = Server::open(BrokerConfig {
        data_dir,
        ..BrokerConfig::default()
    })
    .unwrap();
    for topic in ["in", "out"] {
        let _there_already = server.topics.create(topic, Some(2), BTreeMap::new(), false);
    }
    server
}

fn init(server: &Server) -> Producer {
    server
        .transactions
        .init_producer(Some("tx"), 60_000, None)
        .unwrap()
}

fn produce(server: &Server, producer: Producer, sequence: i32) -> Result<i64, ResponseError> {
    let producer_fields = Some((producer.id, producer.epoch, sequence));
    let spec = Spec {
        producer: producer_fields,
        transactional: true,
        ..Spec::default()
    };
    let batch = batch(&spec);
    let header = check_produced(&batch).unwrap();
    let partition = server.topics.partition("out", 1).unwrap();
    let append = || partition.append(&header, &batch).map(|(offset, _)| offset);
    server
        .transactions
        .within(Some("tx"), producer, ("out", 1), append)
}

fn begin(server: &Server, producer: Producer) {
    let partitions = vec![("out".to_owned(), 1)];
    server
        .transactions
        .add_partitions("tx", producer, partitions)
        .unwrap();
}

fn add_offset(server: &Server, producer: Producer, offset: i64) {
    let committed = CommittedOffset {
        offset,
        leader_epoch: 0,
        metadata: None,
    };
    let offsets = vec![GroupOffset {
        topic: "in".to_owned(),
        partition: 0,
        committed,
    }];
    server
        .transactions
        .add_offsets("tx", producer, ("g", OUTSIDE), offsets)
        .unwrap();
}

fn marks(server: &Server) -> Marks {
    server.topics.partition("out", 1).unwrap().marks().unwrap()
}

/// What the group committed, and whether that is undecided.
fn committed(server: &Server) -> (Option<i64>, bool) {
    let fetched = server
        .groups
        .fetch("g", Some(vec![("in".to_owned(), vec![0])]));
    let offset = &fetched[0].1[0];
    (
        offset.committed.as_ref().map(|committed| committed.offset),
        offset.is_undecided,
    )
}

#[test]
fn records_and_offsets_become_visible_together() {
    for commit in [true, false] {
        let server = open(None);
        let producer = init(&server);
        begin(&server, producer);
        assert_eq!(produce(&server, producer, 0), Ok(0));
        add_offset(&server, producer, 7);
        assert_eq!(
            marks(&server),
            Marks {
                start: 0,
                last_stable: 0,
                end: 1
            }
        );
        assert_eq!(committed(&server), (None, true));
        server.transactions.end("tx", producer, commit).unwrap();
        assert_eq!(
            marks(&server),
            Marks {
                start: 0,
                last_stable: 2,
                end: 2
            }
        );
        assert_eq!(committed(&server), (commit.then_some(7), false));
        assert_eq!(
            server.transactions.end("tx", producer, commit),
            Ok(()),
            "asking again is fine"
        );
        let other = server.transactions.end("tx", producer, !commit);
        assert_eq!(other, Err(ResponseError::InvalidTxnState));
    }
}

#[test]
fn a_second_producer_fences_the_first_and_aborts_its_transaction() {
    let server = open(None);
    let first = init(&server);
    begin(&server, first);
    produce(&server, first, 0).unwrap();
    let second = init(&server);
    assert_eq!(second.id, first.id);
    assert!(second.epoch > first.epoch, "the epoch rises");
    assert_eq!(marks(&server).last_stable, 2, "nothing is open any more");
    assert_eq!(
        produce(&server, first, 1),
        Err(ResponseError::InvalidProducerEpoch)
    );
    let commit = server.transactions.end("tx", first, true);
    assert_eq!(commit, Err(ResponseError::ProducerFenced));
    let again = server
        .transactions
        .init_producer(Some("tx"), 60_000, Some(first));
    assert_eq!(again, Err(ResponseError::ProducerFenced));
    begin(&server, second);
    assert_eq!(produce(&server, second, 0), Ok(2));
}

#[test]
fn what_is_not_part_of_the_transaction_cannot_be_written() {
    let server = open(None);
    let producer = init(&server);
    assert_eq!(
        produce(&server, producer, 0),
        Err(ResponseError::InvalidTxnState)
    );
    let end = server.transactions.end("tx", producer, true);
    assert_eq!(
        end,
        Err(ResponseError::InvalidTxnState),
        "nothing was begun"
    );
    let other = vec![("out".to_owned(), 0)];
    server
        .transactions
        .add_partitions("tx", producer, other)
        .unwrap();
    assert_eq!(
        produce(&server, producer, 0),
        Err(ResponseError::InvalidTxnState)
    );
    let unknown = server.transactions.end("no such id", producer, true);
    assert_eq!(unknown, Err(ResponseError::InvalidProducerIdMapping));
}

#[test]
fn an_abandoned_transaction_is_aborted_when_its_time_is_up() {
    let server = open(None);
    let producer = init(&server);
    begin(&server, producer);
    produce(&server, producer, 0).unwrap();
    let now = clock::instant();
    server.transactions.tick(now + Duration::from_secs(59));
    assert_eq!(marks(&server).last_stable, 0, "it may still commit");
    server.transactions.tick(now + Duration::from_secs(61));
    assert_eq!(marks(&server).last_stable, 2);
    let commit = server.transactions.end("tx", producer, true);
    assert_eq!(commit, Err(ResponseError::ProducerFenced));
}

#[test]
fn an_open_transaction_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = open(Some(dir.path()));
    let producer = init(&server);
    begin(&server, producer);
    produce(&server, producer, 0).unwrap();
    add_offset(&server, producer, 7);
    drop(server);
    let server = open(Some(dir.path()));
    assert_eq!(
        (marks(&server).last_stable, committed(&server)),
        (0, (None, true))
    );
    assert_eq!(produce(&server, producer, 0), Ok(0), "a batch sent again");
    assert_eq!(produce(&server, producer, 1), Ok(1));
    server.transactions.end("tx", producer, true).unwrap();
    drop(server);
    let server = open(Some(dir.path()));
    assert_eq!(
        (marks(&server).last_stable, committed(&server)),
        (3, (Some(7), false))
    );
    assert!(
        init(&server).epoch > producer.epoch,
        "epochs outlive a restart"
    );
}

#[test]
fn what_was_decided_before_a_crash_is_carried_out_at_the_start() {
    for commit in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let server = open(Some(dir.path()));
        let producer = init(&server);
        begin(&server, producer);
        produce(&server, producer, 0).unwrap();
        add_offset(&server, producer, 7);
        drop(server);
        let (journal, state) = Journal::open(dir.path()).unwrap();
        let mut transaction = state.transactions["tx"].clone();
        transaction.phase = Phase::Ending { commit };
        journal
            .append(Event::Transaction {
                id: "tx".to_owned(),
                transaction,
            })
            .unwrap();
        drop(journal);
        for _ in 0..2 {
            let server = open(Some(dir.path()));
            assert_eq!(
                marks(&server),
                Marks {
                    start: 0,
                    last_stable: 2,
                    end: 2
                }
            );
            assert_eq!(committed(&server), (commit.then_some(7), false));
            assert_eq!(
                server.transactions.end("tx", producer, commit),
                Ok(()),
                "as told before"
            );
        }
    }
}

#[test]
fn what_only_a_log_knows_of_is_aborted_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let server = open(Some(dir.path()));
    let producer = init(&server);
    begin(&server, producer);
    produce(&server, producer, 0).unwrap();
    drop(server);
    let (journal, state) = Journal::open(dir.path()).unwrap();
    let mut transaction = state.transactions["tx"].clone();
    transaction.phase = Phase::Empty;
    transaction.partitions.clear();
    journal
        .append(Event::Transaction {
            id: "tx".to_owned(),
            transaction,
        })
        .unwrap();
    drop(journal);
    assert_eq!(marks(&open(Some(dir.path()))).last_stable, 2);
}

#[test]
fn producer_ids_are_not_given_out_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let give = |server: &Server| server.transactions.init_producer(None, 0, None).unwrap().id;
    let server = open(Some(dir.path()));
    let given: Vec<i64> = (0..IDS_RESERVED + 5).map(|_| give(&server)).collect();
    assert!(
        given.windows(2).all(|pair| pair[0] < pair[1]),
        "each is new"
    );
    drop(server);
    assert!(
        give(&open(Some(dir.path()))) > *given.last().unwrap(),
        "and after a restart"
    );
}

#[test]
fn a_worn_out_epoch_makes_way_for_a_new_producer_id() {
    let server = open(None);
    let first = init(&server);
    let mut last = first;
    while last.id == first.id {
        last = init(&server);
    }
    assert_eq!(last.epoch, 0);
    begin(&server, last);
    assert_eq!(produce(&server, last, 0), Ok(0));
}
