//! What is kept, and that it is there again.

mod replays;

use std::path::Path;

use super::{SetAside, ToTopic};
use crate::engine::{DeadLetter, LateMessage, LateRecord, Rejection};
use crate::types::{EventTime, Offset, PartitionId, ProcessingTime, Watermark};

fn message(offset: i64, bytes: usize) -> Rejection {
    Rejection {
        partition: PartitionId(3),
        offset: Offset(offset),
        timestamp_ms: -1,
        key: None,
        payload: Some(vec![b'x'; bytes]),
        headers: Some(Vec::new()),
        reason: "no".to_owned(),
    }
}

fn letter(table: &str, offset: i64) -> DeadLetter {
    DeadLetter {
        table: table.to_owned(),
        topic: "clicks".to_owned(),
        message: message(offset, 10),
        at: ProcessingTime(5),
    }
}

fn late(query: &str, offset: i64) -> LateRecord {
    LateRecord {
        query: query.to_owned(),
        table: "t".to_owned(),
        late: LateMessage {
            message: message(offset, 10),
            event_time: EventTime(1),
            window: (EventTime(0), EventTime(2)),
            watermark: Watermark(EventTime(3)),
        },
        at: ProcessingTime(6),
    }
}

fn open(dir: &Path) -> SetAside {
    SetAside::open(Some(dir), 4, 4).unwrap()
}

/// Everything that is kept.
fn told(kept: &SetAside) -> String {
    let (dead, late) = (kept.dead_letters().unwrap(), kept.late_rows().unwrap());
    format!("{dead:?} {late:?}")
}

fn offsets(kept: &SetAside) -> Vec<(String, i64)> {
    let letters = kept.dead_letters().unwrap().into_iter();
    letters
        .map(|letter| (letter.table, letter.message.offset.0))
        .collect()
}

#[test]
fn what_lasts_is_there_again_as_it_was_and_the_rest_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let kept = open(dir.path());
    assert!(kept.dead(letter("t", 1), None, ToTopic::Never).is_some());
    assert!(kept.dead(letter("t", 0), None, ToTopic::Never).is_some());
    assert!(kept.late(late("q", 1), ToTopic::Never).is_some());
    assert!(
        kept.late(late("r", 1), ToTopic::Never).is_some(),
        "another query's"
    );
    let before = told(&kept);
    kept.persist().unwrap();
    assert_eq!(told(&kept), before, "wherever it is read from");
    assert!(kept.dead(letter("t", 2), None, ToTopic::Never).is_some());
    drop(kept);
    let kept = open(dir.path());
    assert_eq!(told(&kept), before);
    assert!(
        kept.dead(letter("t", 1), None, ToTopic::Never).is_none(),
        "it was met before"
    );
    assert!(kept.late(late("q", 1), ToTopic::Never).is_none());
    assert!(
        kept.dead(letter("t", 2), None, ToTopic::Never).is_some(),
        "it was not kept for good"
    );
}

#[test]
fn the_bounds_hold_on_the_disk_too() {
    let dir = tempfile::tempdir().unwrap();
    let kept = open(dir.path());
    for offset in 0..50 {
        kept.dead(letter("t", offset), None, ToTopic::Never);
        kept.persist().unwrap();
    }
    drop(kept);
    let kept = open(dir.path());
    let expected: Vec<(String, i64)> = (46..50).map(|offset| ("t".to_owned(), offset)).collect();
    assert_eq!(offsets(&kept), expected);
}

#[test]
fn a_million_broken_messages_leave_a_small_file() {
    let dir = tempfile::tempdir().unwrap();
    let kept = SetAside::open(Some(dir.path()), 1_000, 1_000).unwrap();
    for offset in 0..1_000_000 {
        kept.dead(letter("t", offset), None, ToTopic::Never);
        if offset % 50_000 == 0 {
            kept.persist().unwrap();
        }
    }
    kept.persist().unwrap();
    assert_eq!(offsets(&kept).len(), 1_000);
    let size = std::fs::metadata(dir.path().join("set_aside.redb"))
        .unwrap()
        .len();
    assert!(size < 4 << 20, "{size} bytes for a thousand small messages");
}

#[test]
fn a_table_that_is_gone_is_forgotten_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let kept = open(dir.path());
    kept.dead(letter("t", 1), None, ToTopic::Never);
    kept.persist().unwrap();
    kept.dead(letter("u", 1), None, ToTopic::Never);
    kept.late(late("q", 1), ToTopic::Never);
    kept.retain_tables(|table| table != "t").unwrap();
    drop(kept);
    let kept = open(dir.path());
    assert_eq!(offsets(&kept), [("u".to_owned(), 1)]);
    assert!(kept.late_rows().unwrap().is_empty());
}

#[test]
fn without_a_data_directory_it_is_kept_in_memory() {
    let kept = SetAside::open(None, 4, 4).unwrap();
    assert!(kept.dead(letter("t", 1), None, ToTopic::Never).is_some());
    kept.persist().unwrap();
    assert!(kept.dead(letter("t", 1), None, ToTopic::Never).is_none());
    assert_eq!(offsets(&kept), [("t".to_owned(), 1)]);
}
