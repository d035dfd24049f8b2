//! Byte strings, numbered in the order in which they first came: a hash table of ours over one arena.
//!
//! ```text
//! slots   tag|1   ·   tag|3   tag|2   ·   ·      the tag of a key's hash, and its number + 1
//! arena   BTC ETH DOGE                           a key after the other
//! ```
//! Open addressing with linear probing (Knuth, "The Art of Computer Programming" 3, 6.4, algorithms
//! L and R). Keys come many at a time: first the slots of all are loaded, one not waiting for the
//! other, then the keys are compared; with many keys memory is what a row waits for.
//! Invariant: a key that was not removed is in exactly one slot, and every slot between its home and
//! that one is taken.

use ahash::RandomState;

/// Keys that are looked up together; a table has room for so many more before they come.
const TOGETHER: usize = 128;
/// Keys that a small table has.
const FEW_KEYS: usize = 32;
/// Less garbage than this is not worth moving keys for.
const DEAD_BYTES_MIN: usize = 64 << 10;

/// Numbered byte strings.
#[derive(Clone)]
pub(super) struct Interner {
    /// The low half is the number + 1, or 0 for a free slot; the high half is the tag.
    slots: Vec<u64>,
    arena: Vec<u8>,
    places: Places,
    /// Numbers of removed keys.
    free: Vec<u32>,
    /// Bytes of removed keys that are still in the arena.
    dead_bytes: usize,
    hasher: RandomState,
}

/// Where each key lies in the arena.
#[derive(Clone)]
enum Places {
    /// All keys are as long as the first.
    Fixed {
        width: usize,
        count: usize,
    },
    Varying(Vec<Place>),
}

#[derive(Clone, Copy)]
struct Place {
    start: usize,
    len: u32,
}

impl Interner {
    /// No keys yet. With `fixed_width` all keys that will come are of one length, above zero.
    pub(super) fn new(fixed_width: bool) -> Self {
        let places = match fixed_width {
            true => Places::Fixed { width: 0, count: 0 },
            false => Places::Varying(Vec::new()),
        };
        Self {
            slots: Vec::new(),
            arena: Vec::new(),
            places,
            free: Vec::new(),
            dead_bytes: 0,
            // Numbers come in the order of arrival, never in the order of hashes.
            hasher: RandomState::with_seeds(1, 2, 3, 4),
        }
    }

    /// One more than the greatest number.
    pub(super) fn len(&self) -> usize {
        match &self.places {
            Places::Fixed { count, .. } => *count,
            Places::Varying(places) => places.len(),
        }
    }

    /// The number of keys that were not removed.
    pub(super) fn live(&self) -> usize {
        self.len() - self.free.len()
    }

    /// A key.
    pub(super) fn bytes(&self, number: usize) -> &[u8] {
        match &self.places {
            Places::Fixed { width, .. } => &self.arena[number * width..(number + 1) * width],
            Places::Varying(places) => {
                let Place { start, len } = places[number];
                &self.arena[start..start + len as usize]
            }
        }
    }

