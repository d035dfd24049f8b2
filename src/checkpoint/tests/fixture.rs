//! Checkpoints that earlier versions wrote, as files that are never written again: they must restore.

use std::collections::BTreeMap;
use std::path::Path;

use super::{TEXT, contents, groups, window};
use crate::checkpoint::{Checkpoint, CheckpointStore, Committed, LocalDirectory, PartitionMark};
use crate::types::{Offset, PartitionId, StateNote, TableId, TablePlace};

fn store(version: u32) -> CheckpointStore {
    let folder = format!("tests/data/checkpoint-v{version}");
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    CheckpointStore::new(Box::new(LocalDirectory::new(dir)))
}

fn table(operator: usize, lane: usize, place: TablePlace) -> TableId {
    TableId {
        operator,
        lane,
        place,
    }
}

/// Checks all but the state of the checkpoint of epoch 9 or 10.
fn check(found: &Checkpoint, epoch: u64) {
    let number = i64::try_from(epoch).unwrap();
    assert_eq!((found.epoch, found.lanes), (epoch, 2));
    assert_eq!(found.watermark, 1_767_225_600_000_000 + number);
    assert_eq!(found.left, (epoch == 10).then_some(3));
    let counters = [("in".to_owned(), epoch * 10), ("late".to_owned(), u64::MAX)];
    assert_eq!(found.counters, BTreeMap::from(counters));
    let [clicks, other] = found.inputs.as_slice() else {
        panic!("two inputs: {:?}", found.inputs);
    };
    assert_eq!(clicks.topic, "clicks");
    assert_eq!(clicks.topic_id.as_deref(), Some("a-topic"));
    assert_eq!(clicks.cluster_id.as_deref(), Some("a-cluster"));
    let mark = PartitionMark {
        next: Offset(number * 10),
        watermark: Some(-number),
        greatest_event: Some(i64::MAX),
    };
    let silent = PartitionMark {
        next: Offset(0),
        watermark: None,
        greatest_event: None,
    };
    let partitions = [(PartitionId(0), mark), (PartitionId(17), silent)];
    assert_eq!(clicks.partitions, BTreeMap::from(partitions));
    assert_eq!(
        (other.topic.as_str(), other.topic_id.as_deref()),
        ("Käse \"1\"", None)
    );
    assert_eq!(
        (other.cluster_id.as_deref(), other.partitions.len()),
        (None, 0)
    );
    let note = StateNote {
        operator: 1,
        lane: 0,
        name: "emitted_until".to_owned(),
        value: -number,
    };
    assert_eq!(found.state.notes, [note]);
}

#[test]
fn checkpoints_of_format_1_restore() {
    let key = |text: &str| Some(text.to_owned());
    let before = store(1)
        .recover(TEXT, Committed::Epoch(Some(9)))
        .unwrap()
        .unwrap();
    check(&before.checkpoint, 9);
    let state = contents(&before.checkpoint.state);
    assert_eq!(state.len(), 3);
    let all = [(key("ann"), 19), (key("bob"), 2), (None, 9)];
    assert_eq!(state[&groups(0)], BTreeMap::from(all));
    assert_eq!(state[&groups(1)], BTreeMap::new());
    assert_eq!(
        state[&window(60)],
        BTreeMap::from([(key("ann"), 1), (key(""), -1)])
    );

    let last = store(1).recover(TEXT, Committed::Latest).unwrap().unwrap();
    check(&last.checkpoint, 10);
    assert_eq!(last.refused, [] as [String; 0]);
    let state = contents(&last.checkpoint.state);
    let all = [(key("ann"), 19), (key("cid"), 5)];
    assert_eq!(
        state[&groups(0)],
        BTreeMap::from(all),
        "bob and NULL have gone"
    );
    assert_eq!(state[&groups(1)], BTreeMap::new());
    let one = BTreeMap::from([(key("dee"), 7)]);
    for place in [
        TablePlace::Sessions,
        TablePlace::Pane {
            start: -5,
            from_end: 5,
        },
        TablePlace::Running { start: i64::MIN },
        TablePlace::Window {
            start: 120,
            end: 180,
        },
    ] {
        assert_eq!(state[&table(2, 1, place)], one, "{place:?}");
    }
    assert_eq!(state.len(), 6, "the window of ann is closed");
}
