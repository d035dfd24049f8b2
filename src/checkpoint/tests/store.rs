//! What is written comes back, and what a user does to a place is told.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, StringViewArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;

use super::history::history;
use super::memory::Memory;
use super::{TEXT, assert_same, checkpoint, contents, groups, rows, window};
use crate::checkpoint::manifest::{manifest_epoch, manifest_name, state_epoch};
use crate::checkpoint::{CheckpointPlace, CheckpointStore, Committed, LocalDirectory, Storage};
use crate::error::{Error, Fault, SqlState};
use crate::types::{StateImage, TableRows};

fn store(place: &Memory) -> CheckpointStore {
    CheckpointStore::new(Box::new(place.clone()))
}

fn fresh(place: &Memory) -> CheckpointStore {
    let mut store = store(place);
    store.create().unwrap();
    assert!(store.recover(TEXT, Committed::Latest).unwrap().is_none());
    store
}

#[test]
fn every_epoch_comes_back_as_it_was_written() {
    for seed in 0..8 {
        let place = Memory::default();
        let mut writing = fresh(&place);
        for epoch in history(seed, 60) {
            writing.write(&epoch.checkpoint).unwrap();
            let mut reading = store(&place);
            let recovered = reading.recover(TEXT, Committed::Latest).unwrap().unwrap();
            assert_same(
                &recovered.checkpoint,
                epoch.checkpoint.epoch,
                &epoch.contents,
            );
            if epoch.checkpoint.epoch % 5 == 0 {
                // It goes on as well after a restart.
                writing = reading;
            }
        }
        let names = place.objects();
        let manifests = names.keys().filter(|name| manifest_epoch(name).is_some());
        assert_eq!(manifests.count(), 2, "the last two are kept");
        let files = names.keys().filter(|name| state_epoch(name).is_some());
        assert!(
            files.count() < 30,
            "state files are put together and deleted"
        );
    }
}

#[test]
fn a_directory_holds_what_memory_holds() {
    let data_dir = tempfile::tempdir().unwrap();
    let open = CheckpointPlace::of_data_dir(data_dir.path()).opener("a/name");
    let mut writing = open();
    writing.create().unwrap();
    assert!(writing.recover(TEXT, Committed::Latest).unwrap().is_none());
    let history = history(5, 30);
    for epoch in &history {
        writing.write(&epoch.checkpoint).unwrap();
    }
    for committed in [
        Committed::Latest,
        Committed::Epoch(Some(29)),
        Committed::Epoch(Some(28)),
    ] {
        let recovered = open().recover(TEXT, committed).unwrap().unwrap();
        let epoch = recovered.checkpoint.epoch;
        let place = usize::try_from(epoch).unwrap();
        assert_same(&recovered.checkpoint, epoch, &history[place].contents);
        assert_eq!(
            epoch,
            if committed == Committed::Epoch(Some(28)) {
                28
            } else {
                29
            }
        );
    }
    let mut removing = open();
    removing.remove().unwrap();
    assert!(!data_dir.path().join("queries/612f6e616d65").exists());
    removing.remove().unwrap();
    let error = open().recover(TEXT, Committed::Latest).unwrap_err();
    assert!(error.message().contains("are missing"), "{error}");
    removing.write(&history[0].checkpoint).unwrap();
}

fn image(is_whole: bool, rows: Vec<TableRows>) -> StateImage {
    let tables = rows.iter().map(|rows| rows.table).collect();
    StateImage {
        is_whole,
        tables,
        rows,
        notes: Vec::new(),
    }
}

#[test]
fn a_key_that_is_gone_stays_gone_and_a_table_that_is_not_named_too() {
    let place = Memory::default();
    let mut writing = fresh(&place);
    let first = image(
        true,
        vec![
            rows(groups(0), &[(Some("ann"), Some(1)), (None, Some(2))]),
            rows(window(0), &[(Some("bob"), Some(3))]),
        ],
    );
    let second = image(
        false,
        vec![rows(groups(0), &[(None, None), (Some("cid"), Some(4))])],
    );
    writing.write(&checkpoint(0, first)).unwrap();
    writing.write(&checkpoint(1, second)).unwrap();
    let recovered = store(&place)
        .recover(TEXT, Committed::Latest)
        .unwrap()
        .unwrap();
    let found = contents(&recovered.checkpoint.state);
    let expected = [(Some("ann".to_owned()), 1), (Some("cid".to_owned()), 4)];
    assert_eq!(found.len(), 1);
    assert_eq!(found[&groups(0)], expected.into());
}

