//! Decimal text to numbers, exactly.
//!
//! Owns the reading of digits. What is accepted: a sign, digits with a point anywhere among them,
//! an exponent; white space around it. That is what PostgreSQL reads from text, and more than JSON.

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

/// A short plain number: at most 18 digits, perhaps a minus and a point, nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Short {
    /// All digits as one number, with the sign.
    pub(super) digits: i64,
    pub(super) negative: bool,
    /// How many of the digits stand behind the point.
    pub(super) fraction: usize,
}

/// Reads a short plain number; `None` says only that it is not of that form.
#[inline(always)]
pub(super) fn short(text: &[u8]) -> Option<Short> {
    let negative = *text.first()? == b'-';
    let unsigned = &text[usize::from(negative)..];
    if unsigned.is_empty() || unsigned.len() > 18 {
        return None;
    }
    let mut digits = 0i64;
    let mut point = unsigned.len();
    for (place, byte) in unsigned.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            digits = digits * 10 + i64::from(digit);
        } else if *byte == b'.' && point == unsigned.len() {
            point = place;
        } else {
            return None;
        }
    }
    let fraction = (unsigned.len() - point).saturating_sub(1);
    // A point needs digits on both sides here; other forms take the long way.
    if point == 0 || (point < unsigned.len() && fraction == 0) {
        return None;
    }
    Some(Short {
        digits: if negative { -digits } else { digits },
        negative,
        fraction,
    })
}

impl Short {
    /// The nearest double: one correctly rounded division of two exact doubles.
    #[inline(always)]
    pub(super) fn to_f64(self) -> Option<f64> {
        const EXACT: i64 = 1 << 53;
        if self.digits.abs() > EXACT {
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

    use super::{DecimalText, short};

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
            if let Some(short) = short(text.as_bytes()) {
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
