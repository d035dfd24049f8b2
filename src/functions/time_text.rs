//! Times in texts that leave something out, as PostgreSQL takes them: `08:05`, `2026-01-01Z`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::interval_text;

/// A text of a time, or of a date and a time, with its seconds, and a date with a zone with its
/// midnight; any other text as it is.
pub fn with_seconds(text: Expr) -> Expr {
    completing(Completes::Time, text)
}

/// A text of an interval whose numbers all have units; any other text as it is.
pub fn with_units(text: Expr) -> Expr {
    completing(Completes::Interval, text)
}

fn completing(completes: Completes, text: Expr) -> Expr {
    let function = ScalarUDF::from(CompleteText {
        completes,
        signature: Signature::any(1, Volatility::Immutable),
    });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![text]))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Completes {
    Time,
    Interval,
}

impl Completes {
    fn is_short(self, text: &str) -> bool {
        match self {
            Self::Time => minutes_end(text).is_some() || has_no_time(text),
            Self::Interval => interval_text::lacks_units(text),
        }
    }

    fn complete(self, text: &str) -> String {
        match self {
            Self::Time => completed(text),
            Self::Interval => interval_text::completed(text),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CompleteText {
    completes: Completes,
    signature: Signature,
}

impl ScalarUDFImpl for CompleteText {
    fn name(&self) -> &'static str {
        match self.completes {
            Completes::Time => "with_seconds",
            Completes::Interval => "with_units",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let complete = |text: &str| self.completes.complete(text);
        match &arguments.args[0] {
            ColumnarValue::Scalar(text) => {
                let text = text.try_as_str().flatten().map(complete);
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(text)))
            }
            ColumnarValue::Array(texts) => {
                let texts: ArrayRef = cast(texts, &DataType::Utf8View)?;
                let mut all = texts.as_string_view().iter().flatten();
                if !all.any(|text| self.completes.is_short(text)) {
                    return Ok(ColumnarValue::Array(texts));
                }
                let texts = texts.as_string_view().iter();
                let texts: StringViewArray = texts.map(|text| text.map(complete)).collect();
                Ok(ColumnarValue::Array(Arc::new(texts)))
            }
        }
    }
}

fn completed(text: &str) -> String {
    match minutes_end(text) {
        Some(end) => format!("{}:00{}", &text[..end], &text[end..]),
        None if has_no_time(text) => {
            format!("{} 00:00:00{}", &text[..DATE_LEN], &text[DATE_LEN..])
        }
        None => text.to_owned(),
    }
}

/// The length of `2026-01-01`.
const DATE_LEN: usize = 10;

/// True for a date that is followed by a zone at once: `Z`, or an offset such as `+02`.
fn has_no_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let is_date = bytes.get(4) == Some(&b'-')
        && bytes.get(7) == Some(&b'-')
        && [0, 1, 2, 3, 5, 6, 8, 9].into_iter().all(digit);
    if !is_date {
        return false;
    }
    match &bytes[DATE_LEN..] {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', offset @ ..] => {
            let digits = |part: &[u8]| part.len() == 2 && part.iter().all(u8::is_ascii_digit);
            match offset {
                [hours @ .., b':', a, b] => digits(hours) && digits(&[*a, *b]),
                hours => digits(hours),
            }
        }
        _ => false,
    }
}

/// Where the minutes end after which seconds are missing.
fn minutes_end(text: &str) -> Option<usize> {
    let colon = text.find(':')?;
    let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let hour = colon.checked_sub(2)?;
    let begins = hour == 0 || matches!(text.as_bytes()[hour - 1], b' ' | b'T' | b't');
    let minutes = begins && digit(hour) && digit(hour + 1) && digit(colon + 1) && digit(colon + 2);
    let end = colon + 3;
    let ends = match text.as_bytes().get(end) {
        None => true,
        Some(next) => matches!(next, b' ' | b'+' | b'-' | b'Z' | b'z'),
    };
    (minutes && ends).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::completed;

    #[test]
    fn only_missing_seconds_are_added() {
        for (text, expected) in [
            ("08:05", "08:05:00"),
            ("2024-01-01 08:05", "2024-01-01 08:05:00"),
            ("2024-01-01T08:05Z", "2024-01-01T08:05:00Z"),
            ("2024-01-01 08:05+02:00", "2024-01-01 08:05:00+02:00"),
            (
                "2024-01-01 08:05 Europe/Berlin",
                "2024-01-01 08:05:00 Europe/Berlin",
            ),
            ("2024-01-01 08:05:09", "2024-01-01 08:05:09"),
            ("2024-01-01", "2024-01-01"),
            ("2024-01-01Z", "2024-01-01 00:00:00Z"),
            ("2024-01-01+02", "2024-01-01 00:00:00+02"),
            ("2024-01-01-02:30", "2024-01-01 00:00:00-02:30"),
            ("2024-01-01-02-03", "2024-01-01-02-03"),
            ("2024-1-01Z", "2024-1-01Z"),
            ("2024-01-01 08:5", "2024-01-01 08:5"),
            ("noon: 12", "noon: 12"),
            ("über:05", "über:05"),
            ("", ""),
        ] {
            assert_eq!(completed(text), expected);
        }
    }
}