/// One row of a table without a key; its text is a view.
fn keyless(value: i64) -> TableRows {
    let text = format!("a text that does not fit into a view: {value}");
    let columns: [(&str, ArrayRef); 3] = [
        ("gone", Arc::new(BooleanArray::from(vec![false]))),
        ("sum", Arc::new(Int64Array::from(vec![value]))),
        ("text", Arc::new(StringViewArray::from(vec![text]))),
    ];
    TableRows {
        table: groups(0),
        rows: RecordBatch::try_from_iter(columns).unwrap(),
        key_columns: 0,
    }
}

#[test]
fn a_table_without_a_key_has_one_row_and_does_not_grow() {
    let place = Memory::default();
    let mut writing = fresh(&place);
    for epoch in 0..500 {
        let row = keyless(i64::try_from(epoch).unwrap());
        let written = writing
            .write(&checkpoint(epoch, image(epoch == 0, vec![row])))
            .unwrap();
        assert!(written.bytes < 10_000, "{written:?} in epoch {epoch}");
    }
    let recovered = store(&place)
        .recover(TEXT, Committed::Latest)
        .unwrap()
        .unwrap();
    let rows = &recovered.checkpoint.state.rows;
    assert_eq!(
        (rows.len(), rows[0].rows.num_rows(), rows[0].key_columns),
        (1, 1, 0)
    );
    assert_eq!(
        rows[0].rows.column(1).as_primitive::<Int64Type>().value(0),
        499
    );
    let text = rows[0].rows.column(2).as_string_view().value(0).to_owned();
    assert!(text.ends_with(": 499"), "{text}");
    assert!(place.objects().len() < 20, "{:?}", place.objects().keys());
}

#[test]
fn an_epoch_without_changes_writes_no_state() {
    let place = Memory::default();
    let mut writing = fresh(&place);
    let first = image(true, vec![rows(groups(0), &[(Some("ann"), Some(1))])]);
    writing.write(&checkpoint(0, first)).unwrap();
    for epoch in 1..20 {
        let state = StateImage {
            tables: vec![groups(0), window(0)],
            ..StateImage::default()
        };
        assert_eq!(writing.write(&checkpoint(epoch, state)).unwrap().rows, 0);
    }
    assert_eq!(place.objects().len(), 3, "{:?}", place.objects().keys());
    let recovered = store(&place)
        .recover(TEXT, Committed::Latest)
        .unwrap()
        .unwrap();
    let found = contents(&recovered.checkpoint.state);
    assert_eq!(found[&groups(0)].len(), 1);
    assert_eq!(found[&window(0)].len(), 0, "a table may be empty");
}

#[test]
fn what_the_engine_must_not_do_is_an_error() {
    let place = Memory::default();
    let ann = || vec![rows(groups(0), &[(Some("ann"), Some(1))])];
    let whole = |epoch| checkpoint(epoch, image(true, ann()));
    let delta = |epoch| checkpoint(epoch, image(false, vec![rows(groups(0), &[])]));
    let internal = |error: Error| assert_eq!(error.fault(), Fault::Internal, "{error}");
    internal(store(&place).write(&whole(0)).unwrap_err());
    let mut writing = fresh(&place);
    internal(writing.write(&delta(0)).unwrap_err());
    writing.write(&whole(3)).unwrap();
    internal(writing.write(&delta(3)).unwrap_err());
    let mut unnamed = delta(4);
    unnamed.state.tables.clear();
    unnamed.state.rows = ann();
    internal(writing.write(&unnamed).unwrap_err());
    let mut another_key = delta(4);
    another_key.state.rows = vec![keyless(1)];
    internal(writing.write(&another_key).unwrap_err());
    writing.write(&delta(4)).unwrap();
}

/// A place with the checkpoints of the epochs 0 and 1.
fn two() -> Memory {
    let place = Memory::default();
    let mut writing = fresh(&place);
    for epoch in history(2, 2) {
        writing.write(&epoch.checkpoint).unwrap();
    }
    place
}

