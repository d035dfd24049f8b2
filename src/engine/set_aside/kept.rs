//! What is kept, by key and by age, and what of that the disk does not have yet.
//!
//! ```text
//! by_key   key ─► number          a number is given once and tells the age
//! entries  number ─► key, size    all that is kept
//! pending  number ─► value        those of them that the disk does not have as they are
//! gone     number                 those that the disk has to forget
//! ```
//! Invariant: never more than the bounds are kept; the oldest go first. What came and went between two
//! visits of the disk leaves nothing behind, so that memory stays flat however many come.

use std::collections::BTreeMap;

/// Bytes kept of each kind.
pub(super) const KEPT_BYTES_MAX: usize = 64 << 20;

/// Values by key, in order of arrival, within bounds.
#[derive(Debug)]
pub(super) struct Kept<K, V> {
    by_key: BTreeMap<K, u64>,
    entries: BTreeMap<u64, Entry<K>>,
    bytes: usize,
    /// The oldest go when there are more.
    rows_max: usize,
    bytes_max: usize,
    next: u64,
    pending: BTreeMap<u64, V>,
    gone: Vec<u64>,
}

#[derive(Debug)]
struct Entry<K> {
    key: K,
    bytes: usize,
    on_disk: bool,
}

impl<K: Ord + Clone, V> Kept<K, V> {
    /// Nothing is kept yet.
    pub(super) fn new(rows_max: usize, bytes_max: usize) -> Self {
        Self {
            by_key: BTreeMap::new(),
            entries: BTreeMap::new(),
            bytes: 0,
            rows_max,
            bytes_max,
            next: 0,
            pending: BTreeMap::new(),
            gone: Vec::new(),
        }
    }

    /// Takes note of what the disk has, in the order of its numbers.
    pub(super) fn loaded(&mut self, number: u64, key: K, bytes: usize) {
        self.next = self.next.max(number + 1);
        self.by_key.insert(key.clone(), number);
        self.bytes += bytes;
        let on_disk = true;
        self.entries.insert(
            number,
            Entry {
                key,
                bytes,
                on_disk,
            },
        );
        drop(self.evict());
    }

    /// Keeps a value unless its key is there already: whether it was new, and what went for it.
    pub(super) fn keep(
        &mut self,
        key: K,
        bytes: usize,
        value: impl FnOnce() -> V,
    ) -> (bool, Vec<u64>) {
        if self.by_key.contains_key(&key) {
            return (false, Vec::new());
        }
        let number = self.next;
        self.next += 1;
        self.by_key.insert(key.clone(), number);
        self.pending.insert(number, value());
        self.bytes += bytes;
        let on_disk = false;
        self.entries.insert(
            number,
            Entry {
                key,
                bytes,
                on_disk,
            },
        );
        (true, self.evict())
    }

    fn evict(&mut self) -> Vec<u64> {
        let mut gone = Vec::new();
        while self.entries.len() > self.rows_max || self.bytes > self.bytes_max {
            let Some((&oldest, _)) = self.entries.first_key_value() else {
                break;
            };
            self.forget(oldest);
            gone.push(oldest);
        }
        gone
    }

    /// Another value for one that is kept.
    pub(super) fn replace(&mut self, number: u64, bytes: usize, value: V) {
        if let Some(entry) = self.entries.get_mut(&number) {
            self.bytes = self.bytes - entry.bytes + bytes;
            entry.bytes = bytes;
            self.pending.insert(number, value);
        }
    }

    /// The number of a key that is kept.
    pub(super) fn number(&self, key: &K) -> Option<u64> {
        self.by_key.get(key).copied()
    }

    /// The key of one that is kept.
    pub(super) fn key(&self, number: u64) -> Option<&K> {
        self.entries.get(&number).map(|entry| &entry.key)
    }

    /// Forgets one.
    pub(super) fn forget(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else {
            return;
        };
        self.by_key.remove(&entry.key);
        self.bytes -= entry.bytes;
        self.pending.remove(&number);
        if entry.on_disk {
            self.gone.push(number);
        }
    }

    /// Forgets those whose key is not wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(&K) -> bool) {
        let unwanted = self.entries.iter().filter(|(_, entry)| !wanted(&entry.key));
        let unwanted: Vec<u64> = unwanted.map(|(number, _)| *number).collect();
        for number in unwanted {
            self.forget(number);
        }
    }

    /// The numbers, by key.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.by_key.values().copied()
    }

    /// A value that the disk does not have as it is.
    pub(super) fn pending(&self, number: u64) -> Option<&V> {
        self.pending.get(&number)
    }

    /// What the disk has to take.
    pub(super) fn to_write(&self) -> impl Iterator<Item = (u64, &V)> + '_ {
        self.pending.iter().map(|(number, value)| (*number, value))
    }

    /// What the disk has to forget.
    pub(super) fn to_forget(&self) -> &[u64] {
        &self.gone
    }

    /// True if the disk has something to do.
    pub(super) fn is_behind(&self) -> bool {
        !self.pending.is_empty() || !self.gone.is_empty()
    }

    /// The disk has all of it.
    pub(super) fn written(&mut self) {
        for number in std::mem::take(&mut self.pending).into_keys() {
            if let Some(entry) = self.entries.get_mut(&number) {
                entry.on_disk = true;
            }
        }
        self.gone = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::Kept;

    fn numbers(kept: &Kept<u32, u32>) -> Vec<u64> {
        kept.numbers().collect()
    }

    #[test]
    fn the_oldest_go_by_number_and_by_bytes() {
        let mut kept = Kept::new(3, 100);
        for key in 0..5_u32 {
            assert!(kept.keep(key, 10, || key).0);
        }
        assert_eq!(numbers(&kept), [2, 3, 4]);
        assert!(!kept.keep(4, 10, || 4).0, "it is there");
        assert_eq!(kept.keep(9, 85, || 9), (true, vec![2, 3]));
        assert_eq!(numbers(&kept), [4, 5], "95 bytes are left");
        assert!(kept.keep(0, 10, || 0).0, "what went is new again");
    }

    #[test]
    fn what_came_and_went_between_two_visits_of_the_disk_leaves_nothing() {
        let mut kept = Kept::new(3, usize::MAX);
        for key in 0..100_000_u32 {
            kept.keep(key, 1, || key);
        }
        assert_eq!(kept.to_write().count(), 3);
        assert!(kept.to_forget().is_empty(), "the disk had none of them");
        kept.written();
        assert!(!kept.is_behind());
        kept.keep(100_000, 1, || 0);
        assert_eq!(kept.to_forget(), [99_997]);
        assert_eq!(kept.to_write().count(), 1);
    }

    #[test]
    fn what_the_disk_has_counts_and_numbers_go_on_after_it() {
        let mut kept = Kept::new(2, usize::MAX);
        for number in 7..10 {
            kept.loaded(number, u32::try_from(number).unwrap(), 1);
        }
        assert_eq!(kept.to_forget(), [7], "the bound may be lower than it was");
        assert!(!kept.keep(9, 1, || 0).0);
        assert!(kept.keep(1, 1, || 0).0);
        assert_eq!(numbers(&kept), [10, 9], "by key");
        kept.retain(|key| *key == 1);
        assert_eq!(kept.to_forget(), [7, 8, 9]);
    }
}