    /// Writes the numbers of `count` keys behind those in `numbers`.
    pub(super) fn intern<'a>(
        &mut self,
        count: usize,
        key: impl Fn(usize) -> &'a [u8],
        numbers: &mut Vec<usize>,
    ) {
        let mut tags = [0u32; TOGETHER];
        let mut seen = [0u64; TOGETHER];
        for first in (0..count).step_by(TOGETHER) {
            let together = TOGETHER.min(count - first);
            self.make_room();
            let mask = self.mask();
            for (offset, tag) in tags[..together].iter_mut().enumerate() {
                *tag = self.tag(key(first + offset));
            }
            for (seen, tag) in seen.iter_mut().zip(&tags[..together]) {
                *seen = self.slots[*tag as usize & mask];
            }
            for offset in 0..together {
                let (bytes, tag) = (key(first + offset), tags[offset]);
                numbers.push(match self.is(seen[offset], tag, bytes) {
                    true => number_of(seen[offset]),
                    false => self.find_or_insert(bytes, tag),
                });
            }
        }
    }

    /// Forgets a key; its number goes to a later one.
    pub(super) fn remove(&mut self, number: usize) {
        let tag = self.tag(self.bytes(number));
        let mask = self.mask();
        let mut at = tag as usize & mask;
        while self.slots[at] != slot(tag, number) {
            if self.slots[at] == 0 {
                return;
            }
            at = (at + 1) & mask;
        }
        self.close_gap(at);
        self.release(number);
    }

    /// Lets a later key have a number.
    fn release(&mut self, number: usize) {
        if let Places::Varying(places) = &mut self.places {
            self.dead_bytes += places[number].len as usize;
            places[number].len = 0;
        }
        let number = u32::try_from(number).expect("it was given as one");
        self.free.push(number);
        if self.dead_bytes > DEAD_BYTES_MIN && self.dead_bytes * 2 > self.arena.len() {
            self.compact();
        }
    }

    /// Gives a key a number under which no bytes are found.
    pub(super) fn add_hidden(&mut self, key: &[u8]) -> usize {
        self.add(key)
    }

    /// The same as [`Self::remove`] for such a key.
    pub(super) fn remove_hidden(&mut self, number: usize) {
        self.release(number);
    }

    /// Memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        let places = match &self.places {
            Places::Fixed { .. } => 0,
            Places::Varying(places) => places.capacity() * size_of::<Place>(),
        };
        self.arena.capacity()
            + places
            + self.free.capacity() * size_of::<u32>()
            + self.slots.capacity() * size_of::<u64>()
    }

    #[expect(clippy::cast_possible_truncation, reason = "half of a hash is one too")]
    fn tag(&self, key: &[u8]) -> u32 {
        match <[u8; 8]>::try_from(key) {
            Ok(eight) => folded(u64::from_ne_bytes(eight)) as u32,
            Err(_) => self.hasher.hash_one(key) as u32,
        }
    }

    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    /// Whether a slot holds this key.
    fn is(&self, slot: u64, tag: u32, key: &[u8]) -> bool {
        slot != 0 && tag_of(slot) == tag && is_same(self.bytes(number_of(slot)), key)
    }

    fn find_or_insert(&mut self, key: &[u8], tag: u32) -> usize {
        let mask = self.mask();
        let mut at = tag as usize & mask;
        while self.slots[at] != 0 {
            if self.is(self.slots[at], tag, key) {
                return number_of(self.slots[at]);
            }
            at = (at + 1) & mask;
        }
        let number = self.add(key);
        self.slots[at] = slot(tag, number);
        number
    }

    /// Puts a new key into the arena.
    fn add(&mut self, key: &[u8]) -> usize {
        let free = self.free.pop().map(|number| number as usize);
        match &mut self.places {
            Places::Fixed { width, count } => {
                if *count == 0 {
                    *width = key.len();
                }
                assert_eq!(*width, key.len(), "keys of one width differ in length");
                if let Some(number) = free {
                    self.arena[number * *width..(number + 1) * *width].copy_from_slice(key);
                    return number;
                }
                self.arena.extend_from_slice(key);
                *count += 1;
                *count - 1
            }
            Places::Varying(places) => {
                let place = Place {
                    start: self.arena.len(),
                    len: u32::try_from(key.len()).expect("a message is shorter than 4 GiB"),
                };
                self.arena.extend_from_slice(key);
                match free {
                    Some(number) => {
                        places[number] = place;
                        number
                    }
                    None => {
                        places.push(place);
                        places.len() - 1
                    }
                }
            }
        }
    }

    /// Sees to it that the keys to come leave a quarter of the slots free.
    fn make_room(&mut self) {
        let wanted = (self.live() + TOGETHER) * 4 / 3;
        if wanted <= self.slots.len() {
            return;
        }
        if let Places::Varying(places) = &mut self.places {
            // Many tables live for a batch only: theirs grow once in place of many times.
            places.reserve(FEW_KEYS);
            self.arena.reserve(FEW_KEYS * size_of::<u64>());
        }
        let grown = vec![0; wanted.next_power_of_two()];
        let old = std::mem::replace(&mut self.slots, grown);
        let mask = self.mask();
        for slot in old.into_iter().filter(|slot| *slot != 0) {
            let mut at = tag_of(slot) as usize & mask;
            while self.slots[at] != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = slot;
        }
    }

    /// Empties a slot; later ones that had to pass it move up.
    fn close_gap(&mut self, mut gap: usize) {
        let mask = self.mask();
        let mut at = (gap + 1) & mask;
        while self.slots[at] != 0 {
            let home = tag_of(self.slots[at]) as usize & mask;
            let from = |start: usize| at.wrapping_sub(start) & mask;
            if from(home) >= from(gap) {
                self.slots[gap] = self.slots[at];
                gap = at;
            }
            at = (at + 1) & mask;
        }
        self.slots[gap] = 0;
    }

    fn compact(&mut self) {
        let Places::Varying(places) = &mut self.places else {
            return;
        };
        let mut arena = Vec::with_capacity(self.arena.len() - self.dead_bytes);
        for place in places {
            let start = arena.len();
            arena.extend_from_slice(&self.arena[place.start..place.start + place.len as usize]);
            place.start = start;
        }
        self.arena = arena;
        self.dead_bytes = 0;
    }
}

