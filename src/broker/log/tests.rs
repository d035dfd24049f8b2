//! Logs on disk and in memory: order, recovery, idempotence, transactions, retention.

use std::fs;
use std::path::Path;

use super::*;
use crate::broker::batch::check_produced;
use crate::broker::batch::testing::{Spec, batch, headers};

const LIMITS: LogLimits = LogLimits {
    retention_bytes: None,
    retention_ms: None,
    segment_bytes: 2_000,
};

fn open(dir: &Path) -> PartitionLog {
    PartitionLog::open(Some(dir.to_owned()), LIMITS, 0).unwrap()
}

fn append(log: &mut PartitionLog, spec: &Spec<'_>) -> Result<i64, ResponseError> {
    let batch = batch(spec);
    log.append(&check_produced(&batch).unwrap(), &batch)
}

/// Appends plain batches of three records each.
fn fill(log: &mut PartitionLog, batches: usize) {
    for n in 0..batches {
        let value_bytes = 10 + n % 7 * 40;
        append(
            log,
            &Spec {
                timestamps: &[5, 6, 7],
                value_bytes,
                ..Spec::default()
            },
        )
        .unwrap();
    }
}

/// Offsets of all batches from an offset on, read in steps of `bytes_max`.
fn read_all(log: &PartitionLog, from: i64, isolation: Isolation, bytes_max: usize) -> Vec<i64> {
    let mut offsets = Vec::new();
    let mut next = from;
    while let Some(read) = log.read(next, isolation).unwrap() {
        let batches = read.run(bytes_max, true).unwrap();
        let read = headers(&batches.bytes);
        assert!(!read.is_empty(), "a read below the limit yields something");
        assert!(
            read[0].last_offset() >= next,
            "what lies before is left out"
        );
        assert!(
            read.len() == 1 || batches.bytes.len() <= bytes_max,
            "the limit holds"
        );
        next = read.last().unwrap().last_offset() + 1;
        assert_eq!(batches.end_offset, next);
        offsets.extend(read.iter().map(|header| header.base_offset));
    }
    offsets
}

fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn every_batch_is_read_once_and_in_order_whatever_the_step() {
    let dir = tempfile::tempdir().unwrap();
    let memory = PartitionLog::open(None, LIMITS, 0).unwrap();
    for mut log in [memory, open(dir.path())] {
        fill(&mut log, 60);
        let expected: Vec<i64> = (0..60).map(|n| n * 3).collect();
        for bytes_max in [0, 1, 100, 333, 1_000, 100_000] {
            let offsets = read_all(&log, 0, Isolation::ReadUncommitted, bytes_max);
            assert_eq!(offsets, expected, "in steps of {bytes_max}");
        }
        for from in 0..180 {
            let offsets = read_all(&log, from, Isolation::ReadUncommitted, 500);
            let first = usize::try_from(from / 3).unwrap();
            assert_eq!(offsets, expected[first..], "from {from}");
        }
        assert_eq!(
            log.read(181, Isolation::ReadUncommitted).unwrap_err(),
            ResponseError::OffsetOutOfRange
        );
        assert_eq!(
            log.read(-1, Isolation::ReadUncommitted).unwrap_err(),
            ResponseError::OffsetOutOfRange
        );
        assert!(
            log.read(180, Isolation::ReadUncommitted).unwrap().is_none(),
            "nothing at the end"
        );
    }
}

#[test]
fn large_and_small_batches_mix() {
    let mut log = PartitionLog::open(
        None,
        LogLimits {
            segment_bytes: 1 << 20,
            ..LIMITS
        },
        0,
    )
    .unwrap();
    for value_bytes in [10, 60_000, 10, 10, 200_000, 10] {
        append(
            &mut log,
            &Spec {
                value_bytes,
                ..Spec::default()
            },
        )
        .unwrap();
    }
    for bytes_max in [1, 1_000, 100_000, 1_000_000] {
        for from in 0..6 {
            let offsets = read_all(&log, from, Isolation::ReadUncommitted, bytes_max);
            assert_eq!(offsets, (from..6).collect::<Vec<_>>(), "{from} {bytes_max}");
        }
    }
    let none = log
        .read(1, Isolation::ReadUncommitted)
        .unwrap()
        .unwrap()
        .run(1_000, false)
        .unwrap();
    assert!(
        none.bytes.is_empty(),
        "a batch beyond the limit stays out if it may"
    );
}

