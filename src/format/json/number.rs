//! Decimal text to numbers, exactly.
//!
//! Owns the reading of digits. What is accepted: a sign, digits with a point anywhere among them,
//! an exponent; white space around it. That is what PostgreSQL reads from text, and more than JSON.

use super::simd::points;

/// A decimal number in its written parts: `(-)integer.fraction × 10^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DecimalText<'a> {
    negative: bool,
    integer: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
}

/// A number times a power of ten, as a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scaled {
    /// Rounded half away from zero.
    pub(super) value: i128,
    /// False if digits were lost.
    pub(super) exact: bool,
}

/// Beyond this every exponent means the same: zero, or out of range.
const EXPONENT_MAX: i32 = 1 << 27;

impl<'a> DecimalText<'a> {
    /// The parts of a number; `None` if the text is none.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let (negative, rest) = match text.first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (integer, rest) = rest.split_at(digits(rest));
        let (fraction, rest) = match rest.first() {
            Some(b'.') => rest[1..].split_at(digits(&rest[1..])),
            _ => (&rest[..0], rest),
        };
        if integer.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', b'-', digits @ ..] => -parse_exponent(digits)?,
            [b'e' | b'E', b'+', digits @ ..] | [b'e' | b'E', digits @ ..] => {
                parse_exponent(digits)?
            }
            _ => return None,
        };
        Some(Self {
            negative,
            integer,
            fraction,
            exponent,
        })
    }

    /// The number times `10^scale`; `None` if it does not fit 128 bits.
    pub(super) fn scaled(self, scale: i32) -> Option<Scaled> {
        let digits = self.integer.len() + self.fraction.len();
        // The last written digit's place, counted from the last wanted one.
        let fraction = i32::try_from(self.fraction.len()).ok()?;
        let shift = self.exponent - fraction + scale;
        let dropped = usize::try_from(-shift).unwrap_or(0);
        let kept = digits.saturating_sub(dropped);
        let mut value = 0i128;
        for digit in self.digits().take(kept) {
            value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
        }
        if shift > 0 && value != 0 {
            value = value.checked_mul(10i128.checked_pow(shift.cast_unsigned())?)?;
        }
        // The first dropped digit decides; it is a zero if the number lies wholly below it.
        if dropped <= digits && self.digits().nth(kept).is_some_and(|digit| digit >= 5) {
            value = value.checked_add(1)?;
        }
        let exact = self.digits().skip(kept).all(|digit| digit == 0);
        Some(Scaled {
            value: if self.negative { -value } else { value },
            exact,
        })
    }

    fn digits(self) -> impl Iterator<Item = u8> + 'a {
        self.integer
            .iter()
            .chain(self.fraction)
            .map(|digit| digit - b'0')
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len())
}

fn parse_exponent(text: &[u8]) -> Option<i32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0i32, |exponent, byte| {
        let digit = byte.is_ascii_digit().then(|| i32::from(byte - b'0'))?;
        Some((exponent * 10 + digit).min(EXPONENT_MAX))
    })
}

/// Powers of ten that a double holds exactly and that this room needs.
const POWERS: [f64; 19] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];

/// A plain text in a padded buffer: 32 bytes can be read from its start, whatever its length.
#[derive(Clone, Copy)]
pub(super) struct Padded<'a> {
    /// The text and what lies behind it.
    rest: &'a [u8],
    len: usize,
}

impl<'a> Padded<'a> {
    /// The text of `len` bytes at `start` in a padded buffer.
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8], start: usize, len: usize) -> Self {
        Self {
            rest: &bytes[start..],
            len,
        }
    }

    /// The text alone.
    #[inline(always)]
    pub(super) fn text(self) -> &'a [u8] {
        &self.rest[..self.len]
    }

    #[inline(always)]
    fn chunk(self) -> &'a [u8; 16] {
        self.rest.first_chunk().expect("the buffer is padded")
    }

    /// Eight bytes from a place within the text or just behind it.
    #[inline(always)]
    pub(super) fn word(self, at: usize) -> u64 {
        let bytes = self.rest[at..].first_chunk();
        u64::from_le_bytes(*bytes.expect("the buffer is padded"))
    }
}

