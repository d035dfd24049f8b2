//! Checkpoints from outside of the store: what is written, what a crash leaves, what damage does.

mod crash;
mod damage;
mod fixture;
mod history;
mod memory;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;

use super::{Checkpoint, InputMark, PartitionMark};
use crate::types::{Offset, PartitionId, StateImage, StateNote, TableId, TablePlace, TableRows};

const TEXT: &str = "CREATE MATERIALIZED VIEW v AS SELECT who, count(*) FROM clicks GROUP BY who";

/// What a state holds, table by table. NULL is a key like any other.
type Contents = BTreeMap<TableId, BTreeMap<Option<String>, i64>>;

fn groups(lane: usize) -> TableId {
    TableId {
        operator: 0,
        lane,
        place: TablePlace::Groups,
    }
}

fn window(start: i64) -> TableId {
    TableId {
        operator: 0,
        lane: 0,
        place: TablePlace::Window {
            start,
            end: start + 60,
        },
    }
}

/// Rows of a table with one key column; without a value the key is gone.
fn rows(table: TableId, rows: &[(Option<&str>, Option<i64>)]) -> TableRows {
    let gone: BooleanArray = rows.iter().map(|row| Some(row.1.is_none())).collect();
    let keys: StringArray = rows.iter().map(|row| row.0).collect();
    let values: Int64Array = rows.iter().map(|row| row.1).collect();
    let columns: [(&str, ArrayRef); 3] = [
        ("gone", Arc::new(gone)),
        ("who", Arc::new(keys)),
        ("count", Arc::new(values)),
    ];
    TableRows {
        table,
        rows: RecordBatch::try_from_iter(columns).unwrap(),
        key_columns: 1,
    }
}

/// A checkpoint whose other numbers follow from its epoch.
fn checkpoint(epoch: u64, state: StateImage) -> Checkpoint {
    let number = i64::try_from(epoch).unwrap();
    let mark = PartitionMark {
        next: Offset(number * 10),
        watermark: (epoch > 0).then_some(number * 60),
        greatest_event: (epoch > 0).then_some(number * 60 + 5),
    };
    Checkpoint {
        epoch,
        text: TEXT.to_owned(),
        lanes: 2,
        inputs: vec![InputMark {
            topic: "clicks".to_owned(),
            topic_id: Some("a-topic".to_owned()),
            cluster_id: None,
            partitions: BTreeMap::from([(PartitionId(0), mark), (PartitionId(1), mark)]),
        }],
        watermark: i64::MIN + number,
        left: Some(1_000 - epoch),
        counters: BTreeMap::from([("in".to_owned(), epoch * 10), ("late".to_owned(), u64::MAX)]),
        state,
    }
}

fn note(epoch: u64) -> StateNote {
    StateNote {
        operator: 1,
        lane: 0,
        name: "emitted_until".to_owned(),
        value: i64::try_from(epoch).unwrap(),
    }
}

/// What an image that is whole holds. Panics when it is none, or names a key twice.
fn contents(image: &StateImage) -> Contents {
    assert!(image.is_whole, "a recovered state stands for itself");
    let mut contents: Contents = image
        .tables
        .iter()
        .map(|table| (*table, BTreeMap::new()))
        .collect();
    for TableRows { table, rows, .. } in &image.rows {
        let table = contents.get_mut(table).expect("the table is named");
        let keys = rows.column(1).as_string::<i32>();
        let values = rows.column(2).as_primitive::<Int64Type>();
        assert_eq!(
            rows.column(0).as_boolean().true_count(),
            0,
            "nothing is gone"
        );
        for row in 0..rows.num_rows() {
            let key = keys.is_valid(row).then(|| keys.value(row).to_owned());
            let before = table.insert(key, values.value(row));
            assert_eq!(before, None, "each key comes once");
        }
    }
    contents
}

/// Panics unless a recovered checkpoint says what the epoch's said.
fn assert_same(found: &Checkpoint, epoch: u64, state: &Contents) {
    let expected = checkpoint(epoch, StateImage::default());
    assert_eq!(found.epoch, epoch);
    assert_eq!(found.text, expected.text);
    assert_eq!(found.lanes, expected.lanes);
    assert_eq!(found.inputs, expected.inputs);
    assert_eq!(found.watermark, expected.watermark);
    assert_eq!(found.left, expected.left);
    assert_eq!(found.counters, expected.counters);
    assert_eq!(found.state.notes, [note(epoch)]);
    assert_eq!(contents(&found.state), *state, "the state of epoch {epoch}");
}
