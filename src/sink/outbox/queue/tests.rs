//! An outbox on a disk and in memory: what is in it once, and what comes again.

use std::path::Path;
use std::time::Duration;

use super::{Outbox, Settled};
use crate::clock::SystemClock;
use crate::error::SqlState;
use crate::sink::outbox::message::{Item, Message, OutboxState, Refusal};
use crate::types::ProcessingTime;

fn open(dir: &Path, bytes_max: u64) -> Outbox {
    let place = dir.join("outbox").join("73.redb");
    Outbox::open(Some(place), "s", bytes_max, SystemClock::shared()).unwrap()
}

fn items(numbers: std::ops::Range<u32>) -> Vec<Item> {
    let item = |n: u32| Item {
        at: ProcessingTime(i64::from(n)),
        key: (n == 3).then(|| "own".to_owned()),
        rows: 1,
        payload: n.to_string().into_bytes(),
    };
    numbers.map(item).collect()
}

fn stage(outbox: &Outbox, numbers: std::ops::Range<u32>) {
    outbox.stage(items(numbers), &|| false).unwrap();
}

fn look(outbox: &Outbox) -> Vec<Message> {
    outbox.look(1_000, 0).unwrap().expect("it is open")
}

fn texts(outbox: &Outbox) -> Vec<String> {
    let text = |message: Message| String::from_utf8(message.payload).unwrap();
    look(outbox).into_iter().map(text).collect()
}

fn settle(outbox: &Outbox, messages: &[Message], refusal: Option<Refusal>) {
    let notes = Vec::new();
    let settled = Settled {
        messages,
        refusal,
        notes,
    };
    outbox.settle(&settled).unwrap();
}

#[test]
fn rows_are_there_with_their_epoch_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path(), u64::MAX);
    assert_eq!(outbox.committed(), None);
    stage(&outbox, 0..2);
    assert_eq!(outbox.state().waiting, 0);
    assert_eq!(outbox.backlog(), 2);
    outbox.commit(7, 42).unwrap();
    stage(&outbox, 2..4);
    drop(outbox);
    let outbox = open(dir.path(), u64::MAX);
    assert_eq!(outbox.committed(), Some((7, 42)));
    assert_eq!(texts(&outbox), ["0", "1"], "what was staged is gone");
    stage(&outbox, 2..4);
    outbox.commit(8, 43).unwrap();
    let all = look(&outbox);
    let places: Vec<(u64, u64)> = all.iter().map(|m| (m.epoch, m.row)).collect();
    assert_eq!(places, [(7, 0), (7, 1), (8, 0), (8, 1)]);
    assert!(all[0].key.ends_with("-7-0"), "{}", all[0].key);
    assert_eq!(all[3].key, "own");
    let keys = |messages: &[Message]| -> Vec<String> {
        messages.iter().map(|message| message.key.clone()).collect()
    };
    let before = keys(&all);
    drop(outbox);
    assert_eq!(
        keys(&look(&open(dir.path(), u64::MAX))),
        before,
        "keys stay"
    );
}

#[test]
fn an_epoch_that_is_larger_than_the_memory_for_it_is_whole_or_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path(), u64::MAX);
    stage(&outbox, 0..1);
    outbox.commit(1, 1).unwrap();
    let large = Item {
        at: ProcessingTime(0),
        key: None,
        rows: 1,
        payload: vec![b'x'; 700_000],
    };
    for _ in 0..4 {
        outbox.stage(vec![large.clone()], &|| false).unwrap();
    }
    assert_eq!(look(&outbox).len(), 1, "it has not ended");
    // A settling that lasts makes what is there ahead last too.
    settle(&outbox, &look(&outbox), None);
    drop(outbox);
    let outbox = open(dir.path(), u64::MAX);
    assert_eq!(outbox.state().waiting, 0);
    for _ in 0..4 {
        outbox.stage(vec![large.clone()], &|| false).unwrap();
    }
    outbox.commit(2, 1).unwrap();
    let all = look(&outbox);
    assert_eq!(all.len(), 4);
    assert_eq!((all[3].epoch, all[3].row), (2, 3));
    assert_eq!(outbox.state().waiting_bytes, 4 * (700_000 + 64));
}

#[test]
fn what_was_decided_lasts_until_it_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path(), u64::MAX);
    let several: Vec<Item> = items(0..4)
        .into_iter()
        .map(|item| Item { rows: 10, ..item })
        .collect();
    outbox.stage(several, &|| false).unwrap();
    outbox.commit(1, 1).unwrap();
    assert_eq!(outbox.state().waiting, 40);
    let wait = Some(Duration::ZERO);
    let news = outbox.news(1, wait, 0).unwrap().expect("it is open");
    let numbers: Vec<u64> = news.heads.iter().map(|head| head.number).collect();
    assert_eq!((numbers, news.end), (vec![1, 2, 3], 4));
    assert_eq!(
        (news.heads[2].key.as_str(), news.heads[2].bytes),
        ("own", 1)
    );
    let news = outbox.news(4, wait, 0).unwrap().expect("it is open");
    assert_eq!((news.heads.len(), news.is_full), (0, false));
    outbox.decide("next", "1 to 2").unwrap();
    drop(outbox);
    let outbox = open(dir.path(), u64::MAX);
    assert_eq!(outbox.note("next").unwrap().as_deref(), Some("1 to 2"));
    assert_eq!(outbox.payload(1).unwrap().as_deref(), Some(&b"1"[..]));
    outbox.done("next", &[1, 2]).unwrap();
    drop(outbox);
    let outbox = open(dir.path(), u64::MAX);
    assert_eq!(outbox.note("next").unwrap(), None);
    assert_eq!(outbox.payload(1).unwrap(), None);
    assert_eq!(
        (texts(&outbox), outbox.state().waiting),
        (vec!["0".to_owned(), "3".to_owned()], 20)
    );
}

