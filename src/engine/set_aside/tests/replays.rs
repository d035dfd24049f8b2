//! A replay is taken once by each query that has met its messages, whatever happens in between.

use super::{SetAside, letter, offsets, open};
use crate::engine::set_aside::{Again, Outcome, ToTopic};
use crate::types::{Offset, PartitionId, ProcessingTime};

/// A query that has met these messages of table `t`.
fn met(kept: &SetAside, query: &str, all: &[i64]) {
    for offset in all {
        kept.dead(letter("t", *offset), Some((query, 0)), ToTopic::Never);
    }
}

/// Runs messages again, all of which are rows now unless `still` says why not.
fn begin(kept: &SetAside, all: &[i64], still: Option<&str>) -> Vec<String> {
    let places: Vec<_> = all.iter().map(|o| (PartitionId(3), Offset(*o))).collect();
    let letters = kept.letters_at("t", &places).unwrap().into_iter();
    let again = letters.map(|(number, letter)| Again {
        number,
        letter,
        still: still.map(str::to_owned),
    });
    let again: Vec<Again> = again.collect();
    let begun = kept.begin_replay(&again, ProcessingTime(1)).unwrap();
    begun.queries.into_iter().collect()
}

/// What a query is given next: the replay's number and the offsets.
fn next(kept: &SetAside, query: &str, after: u64) -> Option<(u64, Vec<i64>)> {
    let (id, given) = kept.next_replay(query, after).unwrap()?;
    let offsets = given.iter().map(|given| given.letter.message.offset.0);
    Some((id, offsets.collect()))
}

/// The query takes its next replay and notes that the messages at `bad` were rejected again.
fn take(kept: &SetAside, query: &str, after: u64, bad: &[i64]) -> u64 {
    let (id, given) = kept.next_replay(query, after).unwrap().unwrap();
    let outcome = |offset: i64| bad.contains(&offset).then(|| "still bad".to_owned());
    let outcomes: Vec<Outcome> = given
        .iter()
        .map(|given| {
            (
                given.number,
                given.input,
                outcome(given.letter.message.offset.0),
            )
        })
        .collect();
    kept.note_replay(query, id, &outcomes).unwrap();
    id
}

fn reasons(kept: &SetAside) -> Vec<(i64, String)> {
    let letters = kept.dead_letters().unwrap().into_iter();
    letters
        .map(|letter| (letter.message.offset.0, letter.message.reason))
        .collect()
}

/// Where the query goes on, all of its messages lie before.
fn goes_on(kept: &SetAside, query: &str, taken: u64, next: i64) {
    let reads = |_, _: &str, _, offset: Offset| offset.0 >= next;
    kept.resume_query(query, taken, reads).unwrap();
}

#[test]
fn messages_leave_when_every_query_that_met_them_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let kept = open(dir.path());
    met(&kept, "q", &[1, 2]);
    met(&kept, "r", &[2]);
    kept.dead(letter("t", 3), None, ToTopic::Never);
    assert_eq!(begin(&kept, &[1, 2, 3], None), ["q", "r"]);
    assert_eq!(next(&kept, "q", 0).unwrap().1, [1, 2]);
    assert_eq!(next(&kept, "r", 0).unwrap().1, [2]);
    assert_eq!(next(&kept, "s", 0), None, "it has not met any");
    let id = take(&kept, "q", 0, &[1]);
    kept.replay_committed("q", id).unwrap();
    assert_eq!(offsets(&kept).len(), 3, "r has not");
    assert_eq!(next(&kept, "q", 0), None);
    take(&kept, "r", 0, &[]);
    kept.replay_committed("r", id).unwrap();
    assert_eq!(reasons(&kept), [(1, "still bad".to_owned())]);
    assert_eq!(begin(&kept, &[1], None), ["q"], "r has read it long ago");
    let again = take(&kept, "q", id, &[]);
    assert!(again > id);
    kept.replay_committed("q", again).unwrap();
    assert!(offsets(&kept).is_empty());
}

#[test]
fn without_a_query_the_table_s_columns_decide() {
    let dir = tempfile::tempdir().unwrap();
    let kept = open(dir.path());
    kept.dead(letter("t", 1), None, ToTopic::Never);
    assert!(begin(&kept, &[1], Some("another reason")).is_empty());
    assert_eq!(reasons(&kept), [(1, "another reason".to_owned())]);
    assert!(begin(&kept, &[1], None).is_empty());
    assert!(offsets(&kept).is_empty());
}

#[test]
fn a_crash_before_the_checkpoint_hands_them_out_again_and_one_after_it_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let kept = open(dir.path());
    met(&kept, "q", &[1]);
    begin(&kept, &[1], None);
    let id = take(&kept, "q", 0, &[]);
    drop(kept);
    let kept = open(dir.path());
    goes_on(&kept, "q", 0, 9);
    assert_eq!(take(&kept, "q", 0, &[]), id, "it is not in the checkpoint");
    drop(kept);
    let kept = open(dir.path());
    goes_on(&kept, "q", id, 9);
    assert_eq!(next(&kept, "q", 0), None);
    assert!(offsets(&kept).is_empty());
    assert!(kept.latest_replay() >= id, "numbers go on");
}

#[test]
fn what_a_query_reads_again_by_itself_it_is_not_given() {
    let dir = tempfile::tempdir().unwrap();
    let kept = open(dir.path());
    met(&kept, "q", &[1, 5]);
    begin(&kept, &[1, 5], None);
    // Its checkpoint is from before the second.
    goes_on(&kept, "q", 0, 5);
    assert_eq!(next(&kept, "q", 0).unwrap().1, [1]);
    goes_on(&kept, "q", 0, 1);
    assert_eq!(next(&kept, "q", 0), None);
    met(&kept, "q", &[5]);
    assert_eq!(begin(&kept, &[5], None), ["q"], "it has met it once more");
}

#[test]
fn what_is_under_way_is_not_given_a_second_time() {
    let dir = tempfile::tempdir().unwrap();
    let kept = open(dir.path());
    met(&kept, "q", &[1, 2]);
    begin(&kept, &[1], None);
    assert_eq!(begin(&kept, &[1, 2], None), ["q"], "it is waited for");
    let first = take(&kept, "q", 0, &[]);
    let (second, given) = next(&kept, "q", first).unwrap();
    assert_eq!(given, [2]);
    take(&kept, "q", first, &[]);
    kept.replay_committed("q", second).unwrap();
    assert!(offsets(&kept).is_empty());
}

#[test]
fn a_query_that_is_gone_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let kept = open(dir.path());
    met(&kept, "q", &[1]);
    met(&kept, "r", &[1]);
    begin(&kept, &[1], None);
    kept.forget_query("r").unwrap();
    let id = take(&kept, "q", 0, &[]);
    kept.replay_committed("q", id).unwrap();
    assert!(offsets(&kept).is_empty());
    drop(kept);
    assert_eq!(next(&open(dir.path()), "r", 0), None);
}