/// The hash of eight bytes: both halves of a product, as ahash folds them.
fn folded(key: u64) -> u64 {
    let product = u128::from(key ^ 0x243F_6A88_85A3_08D3) * 0x5851_F42D_4C95_7F2D;
    #[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
    let halves = (product as u64, (product >> 64) as u64);
    halves.0 ^ halves.1
}

/// Whether two keys are the same; eight bytes are compared without a call.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    match (<[u8; 8]>::try_from(one), <[u8; 8]>::try_from(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

fn slot(tag: u32, number: usize) -> u64 {
    let number =
        u32::try_from(number + 1).expect("the memory budget ends a query before 2^32 keys");
    u64::from(tag) << 32 | u64::from(number)
}

fn tag_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
fn number_of(slot: u64) -> usize {
    slot as u32 as usize - 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{Strategy, prop, proptest};

    use super::*;

    /// A key, and whether it is removed rather than interned.
    fn steps() -> impl Strategy<Value = Vec<(u16, bool)>> {
        prop::collection::vec((0u16..600, prop::bool::weighted(0.4)), 0..2_000)
    }

    /// The same steps on an interner and on a map of std, one key at a time.
    fn agrees(fixed_width: bool, key: fn(u16) -> Vec<u8>, steps: &[(u16, bool)]) {
        let mut interner = Interner::new(fixed_width);
        let mut known: BTreeMap<u16, usize> = BTreeMap::new();
        for &(step, removes) in steps {
            if removes {
                if let Some(number) = known.remove(&step) {
                    interner.remove(number);
                }
                continue;
            }
            let bytes = key(step);
            let mut numbers = Vec::new();
            interner.intern(2, |_| &bytes, &mut numbers);
            assert_eq!(numbers[0], numbers[1]);
            let number = *known.entry(step).or_insert(numbers[0]);
            assert_eq!(number, numbers[0], "a known key keeps its number");
        }
        assert_eq!(interner.live(), known.len());
        for (step, number) in known {
            assert_eq!(interner.bytes(number), key(step));
        }
    }

    proptest! {
        #[test]
        fn keys_keep_their_numbers_whatever_comes_and_goes(steps in steps()) {
            agrees(true, |step| step.to_be_bytes().to_vec(), &steps);
            agrees(false, |step| vec![b'x'; step as usize], &steps);
        }
    }

    #[test]
    fn many_keys_at_a_time_get_the_numbers_that_one_at_a_time_would() {
        let keys: Vec<[u8; 8]> = (0..50_000u64)
            .map(|n| (n * n % 9_973).to_be_bytes())
            .collect();
        let mut together = Interner::new(true);
        let (mut numbers, mut single) = (Vec::new(), Vec::new());
        together.intern(keys.len(), |at| &keys[at], &mut numbers);
        let mut alone = Interner::new(true);
        for key in &keys {
            alone.intern(1, |_| key, &mut single);
        }
        assert_eq!(numbers, single);
        assert!(
            numbers
                .iter()
                .zip(&keys)
                .all(|(n, key)| together.bytes(*n) == key)
        );
    }
}
