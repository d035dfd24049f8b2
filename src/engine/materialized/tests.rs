//! Changes in, rows and changes out.

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use futures::{FutureExt, StreamExt};

use super::*;
use crate::checkpoint::{Checkpoint, CheckpointStore, Committed, InMemory};
use crate::types::{EventTime, StateImage};

const MOMENT: Moment = Moment {
    at: ProcessingTime(7),
    watermark: None,
};

fn schema() -> SchemaRef {
    let field = |name| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![field("k"), field("v")]))
}

fn changes(rows: &[(Op, i64, i64)]) -> ChangeBatch {
    let column = |value: fn(&(Op, i64, i64)) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(value)))
    };
    let columns = vec![column(|row| row.1), column(|row| row.2)];
    let batch = RecordBatch::try_new(schema(), columns).unwrap();
    ChangeBatch::new(batch, rows.iter().map(|row| row.0).collect())
}

fn pairs(batch: &RecordBatch) -> Vec<(i64, i64)> {
    let column = |index: usize| batch.column(index).as_primitive::<Int64Type>().values();
    column(0)
        .iter()
        .copied()
        .zip(column(1).iter().copied())
        .collect()
}

fn rows(view: &Materialized) -> Vec<(i64, i64)> {
    view.rows().unwrap().iter().flat_map(pairs).collect()
}

fn view(form: Form) -> Materialized {
    Materialized::new(schema(), form, 1 << 20)
}

#[test]
fn small_batches_become_few_and_keep_their_order() {
    let mut added = Added::default();
    for n in 0..10_000 {
        added.take(&changes(&[(Op::Insert, n, -n)])).unwrap();
    }
    assert!(added.batches.len() < 20, "{} batches", added.batches.len());
    let all: Vec<_> = added.batches.iter().flat_map(pairs).collect();
    assert_eq!(all, (0..10_000).map(|n| (n, -n)).collect::<Vec<_>>());
    assert_eq!(added.bytes, added.batches.iter().map(bytes_of).sum::<u64>());
}

/// What has come to a subscriber, and how it ended.
fn heard(subscription: &mut Subscription) -> (Vec<(Op, i64, i64)>, Option<&'static str>) {
    let mut all = Vec::new();
    while let Some(Some(next)) = subscription.next().now_or_never() {
        match next {
            Ok(Emitted::Changes { changes, .. }) => {
                let rows = pairs(changes.rows()).into_iter().enumerate();
                all.extend(rows.map(|(row, (k, v))| (changes.op(row), k, v)));
            }
            Ok(Emitted::Watermark { .. }) => {}
            Err(error) => return (all, Some(error.state().code())),
        }
    }
    (all, None)
}

#[test]
fn rows_replace_others_by_key_and_go_away() {
    let view = view(Form::ByKey(vec![0]));
    let first = changes(&[(Op::Insert, 1, 10), (Op::Insert, 2, 20)]);
    view.apply(&[first], MOMENT).unwrap();
    let second = changes(&[
        (Op::UpdateBefore, 1, 10),
        (Op::UpdateAfter, 1, 11),
        (Op::Delete, 2, 20),
    ]);
    view.apply(&[second], MOMENT).unwrap();
    assert_eq!(rows(&view), [(1, 11)]);
    view.apply(&[changes(&[(Op::Delete, 1, 11)])], MOMENT)
        .unwrap();
    assert_eq!(rows(&view), []);
    assert_eq!(view.read().rows.bytes(), 0, "what has gone costs nothing");
}

#[test]
fn whole_rows_are_counted() {
    let view = view(Form::Counted);
    let first = changes(&[(Op::Insert, 1, 1), (Op::Insert, 1, 1), (Op::Insert, 2, 2)]);
    view.apply(&[first], MOMENT).unwrap();
    let second = changes(&[(Op::UpdateBefore, 1, 1), (Op::UpdateAfter, 3, 3)]);
    view.apply(&[second], MOMENT).unwrap();
    assert_eq!(rows(&view), [(1, 1), (2, 2), (3, 3)]);
    view.apply(&[changes(&[(Op::Delete, 1, 1)])], MOMENT)
        .unwrap();
    assert_eq!(rows(&view), [(2, 2), (3, 3)]);
    let error = view.apply(&[changes(&[(Op::Delete, 9, 9)])], MOMENT);
    assert_eq!(error.unwrap_err().state(), SqlState::Internal);
}

