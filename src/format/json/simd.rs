//! The steps of scanning that are worth the processor's vector instructions: which of sixteen bytes
//! are of a kind.
//!
//! Both variants answer the same questions; the portable one serves every other processor and Miri.

/// A bit for each byte, lowest first: set where the plain run of a JSON string ends, that is at a
/// quote, a backslash or a control character.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[expect(
    unsafe_code,
    reason = "vector intrinsics; a third of the tokenizer's time without them"
)]
#[inline(always)]
pub(super) fn string_stops(chunk: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };
    // SAFETY: SSE2 belongs to every x86_64 processor. The one load reads the 16 bytes that `chunk`
    // borrows and needs no alignment.
    unsafe {
        let bytes = _mm_loadu_si128(chunk.as_ptr().cast::<__m128i>());
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x22));
        let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x5c));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        let stops = _mm_or_si128(_mm_or_si128(quote, backslash), control);
        _mm_movemask_epi8(stops).cast_unsigned()
    }
}

/// A bit for each byte, lowest first: set where the plain run of a JSON string ends, that is at a
/// quote, a backslash or a control character.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
pub(super) fn string_stops(chunk: &[u8; 16]) -> u32 {
    portable_string_stops(chunk)
}

/// A bit for each byte, lowest first: set for a decimal point.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[expect(unsafe_code, reason = "vector intrinsics")]
#[inline(always)]
pub(super) fn points(chunk: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8,
    };
    // SAFETY: as above.
    unsafe {
        let bytes = _mm_loadu_si128(chunk.as_ptr().cast::<__m128i>());
        _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x2e))).cast_unsigned()
    }
}

/// A bit for each byte, lowest first: set for a decimal point.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
pub(super) fn points(chunk: &[u8; 16]) -> u32 {
    portable_points(chunk)
}

/// A bit for each byte, lowest first: set for a decimal digit.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[expect(unsafe_code, reason = "vector intrinsics")]
#[inline(always)]
pub(super) fn digits(chunk: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_set1_epi8,
        _mm_sub_epi8,
    };
    // SAFETY: as above.
    unsafe {
        let bytes = _mm_loadu_si128(chunk.as_ptr().cast::<__m128i>());
        let values = _mm_sub_epi8(bytes, _mm_set1_epi8(0x30));
        let low = _mm_min_epu8(values, _mm_set1_epi8(9));
        _mm_movemask_epi8(_mm_cmpeq_epi8(low, values)).cast_unsigned()
    }
}

/// A bit for each byte, lowest first: set for a decimal digit.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
pub(super) fn digits(chunk: &[u8; 16]) -> u32 {
    portable_digits(chunk)
}

/// Whether the bytes from `start` to `end` are ASCII; as many as [`ASCII_BLOCK`] can be read from `end` on.
///
/// Plain words, of which the compiler makes vectors: for messages of usual length faster than the standard library,
/// which looks at the last bytes one by one.
#[inline(always)]
pub(super) fn is_ascii(bytes: &[u8], start: usize, end: usize) -> bool {
    const TOP_BITS: u64 = 0x8080_8080_8080_8080;
    let mut seen = [0; ASCII_BLOCK / 8];
    let mut at = start;
    while at + ASCII_BLOCK <= end {
        let block = words(bytes, at);
        for (seen, word) in seen.iter_mut().zip(block) {
            *seen |= word;
        }
        at += ASCII_BLOCK;
    }
    for (place, (seen, word)) in seen.iter_mut().zip(words(bytes, at)).enumerate() {
        // What lies beyond the end does not count.
        let within = match (end - at).saturating_sub(8 * place) {
            left @ 0..8 => (1 << (8 * left)) - 1,
            _ => u64::MAX,
        };
        *seen |= word & within;
    }
    seen.iter().fold(0, |all, seen| all | seen) & TOP_BITS == 0
}

/// Bytes that [`is_ascii`] looks at together.
const ASCII_BLOCK: usize = 32;

#[inline(always)]
fn words(bytes: &[u8], at: usize) -> [u64; ASCII_BLOCK / 8] {
    let block: &[u8; ASCII_BLOCK] = bytes[at..].first_chunk().expect("the buffer is padded");
    let (words, _) = block.as_chunks();
    std::array::from_fn(|place| u64::from_le_bytes(words[place]))
}