/// The error of a recovery, which leaves everything as it is.
fn refused(place: &Memory, text: &str, committed: Committed) -> Error {
    let before = place.objects();
    let error = store(place).recover(text, committed).unwrap_err();
    assert_eq!(place.objects(), before, "a refusal changes nothing");
    error
}

/// A manifest with another body, under its right checksum.
fn forged(format: u32, body: &str) -> Vec<u8> {
    let sum = crc32c::crc32c(format!("{format}{body}").as_bytes());
    format!("{{\"format\":{format},\"crc32c\":{sum},\"body\":{body}}}\n").into_bytes()
}

fn body(place: &Memory, epoch: u64) -> String {
    let file = String::from_utf8(place.objects()[&manifest_name(epoch)].clone()).unwrap();
    let (_, body) = file.split_once(",\"body\":").unwrap();
    body.strip_suffix("}\n").unwrap().to_owned()
}

#[test]
fn a_checkpoint_of_a_newer_version_or_another_statement_is_refused() {
    let place = two();
    let error = refused(&place, "SELECT 2", Committed::Latest);
    assert_eq!(error.state(), SqlState::ObjectNotInPrerequisiteState);
    let mut objects = place.objects();
    objects.insert(manifest_name(2), forged(2, "{\"what\":\"nobody knows\"}"));
    let place = Memory::with(objects);
    for committed in [
        Committed::Latest,
        Committed::Epoch(Some(1)),
        Committed::Epoch(None),
    ] {
        let error = refused(&place, TEXT, committed);
        assert_eq!(error.state(), SqlState::FeatureNotSupported);
        assert!(error.message().contains("newer version"), "{error}");
    }
}

#[test]
fn a_forged_manifest_makes_nobody_panic_or_allocate() {
    let place = two();
    let body = body(&place, 1);
    let number = |name: &str, value: &str| {
        let mark = format!("\"{name}\":");
        let mut parts = body.split(&mark);
        let mut forged = parts.next().unwrap().to_owned();
        for part in parts {
            let end = part.find([',', '}']).unwrap();
            forged.push_str(&format!("{mark}{value}{}", &part[end..]));
        }
        assert_ne!(forged, body, "{name} is there");
        forged
    };
    let most = u64::MAX.to_string();
    let cases = [
        number("epoch", "0"),
        number("file", "9"),
        number("file", "0"),
        number("offset", &most),
        number("length", &most),
        number("length", "0"),
        number("rows", &most),
        number("rows", "0"),
        number("key_columns", &most),
        number("key_columns", "3"),
        number("lanes", "-1"),
        number("crc32c", "7"),
        "[]".to_owned(),
        "{}".to_owned(),
        "[".repeat(100_000),
    ];
    for forgery in cases {
        let mut objects = place.objects();
        objects.insert(manifest_name(1), forged(1, &forgery));
        let place = Memory::with(objects);
        let error = refused(&place, TEXT, Committed::Epoch(Some(1)));
        assert_eq!(error.state(), SqlState::DataCorrupted, "{error}");
        let before = store(&place)
            .recover(TEXT, Committed::Latest)
            .unwrap()
            .unwrap();
        assert_eq!(before.checkpoint.epoch, 0);
        assert_eq!(before.refused.len(), 1, "{:?}", before.refused);
    }
}

#[test]
fn a_created_query_starts_anew_whatever_its_sink_says_until_its_first_checkpoint() {
    let place = two();
    store(&place).create().unwrap();
    for committed in [
        Committed::Latest,
        Committed::Epoch(Some(7)),
        Committed::Epoch(None),
    ] {
        assert!(store(&place).recover(TEXT, committed).unwrap().is_none());
    }
    let mut first = store(&place);
    first.recover(TEXT, Committed::Epoch(Some(7))).unwrap();
    let of_two = store(&two())
        .recover(TEXT, Committed::Latest)
        .unwrap()
        .unwrap();
    first.write(&of_two.checkpoint).unwrap();
    let error = refused(&place, TEXT, Committed::Epoch(Some(7)));
    assert!(error.message().contains("is missing"), "{error}");
}