#[test]
fn a_view_stays_within_its_budget() {
    for form in [Form::Added, Form::ByKey(vec![0]), Form::Counted] {
        let view = Materialized::new(schema(), form.clone(), 1_000);
        let many: Vec<_> = (0..100).map(|n| (Op::Insert, n, n)).collect();
        let error = view.apply(&[changes(&many)], MOMENT).unwrap_err();
        assert_eq!(error.state().code(), "53400", "{form:?}");
    }
}

/// Writes a view's images to checkpoints.
struct Epochs {
    storage: InMemory,
    store: CheckpointStore,
    last: u64,
}

impl Epochs {
    fn new() -> Self {
        let storage = InMemory::default();
        let mut store = CheckpointStore::new(Box::new(storage.clone()));
        store.create().unwrap();
        Self {
            storage,
            store,
            last: 0,
        }
    }

    /// Ends an epoch; gives how many rows its image had.
    fn end(&mut self, view: &Materialized) -> usize {
        self.last += 1;
        let mut state = StateImage {
            is_whole: self.last == 1,
            ..Default::default()
        };
        view.image(&mut state).unwrap();
        let rows = state.rows.iter().map(|rows| rows.rows.num_rows()).sum();
        let checkpoint = Checkpoint {
            epoch: self.last,
            text: "q".to_owned(),
            lanes: 1,
            inputs: Vec::new(),
            watermark: 0,
            left: None,
            counters: BTreeMap::new(),
            state,
        };
        self.store.write(&checkpoint).unwrap();
        view.committed(self.last);
        rows
    }

    /// Brings a view back to the last epoch.
    fn restore(&self, view: &Materialized) {
        let mut store = CheckpointStore::new(Box::new(self.storage.clone()));
        let recovered = store.recover("q", Committed::Latest).unwrap().unwrap();
        let checkpoint = recovered.checkpoint;
        view.restore(checkpoint.epoch, &checkpoint.state).unwrap();
    }
}

#[test]
fn an_epoch_writes_what_has_changed_and_all_of_it_comes_back() {
    for form in [Form::Added, Form::ByKey(vec![1]), Form::Counted] {
        let (view, mut epochs) = (view(form.clone()), Epochs::new());
        let take = |rows: &[(Op, i64, i64)]| view.apply(&[changes(rows)], MOMENT).unwrap();
        assert_eq!(epochs.end(&view), 0);
        for n in 0..40 {
            take(&[(Op::Insert, 7 - n, n), (Op::Insert, n, -n - 1)]);
            assert_eq!(epochs.end(&view), 2, "{form:?}");
        }
        if form != Form::Added {
            take(&[
                (Op::UpdateBefore, 7, 0),
                (Op::UpdateAfter, 70, 0),
                (Op::Delete, 6, 1),
                (Op::Insert, 6, 1),
                (Op::Delete, 5, 2),
            ]);
            // Counted: a row that changes is one that goes and one that comes.
            let rows = if form == Form::Counted { 4 } else { 3 };
            assert_eq!(epochs.end(&view), rows, "{form:?}");
        }
        assert_eq!(epochs.end(&view), 0, "{form:?}: nothing has changed");
        let before = rows(&view);
        let other = Materialized::new(schema(), form.clone(), 1 << 20);
        epochs.restore(&other);
        assert_eq!(rows(&other), before, "{form:?}");
        // It is measured as it was, whatever it was read with.
        let bytes = |view: &Materialized| view.read().rows.bytes();
        let (was, is) = (bytes(&view), bytes(&other));
        assert!(is <= was * 2, "{form:?}: {is} bytes instead of {was}");

        take(&[(Op::Insert, 100, 100)]);
        epochs.restore(&view);
        assert_eq!(
            rows(&view),
            before,
            "{form:?}: what came since is taken back"
        );
        take(&[(Op::Insert, 100, 100)]);
        assert_eq!(epochs.end(&view), 1, "{form:?}");
    }
}

