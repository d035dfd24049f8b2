//! Made-up histories of a state: what changes in each epoch, and what is there after it.

use super::{Contents, checkpoint, groups, note, rows, window};
use crate::checkpoint::Checkpoint;
use crate::types::{StateImage, TableId};

/// What happened in an epoch.
pub(super) struct Epoch {
    /// The checkpoint with what has changed; that of the first epoch is whole.
    pub(super) checkpoint: Checkpoint,
    /// What there is after it.
    pub(super) contents: Contents,
}

/// Groups that come, change and go; windows that open and close; now and then an image is whole.
pub(super) fn history(seed: u64, epochs: u64) -> Vec<Epoch> {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut contents = Contents::new();
    (0..epochs)
        .map(|epoch| {
            let is_whole = epoch == 0 || chance.u32(..20) == 0;
            let mut changed = Vec::new();
            if epoch > 0 {
                tables(&mut contents, epoch);
                for table in contents.keys().copied().collect::<Vec<_>>() {
                    change(&mut chance, &mut contents, table, &mut changed);
                }
            }
            if is_whole {
                changed = all(&contents);
            }
            let state = StateImage {
                is_whole,
                tables: contents.keys().copied().collect(),
                rows: changed,
                notes: vec![note(epoch)],
            };
            Epoch {
                checkpoint: checkpoint(epoch, state),
                contents: contents.clone(),
            }
        })
        .collect()
}

/// Opens and closes windows.
fn tables(contents: &mut Contents, epoch: u64) {
    let number = i64::try_from(epoch).unwrap();
    contents.entry(groups(0)).or_default();
    contents.entry(groups(1)).or_default();
    if epoch.is_multiple_of(3) {
        contents.entry(window(number)).or_default();
    }
    contents.remove(&window(number - 8));
}

type Rows = Vec<crate::types::TableRows>;

/// Changes rows of a table, in one or two batches.
fn change(chance: &mut fastrand::Rng, contents: &mut Contents, table: TableId, to: &mut Rows) {
    for _ in 0..chance.usize(0..3) {
        let mut changed = Vec::new();
        for _ in 0..chance.usize(0..5) {
            let name = chance.u32(..12);
            let key = (name > 0).then(|| format!("name {name}"));
            let value = (chance.u32(..4) > 0).then(|| chance.i64(..));
            let now = contents.get_mut(&table).unwrap();
            match value {
                Some(value) => now.insert(key.clone(), value),
                None => now.remove(&key),
            };
            changed.push((key, value));
        }
        let borrowed: Vec<_> = changed
            .iter()
            .map(|(key, v)| (key.as_deref(), *v))
            .collect();
        to.push(rows(table, &borrowed));
    }
}

fn all(contents: &Contents) -> Rows {
    let table = |(table, now): (&TableId, &std::collections::BTreeMap<_, _>)| {
        let borrowed: Vec<_> = now
            .iter()
            .map(|(key, value): (&Option<String>, &i64)| (key.as_deref(), Some(*value)))
            .collect();
        rows(*table, &borrowed)
    };
    contents.iter().map(table).collect()
}
