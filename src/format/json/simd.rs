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

/// A bit for each byte, lowest first: set for one that is not ASCII.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[expect(unsafe_code, reason = "vector intrinsics")]
#[inline(always)]
pub(super) fn not_ascii(chunk: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_movemask_epi8};
    // SAFETY: as above.
    unsafe { _mm_movemask_epi8(_mm_loadu_si128(chunk.as_ptr().cast::<__m128i>())).cast_unsigned() }
}

/// A bit for each byte, lowest first: set for one that is not ASCII.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
pub(super) fn not_ascii(chunk: &[u8; 16]) -> u32 {
    portable_not_ascii(chunk)
}

/// [`string_stops`] and [`not_ascii`] of twice as many bytes.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[expect(unsafe_code, reason = "vector intrinsics")]
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn wide_marks(chunk: &[u8; 32]) -> (u32, u32) {
    use std::arch::x86_64::{
        __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8,
        _mm256_or_si256, _mm256_set1_epi8,
    };
    // SAFETY: the load reads the 32 bytes that `chunk` borrows and needs no alignment.
    let bytes = unsafe { _mm256_loadu_si256(chunk.as_ptr().cast::<__m256i>()) };
    let quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x22));
    let backslash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x5c));
    let control = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
    let stops = _mm256_or_si256(_mm256_or_si256(quote, backslash), control);
    (
        _mm256_movemask_epi8(stops).cast_unsigned(),
        _mm256_movemask_epi8(bytes).cast_unsigned(),
    )
}

/// Whether the bytes that `mask` lets through are those of `head`, which has zeros elsewhere.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[expect(unsafe_code, reason = "vector intrinsics; once for each member")]
#[inline(always)]
pub(super) fn is_masked(chunk: &[u8; 16], mask: &[u8; 16], head: &[u8; 16]) -> bool {
    use std::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8,
    };
    let load = |bytes: &[u8; 16]| {
        // SAFETY: as above.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast::<__m128i>()) }
    };
    let (chunk, mask, head) = (load(chunk), load(mask), load(head));
    // SAFETY: as above; these touch no memory.
    unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_and_si128(chunk, mask), head)) == 0xffff }
}

/// Whether the bytes that `mask` lets through are those of `head`, which has zeros elsewhere.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
pub(super) fn is_masked(chunk: &[u8; 16], mask: &[u8; 16], head: &[u8; 16]) -> bool {
    u128::from_le_bytes(*chunk) & u128::from_le_bytes(*mask) == u128::from_le_bytes(*head)
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

#[cfg(any(test, miri, not(target_arch = "x86_64")))]
fn portable_not_ascii(chunk: &[u8; 16]) -> u32 {
    mask_of(chunk, |word| word & 0x8080_8080_8080_8080)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{
        digits, is_masked, not_ascii, points, portable_digits, portable_not_ascii, portable_points,
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
        let high = one_by_one(chunk, |byte| !byte.is_ascii());
        assert_eq!(not_ascii(chunk), high, "not ASCII of {chunk:?}");
        assert_eq!(
            portable_not_ascii(chunk),
            high,
            "not ASCII of {chunk:?}, portable"
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
    fn only_the_bytes_under_a_mask_are_compared() {
        let chunk = b"plain text, long";
        for len in 0..=16 {
            let (mut mask, mut head) = ([0; 16], [0; 16]);
            mask[..len].fill(0xff);
            head[..len].copy_from_slice(&chunk[..len]);
            assert!(is_masked(chunk, &mask, &head), "{len} bytes");
            for place in 0..16 {
                let mut other = *chunk;
                other[place] ^= 1;
                let same = is_masked(&other, &mask, &head);
                assert_eq!(same, place >= len, "byte {place}, {len} bytes");
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
