//! Buffers of answers, used again once nobody refers to what was in them: fresh memory of the system costs
//! as much as reading the answer into it.
//!
//! Invariant: a buffer is spare only after its last reader has let go of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arrow::buffer::Buffer;
use bytes::Bytes;

/// Buffers that are kept for later.
const KEPT_MAX: usize = 4;
/// Smaller ones are cheap to make, larger ones too much to keep. Bytes.
const KEPT_BYTES: std::ops::RangeInclusive<usize> = 64 << 10..=4 << 20;

/// The spare buffers of a reader.
#[derive(Debug, Clone, Default)]
pub(super) struct Spares(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer that is read, and where it goes afterwards.
struct Lent {
    bytes: Vec<u8>,
    home: Weak<Mutex<Vec<Vec<u8>>>>,
}

impl Spares {
    /// An empty buffer with room for so many bytes.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut spares = lock(&self.0);
        if bytes < *KEPT_BYTES.start() {
            // Little comes: memory for much is not needed.
            spares.clear();
            return Vec::with_capacity(bytes);
        }
        let fits = spares.iter().position(|spare| spare.capacity() >= bytes);
        let spare = fits.map(|place| spares.swap_remove(place));
        spare.unwrap_or_else(|| Vec::with_capacity(bytes))
    }

    /// Lets a buffer be read; it comes back when that is over.
    pub(super) fn lend(&self, bytes: Vec<u8>) -> Buffer {
        let home = Arc::downgrade(&self.0);
        Buffer::from(Bytes::from_owner(Lent { bytes, home }))
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else {
            return;
        };
        let mut spares = lock(&home);
        if spares.len() < KEPT_MAX && KEPT_BYTES.contains(&self.bytes.capacity()) {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            spares.push(bytes);
        }
    }
}

fn lock(spares: &Mutex<Vec<Vec<u8>>>) -> MutexGuard<'_, Vec<Vec<u8>>> {
    spares.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_reader_is_gone() {
        let spares = Spares::default();
        let mut bytes = spares.take(100_000);
        bytes.extend_from_slice(b"rows");
        let place = bytes.as_ptr();
        let lent = spares.lend(bytes);
        let part = lent.slice(1);
        drop(lent);
        let other = spares.take(100_000);
        assert_ne!(other.as_ptr(), place, "it is read still");
        assert_eq!(part.as_slice(), b"ows");
        drop(part);
        let again = spares.take(90_000);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn only_a_few_of_a_useful_size_are_kept() {
        let spares = Spares::default();
        let lent: Vec<Buffer> = (0..10).map(|_| spares.lend(spares.take(70_000))).collect();
        drop(lent);
        drop(spares.lend(Vec::with_capacity(5 << 20)));
        assert_eq!(lock(&spares.0).len(), KEPT_MAX);
        spares.take(10);
        assert_eq!(lock(&spares.0).len(), 0, "little comes");
    }
}