/// A short plain number: at most 19 digits, perhaps a minus and a point, nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Short {
    /// All digits as one number, with the sign.
    pub(super) digits: i64,
    pub(super) negative: bool,
    /// How many of the digits stand behind the point.
    pub(super) fraction: usize,
}

/// Reads a short plain number; `None` says only that it is not of that form.
///
/// With up to eight digits before the point and seven behind it there is no branch on their number:
/// lengths differ from row to row, and a wrongly predicted branch costs more than all the rest.
#[inline(always)]
pub(super) fn short(number: Padded<'_>) -> Option<Short> {
    if number.len > 16 {
        return longer(number.text());
    }
    let chunk = number.chunk();
    let negative = chunk[0] == b'-';
    let sign = usize::from(negative);
    let len = number.len.checked_sub(sign + 1)? + 1;
    let points = (points(chunk) >> sign) | (1 << len);
    let point = points.trailing_zeros() as usize;
    let fraction = (len - point).saturating_sub(1);
    // A point needs digits on both sides here; other forms take the long way.
    if point == 0 || point + 1 == len {
        return None;
    }
    if point > 8 || fraction > 7 {
        return up_to_sixteen(number);
    }
    let integer = digits_of(number.word(sign)) << (64 - 8 * point);
    let behind = (digits_of(number.word(sign + point + 1)) << (56 - 8 * fraction)) << 8;
    if has_other_than_digits(integer) || has_other_than_digits(behind) {
        return None;
    }
    let value = eight_digits(integer) * INTEGER_POWERS[fraction] + eight_digits(behind);
    let value = value.cast_signed();
    Some(Short {
        digits: if negative { -value } else { value },
        negative,
        fraction,
    })
}

/// The powers of ten that shift an integer before so many digits.
const INTEGER_POWERS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// The values of eight digits.
#[inline(always)]
fn digits_of(text: u64) -> u64 {
    text ^ u64::from_le_bytes([b'0'; 8])
}

/// Whether one of eight bytes is above nine.
#[inline(always)]
fn has_other_than_digits(values: u64) -> bool {
    let above_nine = values.wrapping_add(u64::from_le_bytes([0x76; 8])) | values;
    above_nine & u64::from_le_bytes([0x80; 8]) != 0
}

/// The same for any place of the point among up to 16 characters.
#[inline(never)]
fn up_to_sixteen(number: Padded<'_>) -> Option<Short> {
    const ZEROS: u128 = u128::from_le_bytes([b'0'; 16]);
    let chunk = number.chunk();
    let negative = chunk[0] == b'-';
    let len = number.len.checked_sub(usize::from(negative) + 1)? + 1;
    let points = (points(chunk) >> u32::from(negative)) | (1 << len);
    let point = points.trailing_zeros() as usize;
    let mut text = u128::from_le_bytes(*chunk) >> (8 * u32::from(negative));
    let mut digits = len;
    if point < len {
        let before = (1 << (8 * point)) - 1;
        text = (text & before) | ((text >> 8) & !before);
        digits -= 1;
    }
    // The digits as numbers, the last one in the highest byte, zeros before the first.
    let values = (text ^ ZEROS) << (8 * (16 - digits));
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the first eight, then the last eight"
    )]
    let (first, last) = (values as u64, (values >> 64) as u64);
    if has_other_than_digits(first) || has_other_than_digits(last) {
        return None;
    }
    let value = (eight_digits(first) * 100_000_000 + eight_digits(last)).cast_signed();
    let digits = if negative { -value } else { value };
    Some(Short {
        digits,
        negative,
        fraction: (len - point).saturating_sub(1),
    })
}

