//! Files that are torn, flipped, edited, exchanged or gone: refused, or the checkpoint before is used.
//!
//! Invariant: never a state that was not written, never a panic.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, proptest};

use super::history::{Epoch, history};
use super::memory::Memory;
use super::{TEXT, assert_same};
use crate::checkpoint::manifest::{manifest_name, state_name};
use crate::checkpoint::{CheckpointStore, Committed};
use crate::error::{Fault, SqlState};

type Objects = BTreeMap<String, Vec<u8>>;

/// A place with two checkpoints on several state files.
fn written() -> (Vec<Epoch>, Objects) {
    let history = history(3, 6);
    let place = Memory::announced();
    let mut store = CheckpointStore::new(Box::new(place.clone()));
    store.recover(TEXT, Committed::Latest).unwrap();
    for epoch in &history {
        store.write(&epoch.checkpoint).unwrap();
    }
    let objects = place.objects();
    assert!(objects.len() > 4, "{:?}", objects.keys());
    (history, objects)
}

/// What is found after damage, in all ways to ask: the epoch, or `None` when it is refused.
fn found(history: &[Epoch], objects: &Objects) -> [Option<u64>; 3] {
    let last = history.len() as u64 - 1;
    [None, Some(last), Some(last - 1)].map(|committed| found_by(history, objects, committed))
}

/// What is found where this epoch is committed; where none is named, the newest is.
fn found_by(history: &[Epoch], objects: &Objects, committed: Option<u64>) -> Option<u64> {
    let last = history.len() as u64 - 1;
    let way = committed.map_or(Committed::Latest, |epoch| Committed::Epoch(Some(epoch)));
    let place = Memory::with(objects.clone());
    let mut store = CheckpointStore::new(Box::new(place.clone()));
    let found = match store.recover(TEXT, way) {
        Ok(Some(recovered)) => {
            let epoch = recovered.checkpoint.epoch;
            let contents = &history[usize::try_from(epoch).unwrap()].contents;
            assert_same(&recovered.checkpoint, epoch, contents);
            assert!(epoch + 1 >= last, "epoch {epoch} was found");
            let is_right = committed.is_none_or(|committed| committed == epoch);
            assert!(is_right, "only the committed one is right");
            Some(epoch)
        }
        Ok(None) => panic!("it starts anew where checkpoints are"),
        Err(error) => {
            assert_eq!(error.state(), SqlState::DataCorrupted, "{error}");
            assert_eq!(error.fault(), Fault::External { retry: false });
            assert!(error.detail_text().is_some() && error.hint_text().is_some());
            let written = store.write(&history[0].checkpoint);
            assert!(written.is_err(), "nothing is written after a refusal");
            None
        }
    };
    assert_eq!(place.objects(), *objects, "recovery changes nothing");
    found
}

/// What must be found when this object is not what was written: the last epoch, the one before.
fn expected(history: &[Epoch], name: &str) -> [Option<u64>; 3] {
    let (_, objects) = written();
    let last = history.len() as u64 - 1;
    let needs = |epoch: u64| {
        let manifest = String::from_utf8(objects[&manifest_name(epoch)].clone()).unwrap();
        let mut files = (0..=epoch).filter(|file| manifest.contains(&format!("\"file\":{file},")));
        name == manifest_name(epoch) || files.any(|file| name == state_name(file))
    };
    let whole = |epoch: u64| (!needs(epoch)).then_some(epoch);
    [
        whole(last).or(whole(last - 1)),
        whole(last),
        whole(last - 1),
    ]
}

/// Changes one object in many ways, and asks for the newest checkpoint; of a manifest in all ways.
fn check(name: &str, bytes: impl Iterator<Item = (String, Vec<u8>)>) {
    let (history, mut objects) = written();
    let expected = expected(&history, name);
    for (what, bytes) in bytes {
        objects.insert(name.to_owned(), bytes);
        let newest = found_by(&history, &objects, None);
        assert_eq!(newest, expected[0], "{what} of {name}");
        if name.ends_with(".json") {
            assert_eq!(found(&history, &objects), expected, "{what} of {name}");
        }
    }
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    let (_, objects) = written();
    for (name, bytes) in &objects {
        let flipped = (0..bytes.len()).flat_map(|place| {
            // All bits of the frame and of what comes first in it; elsewhere one of each byte.
            let bits = match place {
                0..60 => 0..8,
                _ => place % 8..place % 8 + 1,
            };
            bits.map(move |bit| {
                let mut bytes = bytes.clone();
                bytes[place] ^= 1 << bit;
                (format!("bit {bit} of byte {place}"), bytes)
            })
        });
        check(name, flipped);
    }
}

#[test]
fn a_torn_file_is_noticed_wherever_it_ends() {
    let (_, objects) = written();
    for (name, bytes) in &objects {
        let torn = |length: usize| (format!("{length} bytes"), bytes[..length].to_vec());
        check(name, (0..bytes.len()).map(torn));
    }
}

#[test]
fn a_file_that_is_gone_or_another_one_is_noticed() {
    let (history, objects) = written();
    for name in objects.keys() {
        let mut less = objects.clone();
        less.remove(name);
        assert_eq!(
            found(&history, &less),
            expected(&history, name),
            "without {name}"
        );
        for other in objects.keys().filter(|other| *other != name) {
            let mut changed = objects.clone();
            changed.insert(name.clone(), objects[other].clone());
            let expected = expected(&history, name);
            assert_eq!(
                found(&history, &changed),
                expected,
                "{other} under the name {name}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn an_edited_file_is_never_taken_for_another_state(
        which in any::<proptest::sample::Index>(),
        at in any::<proptest::sample::Index>(),
        removed in 0_usize..40,
        added in vec(any::<u8>(), 0..40),
    ) {
        let (history, mut objects) = written();
        let name = which.get(&objects.keys().cloned().collect::<Vec<_>>()).clone();
        let bytes = objects.get_mut(&name).unwrap();
        let start = at.index(bytes.len());
        let end = (start + removed).min(bytes.len());
        bytes.splice(start..end, added);
        found(&history, &objects);
    }
}