#[test]
fn a_sink_that_names_another_epoch_is_refused() {
    let place = two();
    for epoch in [2, 7] {
        let error = refused(&place, TEXT, Committed::Epoch(Some(epoch)));
        assert_eq!(error.state(), SqlState::DataCorrupted);
        assert!(error.message().contains("is missing"), "{error}");
    }
    let empty = Memory::default();
    let error = refused(&empty, TEXT, Committed::Epoch(Some(0)));
    assert!(error.message().contains("is missing"), "{error}");
    for committed in [Committed::Epoch(None), Committed::Latest] {
        let error = refused(&empty, TEXT, committed);
        assert!(error.message().contains("are missing"), "{error}");
    }
    let first = store(&place)
        .recover(TEXT, Committed::Epoch(None))
        .unwrap()
        .unwrap();
    assert_eq!(first.checkpoint.epoch, 0);
    assert_eq!(first.refused.len(), 1, "epoch 1 was never committed");
}

#[test]
fn a_later_checkpoint_that_was_never_committed_does_not_come_back() {
    let place = Memory::default();
    let mut writing = fresh(&place);
    let whole = |epoch| {
        let value = i64::try_from(epoch).unwrap();
        let rows = vec![rows(groups(0), &[(Some("ann"), Some(value))])];
        checkpoint(epoch, image(true, rows))
    };
    writing.write(&whole(0)).unwrap();
    writing.write(&whole(5)).unwrap();
    let mut again = store(&place);
    again
        .recover(TEXT, Committed::Epoch(None))
        .unwrap()
        .unwrap();
    assert!(
        place.objects().contains_key(&manifest_name(5)),
        "it may still be looked at"
    );
    again.write(&whole(1)).unwrap();
    let found = store(&place)
        .recover(TEXT, Committed::Latest)
        .unwrap()
        .unwrap();
    assert_eq!(found.checkpoint.epoch, 1);
    assert_eq!(place.objects().len(), 4, "{:?}", place.objects().keys());
}

#[test]
fn a_file_that_was_begun_before_a_crash_is_not_looked_at() {
    let data_dir = tempfile::tempdir().unwrap();
    let dir = data_dir.path().join("queries/71");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("beside.new"), "{\"format\":1,\"crc32c\":").unwrap();
    let open = CheckpointPlace::of_data_dir(data_dir.path()).opener("q");
    let mut writing = open();
    writing.announce().unwrap();
    assert!(writing.recover(TEXT, Committed::Latest).unwrap().is_none());
    let epoch = &history(1, 1)[0];
    writing.write(&epoch.checkpoint).unwrap();
    let mut reading = open();
    let found = reading.recover(TEXT, Committed::Latest).unwrap().unwrap();
    assert_same(&found.checkpoint, 0, &epoch.contents);
    assert!(!dir.join("beside.new").exists());
}

#[test]
fn a_full_disk_is_told_and_what_was_there_stays() {
    let dir = tempfile::tempdir().unwrap();
    let place = LocalDirectory::new(dir.path().join("q"));
    place.put("a", &mut |to| to.write_all(b"first")).unwrap();
    let full = |kind: std::io::ErrorKind| {
        let put = place.put("a", &mut |to| {
            to.write_all(b"second, which is torn")?;
            Err(kind.into())
        });
        let error = put.unwrap_err();
        assert_eq!(error.fault(), Fault::External { retry: true });
        assert_eq!(place.read("a", 0, 99).unwrap().unwrap(), b"first");
        assert_eq!(place.list().unwrap(), ["a"]);
        assert_eq!(std::fs::read_dir(dir.path().join("q")).unwrap().count(), 1);
        error.state()
    };
    assert_eq!(full(std::io::ErrorKind::StorageFull), SqlState::DiskFull);
    assert_eq!(full(std::io::ErrorKind::QuotaExceeded), SqlState::DiskFull);
    assert_eq!(
        full(std::io::ErrorKind::PermissionDenied),
        SqlState::IoError
    );
    assert_eq!(place.read("a", 2, 2).unwrap().unwrap(), b"rs");
    assert_eq!(place.read("a", u64::MAX, u64::MAX).unwrap().unwrap(), b"");
    assert_eq!(place.read("b", 0, 1).unwrap(), None);
}