/// The number of eight digits, the first one in the lowest byte.
#[inline(always)]
fn eight_digits(digits: u64) -> u64 {
    const FOURS: u64 = 0x0000_00ff_0000_00ff;
    // Pairs, then both pairs of each half, then both halves at once.
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let high = (pairs & FOURS).wrapping_mul(100 + (1_000_000 << 32));
    let low = ((pairs >> 16) & FOURS).wrapping_mul(1 + (10_000 << 32));
    high.wrapping_add(low) >> 32
}

/// The same digit by digit, for numbers of more than 16 characters.
#[inline(never)]
fn longer(text: &[u8]) -> Option<Short> {
    let negative = *text.first()? == b'-';
    let unsigned = &text[usize::from(negative)..];
    let mut value = 0u64;
    let mut point = unsigned.len();
    if unsigned.len() > 20 {
        return None;
    }
    for (place, byte) in unsigned.iter().enumerate() {
        match byte.wrapping_sub(b'0') {
            digit @ 0..=9 => value = value.checked_mul(10)?.checked_add(u64::from(digit))?,
            _ if *byte == b'.' && point == unsigned.len() && place > 0 => point = place,
            _ => return None,
        }
    }
    if point == unsigned.len() - 1 {
        return None;
    }
    let value = i64::try_from(value).ok()?;
    let fraction = (unsigned.len() - point).saturating_sub(1);
    Some(Short {
        digits: if negative { -value } else { value },
        negative,
        fraction,
    })
}