#[test]
fn a_torn_last_batch_is_cut_off_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    let mut log = open(&source);
    fill(&mut log, 12);
    let before = log.marks();
    let files = segment_files(&source);
    let whole = fs::metadata(files.last().unwrap()).unwrap().len();
    append(
        &mut log,
        &Spec {
            timestamps: &[9],
            value_bytes: 30,
            ..Spec::default()
        },
    )
    .unwrap();
    drop(log);
    let last = segment_files(&source)
        .last()
        .unwrap()
        .file_name()
        .unwrap()
        .to_owned();
    assert_eq!(
        files.last().unwrap().file_name().unwrap(),
        last,
        "the batch went to the same segment"
    );
    let torn = fs::read(source.join(&last)).unwrap();
    let whole = usize::try_from(whole).unwrap();
    for length in whole..torn.len() {
        let target = dir.path().join(length.to_string());
        copy(&source, &target);
        fs::write(target.join(&last), &torn[..length]).unwrap();
        let mut log = open(&target);
        assert_eq!(log.marks(), before, "cut to {length}");
        assert_eq!(
            fs::metadata(target.join(&last)).unwrap().len(),
            whole as u64
        );
        fill(&mut log, 1);
        let offsets = read_all(&log, 0, Isolation::ReadUncommitted, 300);
        assert_eq!(offsets, (0..13).map(|n| n * 3).collect::<Vec<_>>());
    }
}

#[test]
fn a_flipped_bit_cuts_the_segment_there_and_later_segments_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 30);
    let end = log.marks().end;
    let second = log.segments[1].base_offset();
    drop(log);
    let first = &segment_files(dir.path())[0];
    let mut bytes = fs::read(first).unwrap();
    let batches = headers(&bytes).len();
    let at = bytes.len() - 5;
    bytes[at] ^= 1;
    fs::write(first, bytes).unwrap();
    fs::remove_file(first.with_extension("state")).unwrap();
    let log = open(dir.path());
    assert_eq!(
        log.marks(),
        Marks {
            start: 0,
            last_stable: end,
            end
        }
    );
    let offsets = read_all(&log, 0, Isolation::ReadUncommitted, 300);
    let lost = i64::try_from(batches - 1).unwrap() * 3;
    let expected: Vec<i64> = (0..30)
        .map(|n| n * 3)
        .filter(|offset| *offset != lost)
        .collect();
    assert_eq!(offsets, expected, "only the broken batch is missing");
    assert_eq!(lost + 3, second, "it was the last of its segment");
}

#[test]
fn the_state_is_the_same_with_and_without_state_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = open(&path);
    for n in 0..40 {
        let producer = Some((7, 0, n));
        append(
            &mut log,
            &Spec {
                producer,
                transactional: true,
                value_bytes: 90,
                ..Spec::default()
            },
        )
        .unwrap();
        if n % 10 == 9 {
            log.end_transaction(7, 0, n % 20 == 9, 1).unwrap();
        }
    }
    append(
        &mut log,
        &Spec {
            producer: Some((8, 3, 0)),
            transactional: true,
            ..Spec::default()
        },
    )
    .unwrap();
    let (marks, state) = (log.marks(), log.state.clone());
    assert!(log.segments.len() > 2, "several segments");
    drop(log);
    let same = |path: &Path| {
        let log = open(path);
        assert_eq!(log.marks(), marks);
        assert_eq!(log.state, state);
        log
    };
    drop(same(&path));
    for file in segment_files(&path).iter().rev().skip(1) {
        fs::write(file.with_extension("state"), b"{\"version\":1,").unwrap();
    }
    let mut log = same(&path);
    log.close();
    drop(log);
    let closed = segment_files(&path).last().unwrap().with_extension("state");
    assert!(closed.exists(), "closing leaves a state file");
    let mut log = same(&path);
    assert!(!closed.exists(), "it is not believed twice");
    let again = Spec {
        producer: Some((7, 0, 39)),
        transactional: true,
        ..Spec::default()
    };
    assert_eq!(
        append(&mut log, &again).unwrap(),
        42,
        "a batch sent again after a restart"
    );
}

#[test]
fn readers_of_committed_data_stop_at_the_oldest_open_transaction() {
    let mut log = PartitionLog::open(None, LIMITS, 0).unwrap();
    let in_transaction = |id: i64, sequence: i32| Spec {
        producer: Some((id, 0, sequence)),
        transactional: true,
        ..Spec::default()
    };
    fill(&mut log, 1);
    append(&mut log, &in_transaction(1, 0)).unwrap();
    append(&mut log, &in_transaction(2, 0)).unwrap();
    fill(&mut log, 1);
    let committed = |log: &PartitionLog| read_all(log, 0, Isolation::ReadCommitted, 500);
    assert_eq!(committed(&log), [0]);
    assert_eq!(log.open_transactions(), [1, 2]);
    log.end_transaction(2, 0, true, 1).unwrap();
    assert_eq!(committed(&log), [0], "the older one is still open");
    log.end_transaction(1, 0, false, 1).unwrap();
    log.end_transaction(1, 0, false, 1).unwrap(); // None is open: no second marker.
    assert_eq!(committed(&log), [0, 3, 4, 5, 8, 9]);
    let aborted = Aborted {
        producer_id: 1,
        first_offset: 3,
        last_offset: 9,
    };
    assert_eq!(log.aborted_within(0, 10), [aborted]);
}

