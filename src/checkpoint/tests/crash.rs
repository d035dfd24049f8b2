//! A crash between any two steps of a write: all of them are tried.

use super::assert_same;
use super::history::{Epoch, history};
use super::memory::Memory;
use crate::checkpoint::{CheckpointStore, Committed, Recovered, Written};
use crate::error::Result;

const EPOCHS: u64 = 14;

/// Writes a history until the place stops; gives how many checkpoints were written.
fn write_until_stopped(place: &Memory, history: &[Epoch]) -> usize {
    let mut store = CheckpointStore::new(Box::new(place.clone()));
    if store.recover(super::TEXT, Committed::Latest).is_err() {
        return 0;
    }
    // What could not be deleted any more: the crash came before the write had returned.
    let returns = |written: Result<Written>| written.is_ok_and(|w| w.left_over.is_empty());
    let mut epochs = history.iter();
    let stopped = epochs.position(|epoch| !returns(store.write(&epoch.checkpoint)));
    stopped.unwrap_or(history.len())
}

/// Stops after each number of steps that there is, and hands what is left to a check.
fn after_each_step(history: &[Epoch], check: impl Fn(&Memory, usize)) {
    for steps in 0.. {
        let place = Memory::announced();
        place.stop_after(Some(steps));
        let written = write_until_stopped(&place, history);
        place.stop_after(None);
        check(&place, written);
        if written == history.len() {
            assert!(steps > 100, "only {steps} steps were tried");
            return;
        }
    }
}

#[test]
fn after_a_crash_the_checkpoint_before_or_the_new_one_is_there() {
    let history = history(7, EPOCHS);
    after_each_step(&history, |place, written| {
        let mut store = CheckpointStore::new(Box::new(place.clone()));
        let recovered = store.recover(super::TEXT, Committed::Latest).unwrap();
        let next = match recovered {
            None => {
                assert_eq!(written, 0, "a checkpoint was lost");
                0
            }
            Some(recovered) => {
                assert_eq!(recovered.refused, [] as [String; 0]);
                let epoch = usize::try_from(recovered.checkpoint.epoch).unwrap();
                let possible = [written.checked_sub(1), Some(written)];
                assert!(possible.contains(&Some(epoch)), "{epoch} after {written}");
                assert_same(
                    &recovered.checkpoint,
                    epoch as u64,
                    &history[epoch].contents,
                );
                epoch + 1
            }
        };
        goes_on(place, store, &history[next..]);
    });
}

#[test]
fn after_a_crash_the_epoch_that_the_sink_has_committed_is_there() {
    let history = history(11, EPOCHS);
    after_each_step(&history, |place, written| {
        // The sink commits what was written; the crash comes before the next one is.
        let committed = written.checked_sub(1);
        let mut store = CheckpointStore::new(Box::new(place.clone()));
        let said = Committed::Epoch(committed.map(|epoch| epoch as u64));
        let recovered = store.recover(super::TEXT, said).unwrap();
        match (recovered, committed) {
            (Some(recovered), Some(epoch)) => {
                assert_same(
                    &recovered.checkpoint,
                    epoch as u64,
                    &history[epoch].contents,
                );
                goes_on(place, store, &history[epoch + 1..]);
            }
            // Nothing was committed: epoch 0 is true, whether its checkpoint was begun or not.
            (Some(recovered), None) => {
                assert_same(&recovered.checkpoint, 0, &history[0].contents);
                goes_on(place, store, &history[1..]);
            }
            (None, None) => goes_on(place, store, &history),
            (None, Some(epoch)) => panic!("epoch {epoch} was lost"),
        }
    });
}

/// Writes the rest of a history, and finds its end and nothing that is not needed.
fn goes_on(place: &Memory, mut store: CheckpointStore, rest: &[Epoch]) {
    let Some(last) = rest.last() else { return };
    for epoch in rest {
        let written = store.write(&epoch.checkpoint).unwrap();
        assert_eq!(written.left_over, [] as [String; 0]);
    }
    let mut store = CheckpointStore::new(Box::new(place.clone()));
    let recovered = store
        .recover(super::TEXT, Committed::Latest)
        .unwrap()
        .unwrap();
    assert_same(&recovered.checkpoint, last.checkpoint.epoch, &last.contents);
    let manifests = place
        .objects()
        .into_keys()
        .filter(|name| name.ends_with(".json"));
    assert!(manifests.count() <= 2, "old manifests are left");
}

