//! What is found in the bytes of many messages at once, a bit a byte: where the plain run of a string
//! stops, and which bytes are not ASCII.
//!
//! ```text
//! bytes   {"id":"a7","name":"Zoë"}
//! stops   010010101001000010100010
//! high    000000000000000000001100   (ë has two bytes)
//! ```
//! Looking at a block ahead costs little, and then no string has to be searched.
//! Invariant: a map has bits for each byte of the range that was looked at last, and at least 64 behind.

use std::ops::Range;

use super::simd;
use crate::types::MessageBatch;

/// Bytes that are looked at together.
const STEP: usize = 32;
/// Bits that a look at a map shows at least: eight bytes of it, begun at any bit.
const WINDOW: usize = 57;
/// Bytes of a map behind its last bit that counts.
const BEHIND: usize = 8;

/// The bits of a range of a buffer.
#[derive(Default)]
pub(super) struct Marks {
    /// The first byte of the range.
    base: usize,
    /// Quotes, backslashes and control characters.
    stops: Vec<u8>,
    /// Bytes that are not ASCII.
    high: Vec<u8>,
}

/// The bits of [`STEP`] bytes, the first one lowest: stops, and what is not ASCII.
type Bits = (u32, u32);

impl Marks {
    /// Looks at a range of a padded buffer, and forgets what it knew.
    ///
    /// # Panics
    /// When the range does not end before the buffer's padding.
    pub(super) fn look_at(&mut self, bytes: &[u8], range: Range<usize>) {
        assert!(
            range.end + MessageBatch::PADDING <= bytes.len(),
            "the buffer is padded"
        );
        self.base = range.start;
        let steps = range.len().div_ceil(STEP);
        for map in [&mut self.stops, &mut self.high] {
            map.clear();
            map.resize(steps * size_of::<u32>() + BEHIND, 0);
        }
        let (chunks, _) = bytes[range.start..].as_chunks();
        let chunks = &chunks[..steps];
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor was just asked for what it needs.
            #[expect(unsafe_code, reason = "half the steps on nearly every processor")]
            unsafe {
                self.fill_wide(chunks);
            }
            return;
        }
        self.fill(chunks, |chunk| {
            let (halves, _) = chunk.as_chunks();
            let both = |bits: fn(&[u8; 16]) -> u32| bits(&halves[0]) | (bits(&halves[1]) << 16);
            (both(simd::string_stops), both(simd::not_ascii))
        });
    }

    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[target_feature(enable = "avx2")]
    fn fill_wide(&mut self, chunks: &[[u8; STEP]]) {
        self.fill(chunks, |chunk| simd::wide_marks(chunk));
    }

    #[inline(always)]
    fn fill(&mut self, chunks: &[[u8; STEP]], bits: impl Fn(&[u8; STEP]) -> Bits) {
        let stops = self.stops.as_chunks_mut().0.iter_mut();
        let high = self.high.as_chunks_mut().0.iter_mut();
        for ((chunk, stops), high) in chunks.iter().zip(stops).zip(high) {
            let (of_stops, of_high) = bits(chunk);
            *stops = of_stops.to_le_bytes();
            *high = of_high.to_le_bytes();
        }
    }

    /// The stops alone: a loop that writes elsewhere need not look again where they lie.
    pub(super) fn stops(&self) -> Stops<'_> {
        Stops {
            base: self.base,
            map: &self.stops,
        }
    }

    /// Whether the bytes of a part of the range are ASCII.
    #[inline(always)]
    pub(super) fn is_ascii(&self, part: Range<usize>) -> bool {
        let mut seen = 0;
        let mut at = part.start;
        while at < part.end {
            // What lies behind the part falls out at the top.
            let beyond = WINDOW.saturating_sub(part.end - at) + (64 - WINDOW);
            seen |= window(&self.high, at - self.base) << beyond;
            at += WINDOW;
        }
        seen == 0
    }
}

/// Where strings may end.
#[derive(Clone, Copy)]
pub(super) struct Stops<'a> {
    base: usize,
    map: &'a [u8],
}

impl Stops<'_> {
    /// The first stop from `at` on; if there is none within [`WINDOW`] bytes, the place behind these.
    ///
    /// # Panics
    /// When `at` lies outside the range that was looked at; its end is allowed.
    #[inline(always)]
    pub(super) fn after(self, at: usize) -> usize {
        let limit = 1 << WINDOW;
        at + (window(self.map, at - self.base) | limit).trailing_zeros() as usize
    }
}

/// The bits of a map from `place` on, the first one lowest; [`WINDOW`] of them count.
#[inline(always)]
fn window(map: &[u8], place: usize) -> u64 {
    let bytes = map[place / 8..].first_chunk().expect("maps reach further");
    u64::from_le_bytes(*bytes) >> (place % 8)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{Marks, MessageBatch, WINDOW};

    /// Marks of a part of these bytes.
    fn marks(bytes: &[u8], start: usize) -> (Marks, Vec<u8>) {
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len() + MessageBatch::PADDING, b'"');
        let mut marks = Marks::default();
        // What it saw before must not matter.
        marks.look_at(&padded, 0..bytes.len());
        marks.look_at(&padded, start..bytes.len());
        (marks, padded)
    }

    proptest! {
        #[test]
        fn a_stop_is_the_first_quote_backslash_or_control_character(
            bytes in vec(any::<u8>(), 0..300), start in 0usize..300, plain in any::<bool>(),
        ) {
            let letter = |byte: &u8| if byte.is_multiple_of(50) { *byte } else { b'x' };
            let bytes: Vec<u8> = if plain { bytes.iter().map(letter).collect() } else { bytes };
            let start = start.min(bytes.len());
            let (marks, padded) = marks(&bytes, start);
            for at in start..=bytes.len() {
                let stops = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
                let found = padded[at..].iter().position(stops).unwrap_or(WINDOW);
                let seen = marks.stops().after(at);
                // Behind the range either is true.
                if seen <= bytes.len() || at + found < bytes.len() {
                    prop_assert_eq!(seen, at + found.min(WINDOW), "from {}", at);
                }
            }
        }

        #[test]
        fn only_the_bytes_of_a_part_have_to_be_ascii(
            len in 0usize..200, high in vec(0usize..200, 0..3), start in 0usize..200, end in 0usize..200,
        ) {
            let mut bytes = vec![b'a'; len];
            for place in high {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = 0x80;
                }
            }
            let (start, end) = (start.min(len), end.min(len));
            let (marks, _) = marks(&bytes, start / 2);
            let part = start..end.max(start);
            prop_assert_eq!(marks.is_ascii(part.clone()), bytes[part].is_ascii());
        }
    }
}