/// The top bit of each byte that is zero; exact, no carry crosses bytes.
#[cfg(any(test, miri, not(target_arch = "x86_64")))]
fn zero_bytes(word: u64) -> u64 {
    const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    !(((word & LOW_BITS) + LOW_BITS) | word | LOW_BITS)
}

/// Eight bytes at a time in ordinary registers: the mask of `stops`, which sets top bits of bytes.
#[cfg(any(test, miri, not(target_arch = "x86_64")))]
fn mask_of(chunk: &[u8; 16], stops: impl Fn(u64) -> u64) -> u32 {
    let half = |bytes: &[u8]| -> u32 {
        let word = u64::from_le_bytes(bytes.try_into().expect("half of sixteen is eight"));
        // Gathers the eight top bits into the highest byte.
        u32::from(((stops(word) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8)
    };
    half(&chunk[..8]) | (half(&chunk[8..]) << 8)
}

#[cfg(any(test, miri, not(target_arch = "x86_64")))]
fn portable_points(chunk: &[u8; 16]) -> u32 {
    mask_of(chunk, |word| zero_bytes(word ^ 0x2e2e_2e2e_2e2e_2e2e))
}

#[cfg(any(test, miri, not(target_arch = "x86_64")))]
fn portable_digits(chunk: &[u8; 16]) -> u32 {
    mask_of(chunk, |word| {
        let values = word ^ 0x3030_3030_3030_3030;
        let others = ((values & 0x7f7f_7f7f_7f7f_7f7f) + 0x7676_7676_7676_7676) | values;
        !others & 0x8080_8080_8080_8080
    })
}

#[cfg(any(test, miri, not(target_arch = "x86_64")))]
fn portable_string_stops(chunk: &[u8; 16]) -> u32 {
    mask_of(chunk, |word| {
        zero_bytes(word ^ 0x2222_2222_2222_2222)
            | zero_bytes(word ^ 0x5c5c_5c5c_5c5c_5c5c)
            | zero_bytes(word & 0xe0e0_e0e0_e0e0_e0e0)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{
        ASCII_BLOCK, digits, is_ascii, points, portable_digits, portable_points,
        portable_string_stops, string_stops,
    };

    fn one_by_one(chunk: &[u8; 16], of_kind: impl Fn(u8) -> bool) -> u32 {
        (0..16).fold(0, |mask, k| mask | (u32::from(of_kind(chunk[k])) << k))
    }

    fn check(chunk: &[u8; 16]) {
        let stops = one_by_one(chunk, |byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
        assert_eq!(string_stops(chunk), stops, "stops of {chunk:?}");
        assert_eq!(
            portable_string_stops(chunk),
            stops,
            "stops of {chunk:?}, portable"
        );
        let dots = one_by_one(chunk, |byte| byte == b'.');
        assert_eq!(points(chunk), dots, "points of {chunk:?}");
        assert_eq!(
            portable_points(chunk),
            dots,
            "points of {chunk:?}, portable"
        );
        let decimals = one_by_one(chunk, |byte| byte.is_ascii_digit());
        assert_eq!(digits(chunk), decimals, "digits of {chunk:?}");
        assert_eq!(
            portable_digits(chunk),
            decimals,
            "digits of {chunk:?}, portable"
        );
    }

    #[test]
    fn every_byte_is_judged_alike_in_every_place() {
        for byte in 0..=255u8 {
            for place in 0..16 {
                let mut chunk = *b"plain text, long";
                chunk[place] = byte;
                check(&chunk);
            }
        }
    }

    #[test]
    fn only_what_lies_between_two_places_has_to_be_ascii() {
        for len in 0..3 * ASCII_BLOCK {
            for start in [0, 1, 7, 40] {
                let mut bytes = vec![0xff; start + len + ASCII_BLOCK];
                bytes[start..start + len].fill(0x7f);
                assert!(is_ascii(&bytes, start, start + len), "{len} bytes");
                for place in start..start + len {
                    bytes[place] = 0x80;
                    let (at, end) = (place - start, start + len);
                    assert!(!is_ascii(&bytes, start, end), "byte {at} of {len}");
                    bytes[place] = 0x7f;
                }
            }
        }
    }

    proptest! {
        #[test]
        fn both_variants_agree_with_the_definition(chunk in any::<[u8; 16]>()) {
            check(&chunk);
        }
    }
}