#[test]
fn a_write_that_failed_may_be_tried_again() {
    let history = history(13, EPOCHS);
    for steps in 0..20 {
        let place = Memory::announced();
        let mut store = CheckpointStore::new(Box::new(place.clone()));
        store.recover(super::TEXT, Committed::Latest).unwrap();
        let mut failures = 0;
        for epoch in &history {
            place.stop_after(Some(steps));
            while store.write(&epoch.checkpoint).is_err() {
                failures += 1;
                place.stop_after(None);
            }
            place.stop_after(None);
            let mut reading = CheckpointStore::new(Box::new(place.clone()));
            let recovered = reading.recover(super::TEXT, Committed::Latest);
            let found = recovered.unwrap().unwrap().checkpoint;
            assert_same(&found, epoch.checkpoint.epoch, &epoch.contents);
        }
        // A write that only cannot clean up has not failed.
        assert!(failures > 0 || steps >= 7, "{steps} steps were enough");
    }
}

/// What is there after a history of six epochs.
fn of_an_earlier_query(history: &[Epoch]) -> Memory {
    let place = Memory::announced();
    assert_eq!(write_until_stopped(&place, history), history.len());
    place
}

/// A query of this text that was announced and whose creation stopped after so many steps; false if
/// it did not stop.
fn created_until_stopped(place: &Memory, steps: usize) -> bool {
    let mut store = CheckpointStore::new(Box::new(place.clone()));
    store.announce().unwrap();
    place.stop_after(Some(steps));
    let stopped = store.create().is_err();
    place.stop_after(None);
    stopped
}

#[test]
fn a_query_that_replaces_another_starts_anew_after_a_crash_at_any_step() {
    let history = history(14, 6);
    let committed = [Committed::Latest, Committed::Epoch(None)];
    for steps in 0.. {
        let mut stopped = false;
        for committed in committed {
            let place = of_an_earlier_query(&history);
            stopped = created_until_stopped(&place, steps);
            let mut store = CheckpointStore::new(Box::new(place.clone()));
            let recovered = store.recover("SELECT another", committed);
            assert!(recovered.unwrap().is_none(), "step {steps}");
            assert_eq!(place.objects().len(), 1, "step {steps}: only the mark");
        }
        if !stopped {
            assert!(steps > 5, "only {steps} steps were tried");
            return;
        }
    }
}

#[test]
fn a_query_that_replaces_the_same_one_starts_anew_or_goes_on_after_a_crash_at_any_step() {
    let history = history(14, 6);
    for steps in 0.. {
        let place = of_an_earlier_query(&history);
        let stopped = created_until_stopped(&place, steps);
        let mut store = CheckpointStore::new(Box::new(place.clone()));
        let recovered = store.recover(super::TEXT, Committed::Latest).unwrap();
        let last = &history[history.len() - 1];
        match recovered {
            Some(recovered) => {
                assert_same(&recovered.checkpoint, last.checkpoint.epoch, &last.contents);
            }
            None => assert_eq!(place.objects().len(), 1, "step {steps}: only the mark"),
        }
        if !stopped {
            return;
        }
    }
}

/// A query that has written so many checkpoints of a history, and another one of its name that is announced.
fn announced_over(history: &[Epoch], written: usize) -> (Memory, CheckpointStore, CheckpointStore) {
    let place = Memory::announced();
    let mut before = CheckpointStore::new(Box::new(place.clone()));
    before.recover(super::TEXT, Committed::Latest).unwrap();
    for epoch in &history[..written] {
        before.write(&epoch.checkpoint).unwrap();
    }
    let another = CheckpointStore::new(Box::new(place.clone()));
    another.announce().unwrap();
    (place, before, another)
}

/// What another query of the name finds after a crash.
fn recovered(place: &Memory) -> Result<Option<Recovered>> {
    let mut store = CheckpointStore::new(Box::new(Memory::with(place.objects())));
    store.recover("SELECT another", Committed::Latest)
}

#[test]
fn an_announcement_lasts_while_the_query_before_writes_on_and_can_be_withdrawn() {
    let history = history(14, 6);
    // Also when what it writes is its first.
    for written in [0, 1] {
        let (place, mut before, another) = announced_over(&history, written);
        before.write(&history[written].checkpoint).unwrap();
        assert!(recovered(&place).unwrap().is_none(), "it is of the new one");
        another.withdraw().unwrap();
        assert!(recovered(&place).is_err(), "it is of the one before");
    }
    let announced = Memory::announced();
    CheckpointStore::new(Box::new(announced.clone()))
        .withdraw()
        .unwrap();
    assert_eq!(announced.objects().len(), 1, "a new query's mark stays");
}

#[test]
fn a_query_that_was_not_replaced_in_its_first_moments_loses_its_mark_with_its_first_checkpoint() {
    let history = history(14, 6);
    let (place, mut before, another) = announced_over(&history, 0);
    another.withdraw().unwrap();
    assert_eq!(place.objects().len(), 1, "it has yet to write its first");
    before.write(&history[0].checkpoint).unwrap();
    assert!(!place.objects().contains_key("new"), "the mark is left");
}