impl Short {
    /// The nearest double: one correctly rounded division of two exact doubles.
    #[inline(always)]
    pub(super) fn to_f64(self) -> Option<f64> {
        const EXACT: i64 = 1 << 53;
        if self.digits.abs() > EXACT || self.fraction >= POWERS.len() {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "at most 2^53: no loss")]
        let value = self.digits as f64 / POWERS[self.fraction];
        // -0.0 has no integer.
        Some(if self.negative { -value.abs() } else { value })
    }

    /// The nearest single, by the same argument.
    #[inline(always)]
    pub(super) fn to_f32(self) -> Option<f32> {
        const EXACT: i64 = 1 << 24;
        if self.digits.abs() > EXACT || self.fraction > 10 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "at most 2^24: no loss")]
        #[expect(
            clippy::cast_possible_truncation,
            reason = "10^10 and less are exact singles"
        )]
        let value = self.digits as f32 / POWERS[self.fraction] as f32;
        Some(if self.negative { -value.abs() } else { value })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{DecimalText, Padded, Short, short};

    fn read_short(text: &str) -> Option<Short> {
        // What lies behind a number must not matter.
        let padded = format!("{text}.1234567890123456789012345678901234567890");
        short(Padded::new(padded.as_bytes(), 0, text.len()))
    }

    #[test]
    fn a_short_number_is_read_in_its_plain_form_only() {
        for (text, digits, fraction) in [
            ("0", 0, 0),
            ("-0", 0, 0),
            ("7", 7, 0),
            ("-7", -7, 0),
            ("3.0871", 30871, 4),
            ("-0.05", -5, 2),
            ("12345678", 12_345_678, 0),
            ("123456789", 123_456_789, 0),
            ("1234567890123456", 1_234_567_890_123_456, 0),
            ("-123456789012345", -123_456_789_012_345, 0),
            ("12345678901234.5", 123_456_789_012_345, 1),
            ("0.99999999999999", 99_999_999_999_999, 14),
            ("12345678.9012345", 123_456_789_012_345, 7),
            ("-2345678.90123456", -234_567_890_123_456, 8),
            ("123456789.01234", 12_345_678_901_234, 5),
            ("1.2345678", 12_345_678, 7),
            ("1.23456789", 123_456_789, 8),
            ("-1234567890123456", -1_234_567_890_123_456, 0),
            ("9223372036854775807", i64::MAX, 0),
            ("-9223372036854775807", -i64::MAX, 0),
            ("92233720368547758.07", i64::MAX, 2),
            ("00012", 12, 0),
        ] {
            let negative = text.starts_with('-');
            assert_eq!(
                read_short(text),
                Some(Short {
                    digits,
                    negative,
                    fraction
                }),
                "{text}"
            );
        }
        for text in [
            "",
            "-",
            ".",
            "-.",
            "5.",
            "-5.",
            ".5",
            "-.5",
            "1e3",
            "+1",
            "1-",
            "--1",
            "1.2.3",
            " 1",
            "1 ",
            "NaN",
            "12:3",
            "1/2",
            "\u{b1}",
            "9223372036854775808",
            "1234567890123456.",
            ".1234567890123456",
            "12345678901234567890123",
            "1234567890123456e1",
            "1.2345678901.2345678",
            "1.2.3456",
            "123456789.1.2",
            "12a45.5",
            "12.a",
        ] {
            assert_eq!(read_short(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_short_number_has_the_digits_that_are_written(text in "-?[0-9]{0,9}[.]?[0-9]{0,9}") {
            let plain = text.trim_start_matches('-');
            let ends = |end: char| end.is_ascii_digit();
            let digits = text.replace('.', "").parse::<i64>().ok();
            let expected = digits.filter(|_| plain.starts_with(ends) && plain.ends_with(ends));
            assert_eq!(read_short(&text).map(|short| short.digits), expected, "{text}");
        }
    }

    fn scaled(text: &str, scale: i32) -> Option<(i128, bool)> {
        let number = DecimalText::parse(text.as_bytes())?;
        number
            .scaled(scale)
            .map(|scaled| (scaled.value, scaled.exact))
    }

    #[test]
    fn numbers_are_rounded_half_away_from_zero() {
        for (text, scale, value, exact) in [
            ("1", 0, 1, true),
            ("-12.345", 2, -1235, false),
            ("12.344", 2, 1234, false),
            ("0.5", 0, 1, false),
            ("0.4999999999999999999999999", 0, 0, false),
            ("0.05", 0, 0, false),
            ("1e3", 0, 1000, true),
            ("10e-1", 0, 1, true),
            ("1.50", 1, 15, true),
            (" +.5 ", 1, 5, true),
            ("5.", 0, 5, true),
            ("0e999999999999", 2, 0, true),
            ("7e-999999999999", 2, 0, false),
            ("149", -2, 1, false),
            ("150", -2, 2, false),
            (
                "00000000000000000000000000000000000000000000000012",
                0,
                12,
                true,
            ),
            (
                "170141183460469231731687303715884105727",
                0,
                i128::MAX,
                true,
            ),
        ] {
            assert_eq!(
                scaled(text, scale),
                Some((value, exact)),
                "{text} at {scale}"
            );
        }
        for text in [
            "1e39",
            "1e999999999999",
            "170141183460469231731687303715884105728",
        ] {
            assert_eq!(scaled(text, 0), None, "{text} does not fit");
        }
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        for text in [
            "", " ", "-", ".", "e5", "1e", "1e+", "1.2.3", "--1", "1 2", "0x10", "NaN",
        ] {
            assert_eq!(DecimalText::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_short_number_is_the_same_double_that_the_standard_library_reads(
            integer in any::<u32>(), fraction in "[0-9]{1,9}", negative in any::<bool>(),
        ) {
            let text = format!("{}{integer}.{fraction}", if negative { "-" } else { "" });
            if let Some(short) = read_short(&text) {
                let expected: f64 = text.parse().expect("a number");
                if let Some(value) = short.to_f64() {
                    assert_eq!(value.to_bits(), expected.to_bits(), "{text}");
                }
                let expected: f32 = text.parse().expect("a number");
                if let Some(value) = short.to_f32() {
                    assert_eq!(value.to_bits(), expected.to_bits(), "{text}");
                }
            }
        }
    }
}