#[test]
fn what_was_settled_is_gone_and_what_was_refused_is_kept_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path(), u64::MAX);
    stage(&outbox, 0..4);
    outbox.commit(1, 1).unwrap();
    let all = look(&outbox);
    settle(&outbox, &all[1..2], None);
    let refusal = Refusal {
        status: Some(422),
        attempts: 3,
        reason: "no".to_owned(),
    };
    settle(&outbox, &all[0..1], Some(refusal));
    assert_eq!(texts(&outbox), ["2", "3"]);
    settle(&outbox, &all, None);
    let state = outbox.state();
    assert_eq!(
        (state.waiting, state.waiting_bytes, state.oldest_at),
        (0, 0, None)
    );
    drop(outbox);
    let outbox = open(dir.path(), u64::MAX);
    assert_eq!((outbox.state().waiting, outbox.state().dead), (0, 1));
    let letters = outbox.dead_letters().unwrap();
    assert_eq!(letters[0].message, all[0]);
    assert_eq!((letters[0].status, letters[0].attempts), (Some(422), 3));
    assert_eq!(outbox.committed(), Some((1, 1)));
}

#[test]
fn who_stages_waits_while_the_outbox_is_full_until_there_is_room_or_it_is_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path(), 100);
    stage(&outbox, 0..10);
    stage(&outbox, 10..20);
    outbox.commit(1, 1).unwrap();
    let error = outbox.stage(items(20..21), &|| true).unwrap_err();
    assert_eq!(error.state(), SqlState::QueryCanceled, "{error}");
    assert_eq!(outbox.state().full_since, None, "nobody waits any more");
    std::thread::scope(|scope| {
        let staged = scope.spawn(|| outbox.stage(items(20..21), &|| false).is_ok());
        assert!(outbox.pause(Duration::from_millis(50), 0), "it is open");
        assert!(!staged.is_finished(), "there is no room");
        outbox.note_retry("it is down");
        check_stuck(&outbox.state());
        settle(&outbox, &look(&outbox), None);
        assert!(staged.join().unwrap(), "there is room");
    });
    outbox.close();
    assert!(outbox.look(1, 0).unwrap().is_none());
}

/// Somebody waits for room in vain, which shows when that has taken long enough.
fn check_stuck(state: &OutboxState) {
    let since = state.full_since.expect("somebody waits for room");
    let later = ProcessingTime(since.0 + 3_000_000);
    assert!(state.is_stuck(later, Duration::from_secs(3)), "{state:?}");
    assert!(!state.is_stuck(later, Duration::from_secs(4)), "{state:?}");
    let taken = OutboxState {
        is_failing: false,
        ..state.clone()
    };
    assert!(
        !taken.is_stuck(later, Duration::ZERO),
        "a slow one is waited for"
    );
}

#[test]
fn an_epoch_that_fills_the_outbox_alone_has_no_room_left_until_it_ends() {
    let outbox = Outbox::open(None, "s", 200, SystemClock::shared()).unwrap();
    assert_eq!(outbox.room(), Some(200));
    stage(&outbox, 0..2);
    assert_eq!(outbox.room(), Some(70));
    stage(&outbox, 4..8);
    assert_eq!(outbox.room(), Some(0), "only its end makes room");
    outbox.commit(1, 1).unwrap();
    assert_eq!(outbox.room(), None, "what waits leaves by itself");
    outbox.note_retry("it is down");
    assert!(outbox.state().is_failing, "the last attempt failed");
    settle(&outbox, &look(&outbox), None);
    assert!(!outbox.state().is_failing, "it has taken some");
    assert_eq!(outbox.room(), Some(200));
}

#[test]
fn notes_are_kept_until_they_are_forgotten() {
    let outbox = Outbox::open(None, "s", u64::MAX, SystemClock::shared()).unwrap();
    let note = |text: Option<&str>| {
        let settled = Settled {
            messages: &[],
            refusal: None,
            notes: vec![("thread".to_owned(), text.map(str::to_owned))],
        };
        outbox.settle(&settled).unwrap();
        outbox.note("thread").unwrap()
    };
    assert_eq!(note(Some("1.5")).as_deref(), Some("1.5"));
    assert_eq!(note(Some("1.6")).as_deref(), Some("1.6"));
    assert_eq!(note(None), None);
}

#[test]
fn two_outboxes_of_one_name_give_no_key_twice() {
    let key = || {
        let outbox = Outbox::open(None, "s", u64::MAX, SystemClock::shared()).unwrap();
        stage(&outbox, 0..1);
        outbox.commit(1, 1).unwrap();
        look(&outbox)[0].key.clone()
    };
    assert_ne!(key(), key());
}
