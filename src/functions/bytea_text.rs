//! Texts that become `bytea`, as PostgreSQL reads them: `\x00ff`, or letters with `\\` and `\377`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::error::{Culprit, Error, SqlState};

/// The bytes that a text means; `try_only`: NULL for a text that means none.
pub fn bytes_of_text(text: Expr, try_only: bool) -> Expr {
    let function = ScalarUDF::from(BytesOfText {
        try_only,
        signature: Signature::any(1, Volatility::Immutable),
    });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![text]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BytesOfText {
    try_only: bool,
    signature: Signature,
}

impl ScalarUDFImpl for BytesOfText {
    fn name(&self) -> &'static str {
        if self.try_only {
            "try_bytes_of_text"
        } else {
            "bytes_of_text"
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &arguments.args[0] {
            ColumnarValue::Scalar(text) => {
                let text = text.try_as_str().flatten();
                let bytes = text.map(|text| self.read(text)).transpose()?.flatten();
                Ok(ColumnarValue::Scalar(ScalarValue::Binary(bytes)))
            }
            ColumnarValue::Array(texts) => {
                let texts: ArrayRef = cast(texts, &DataType::Utf8View)?;
                let mut builder = BinaryBuilder::with_capacity(texts.len(), 0);
                for text in texts.as_string_view() {
                    let bytes = text.map(|text| self.read(text)).transpose()?.flatten();
                    builder.append_option(bytes);
                }
                Ok(ColumnarValue::Array(Arc::new(builder.finish())))
            }
        }
    }
}

impl BytesOfText {
    fn read(&self, text: &str) -> Result<Option<Vec<u8>>, Error> {
        match bytes(text) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(_) if self.try_only => Ok(None),
            Err(error) => Err(error.about(Culprit::Text(text.to_owned()))),
        }
    }
}

fn bytes(text: &str) -> Result<Vec<u8>, Error> {
    match text.strip_prefix("\\x") {
        Some(digits) => from_hex(digits),
        None => from_escapes(text),
    }
}

fn from_hex(text: &str) -> Result<Vec<u8>, Error> {
    let mut digits = Vec::with_capacity(text.len());
    for letter in text.chars().filter(|letter| !letter.is_whitespace()) {
        match letter
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
        {
            Some(digit) => digits.push(digit),
            None => {
                return Err(Error::user(
                    SqlState::InvalidParameterValue,
                    format!("invalid hexadecimal digit: \"{letter}\""),
                )
                .hint("After \\x each byte has two of the digits 0 to 9 and a to f."));
            }
        }
    }
    if digits.len() % 2 != 0 {
        return Err(Error::user(
            SqlState::InvalidParameterValue,
            "invalid hexadecimal data: odd number of digits",
        )
        .hint("After \\x each byte has two digits, such as \\x0aff."));
    }
    Ok(digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect())
}

/// Letters stand for their bytes in UTF-8, `\\` for a backslash, `\nnn` for a byte in octal.
fn from_escapes(text: &str) -> Result<Vec<u8>, Error> {
    let mut found = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => return Ok(found),
            [b'\\', b'\\', after @ ..] => {
                found.push(b'\\');
                rest = after;
            }
            [
                b'\\',
                high @ b'0'..=b'3',
                middle @ b'0'..=b'7',
                low @ b'0'..=b'7',
                after @ ..,
            ] => {
                found.push((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'));
                rest = after;
            }
            [b'\\', ..] => {
                return Err(Error::user(
                    SqlState::InvalidTextRepresentation,
                    "invalid input syntax for type bytea",
                )
                .hint("Write bytes as \\x00ff, and a backslash among letters as \\\\."));
            }
            [byte, after @ ..] => {
                found.push(*byte);
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[track_caller]
    fn check(text: &str, expected: Result<&[u8], &str>) {
        let read = bytes(text);
        let read = read.as_deref().map_err(|error| error.state().code());
        assert_eq!(read, expected, "{text}");
    }

    #[test]
    fn a_text_means_the_bytes_that_postgresql_reads() {
        check("\\x01", Ok(&[1]));
        check("\\x 00 Ff", Ok(&[0, 255]));
        check("\\x", Ok(&[]));
        check("abc", Ok(b"abc"));
        check("a\\\\b\\001\\377", Ok(&[b'a', b'\\', b'b', 1, 255]));
        check("ä", Ok("ä".as_bytes()));
        check("\\x0", Err("22023"));
        check("\\x0g", Err("22023"));
        check("\\400", Err("22P02"));
        check("a\\", Err("22P02"));
    }
}