#[test]
fn retention_drops_whole_old_segments() {
    let dir = tempfile::tempdir().unwrap();
    let limits = LogLimits {
        retention_bytes: Some(10_000),
        ..LIMITS
    };
    let path = dir.path().join("log");
    let memory = PartitionLog::open(None, limits, 0).unwrap();
    for mut log in [
        memory,
        PartitionLog::open(Some(path.clone()), limits, 0).unwrap(),
    ] {
        fill(&mut log, 200);
        let kept: u64 = log.segments.iter().map(Segment::bytes).sum();
        assert!((8_000..=10_000).contains(&kept), "{kept} bytes are kept");
        let start = log.marks().start;
        assert_eq!(start, log.segments[0].base_offset());
        assert!(start > 0, "old records are gone");
        assert_eq!(
            log.read(start - 1, Isolation::ReadUncommitted).unwrap_err(),
            ResponseError::OffsetOutOfRange
        );
        assert_eq!(
            read_all(&log, start, Isolation::ReadUncommitted, 700).last(),
            Some(&597)
        );
    }
    let on_disk: u64 = segment_files(&path)
        .iter()
        .map(|f| fs::metadata(f).unwrap().len())
        .sum();
    assert!(on_disk <= 10_000, "{on_disk} bytes on disk");
    assert_eq!(
        PartitionLog::open(Some(path), limits, 0)
            .unwrap()
            .marks()
            .end,
        600
    );
}

#[test]
fn retention_by_time_drops_what_is_older_even_the_last_segment() {
    let limits = LogLimits {
        retention_ms: Some(100),
        ..LIMITS
    };
    let mut log = PartitionLog::open(None, limits, 0).unwrap();
    fill(&mut log, 20);
    log.retain_time(107);
    assert_eq!(log.marks().start, 0, "not old enough");
    log.retain_time(108);
    assert_eq!(
        log.marks(),
        Marks {
            start: 60,
            last_stable: 60,
            end: 60
        }
    );
    fill(&mut log, 1);
    assert_eq!(read_all(&log, 60, Isolation::ReadUncommitted, 500), [60]);
}

#[test]
fn deleting_records_moves_the_start_and_a_start_is_kept_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 30);
    assert_eq!(log.delete_before(50), 50);
    assert_eq!(log.delete_before(10), 50, "it never goes back");
    assert_eq!(
        read_all(&log, 50, Isolation::ReadUncommitted, 500)[0],
        48,
        "the batch that holds it"
    );
    assert!(
        log.segments[0].end_offset() > 50,
        "segments before it are gone"
    );
    drop(log);
    let log = PartitionLog::open(Some(dir.path().to_owned()), LIMITS, 50).unwrap();
    assert_eq!(
        log.marks(),
        Marks {
            start: 50,
            last_stable: 90,
            end: 90
        }
    );
    let mut log = PartitionLog::open(None, LIMITS, 0).unwrap();
    fill(&mut log, 1);
    assert_eq!(log.delete_before(100), 3, "at most to the end");
}

#[test]
fn timestamps_are_found_across_segments_and_not_before_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let memory = PartitionLog::open(None, LIMITS, 0).unwrap();
    for mut log in [memory, open(dir.path())] {
        for n in 0..100 {
            let timestamps = [n * 10, n * 10 + 5];
            append(
                &mut log,
                &Spec {
                    timestamps: &timestamps,
                    value_bytes: 50,
                    ..Spec::default()
                },
            )
            .unwrap();
        }
        for (timestamp, found) in [
            (0, (0, 0)),
            (5, (1, 5)),
            (6, (2, 10)),
            (701, (141, 705)),
            (995, (199, 995)),
        ] {
            assert_eq!(
                log.find_timestamp(timestamp).unwrap(),
                Some(found),
                "{timestamp}"
            );
        }
        assert_eq!(log.find_timestamp(996).unwrap(), None);
        log.delete_before(51);
        assert_eq!(
            log.find_timestamp(0).unwrap().unwrap().0,
            51,
            "never before the start"
        );
    }
}

#[test]
fn nothing_is_written_after_closing() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 1);
    log.close();
    assert_eq!(
        append(&mut log, &Spec::default()),
        Err(ResponseError::KafkaStorageError)
    );
    assert_eq!(open(dir.path()).marks().end, 3);
}