#[test]
fn a_subscriber_is_cut_off_when_rows_are_taken_back_and_only_then() {
    let (view, mut epochs) = (view(Form::ByKey(vec![0])), Epochs::new());
    view.apply(&[changes(&[(Op::Insert, 1, 1)])], MOMENT)
        .unwrap();
    epochs.end(&view);
    let mut subscription = view.subscribe(true, false, MOMENT.at).unwrap();
    epochs.restore(&view);
    view.apply(&[changes(&[(Op::Insert, 2, 2)])], MOMENT)
        .unwrap();
    let (heard_first, end) = heard(&mut subscription);
    assert_eq!(heard_first, [(Op::Insert, 1, 1), (Op::Insert, 2, 2)]);
    assert_eq!(end, None);
    epochs.restore(&view);
    assert_eq!(heard(&mut subscription), (vec![], Some("55000")));
    assert_eq!(rows(&view), [(1, 1)]);
}

#[test]
fn a_subscriber_gets_the_rows_and_then_each_change_once() {
    let view = view(Form::ByKey(vec![0]));
    view.apply(&[changes(&[(Op::Insert, 1, 10)])], MOMENT)
        .unwrap();
    let mut all = view.subscribe(true, false, MOMENT.at).unwrap();
    let mut later = view.subscribe(false, false, MOMENT.at).unwrap();
    let update = [(Op::UpdateBefore, 1, 10), (Op::UpdateAfter, 1, 11)];
    view.apply(&[changes(&update)], MOMENT).unwrap();
    assert_eq!(
        heard(&mut all).0,
        [(Op::Insert, 1, 10), update[0], update[1]]
    );
    assert_eq!(heard(&mut later).0, update);
    assert_eq!(heard(&mut later), (vec![], None));
}

#[test]
fn one_that_falls_behind_is_told_so_and_the_view_goes_on() {
    let view = view(Form::ByKey(vec![0]));
    let mut slow = view.subscribe(true, false, MOMENT.at).unwrap();
    for n in 0..3_000 {
        view.apply(&[changes(&[(Op::Insert, n, n)])], MOMENT)
            .unwrap();
    }
    let (got, state) = heard(&mut slow);
    assert_eq!(state, Some("53400"));
    assert!(!got.is_empty() && got.len() < 3_000, "{} rows", got.len());
    assert!(view.read().subscribers.is_empty());
}

#[test]
fn a_subscriber_hears_how_its_view_ends() {
    let ends = |end: fn(Materialized)| {
        let view = view(Form::Added);
        view.apply(&[changes(&[(Op::Insert, 1, 1)])], MOMENT)
            .unwrap();
        let mut subscription = view.subscribe(false, false, MOMENT.at).unwrap();
        end(view);
        heard(&mut subscription).1
    };
    assert_eq!(ends(drop), Some("55000"), "dropped");
    assert_eq!(ends(|view| view.clear()), Some("55000"), "begun anew");
    assert_eq!(ends(|view| view.end(None)), None, "at its end");
    let failed = |view: Materialized| view.end(Some(&Error::user(SqlState::DivisionByZero, "x")));
    assert_eq!(ends(failed), Some("22012"), "failed");
}

#[test]
fn the_watermark_is_told_when_it_moves_to_those_who_asked() {
    let view = view(Form::Added);
    let mut told = view.subscribe(true, true, MOMENT.at).unwrap();
    let mut not = view.subscribe(true, false, MOMENT.at).unwrap();
    for mark in [5, 5, 6] {
        let watermark = Some(EventTime(mark));
        let moment = Moment {
            watermark,
            ..MOMENT
        };
        view.apply(&[], moment).unwrap();
    }
    let mut marks = Vec::new();
    while let Some(Some(Ok(Emitted::Watermark { watermark, .. }))) = told.next().now_or_never() {
        marks.push(watermark.0);
    }
    assert_eq!(marks, [5, 6]);
    assert!(not.next().now_or_never().is_none());
}
