//! Names of time zones.
//!
//! Invariant: a name that `canonical` returns is one that `parse` and DataFusion read.

use arrow::array::timezone::Tz;

use crate::error::{Error, Result, SqlState};

/// The zone of a name: `Europe/Berlin` in any case, `UTC`, `+05:30`, `GMT-2` (as POSIX means it:
/// west of Greenwich is positive).
///
/// # Errors
/// 22023 for a name that nobody knows.
pub(crate) fn parse(name: &str) -> Result<Tz> {
    canonical(name)?.parse().map_err(|_| unknown(name))
}

/// The name as it is shown and handed on.
///
/// # Errors
/// 22023 for a name that nobody knows.
pub(crate) fn canonical(name: &str) -> Result<String> {
    let trimmed = name.trim().trim_matches('\'');
    let upper = trimmed.to_ascii_uppercase();
    if matches!(
        upper.as_str(),
        "UTC" | "GMT" | "Z" | "ZULU" | "DEFAULT" | "LOCAL" | "ETC/UTC"
    ) {
        return Ok("UTC".to_owned());
    }
    if let Some(posix) = upper
        .strip_prefix("GMT")
        .or_else(|| upper.strip_prefix("UTC"))
    {
        return offset(posix, true).ok_or_else(|| unknown(name));
    }
    if let Some(iso) = offset(&upper, false) {
        return Ok(iso);
    }
    [trimmed.to_owned(), capitalized(trimmed), upper]
        .into_iter()
        .find(|candidate| candidate.parse::<Tz>().is_ok())
        .ok_or_else(|| unknown(name))
}

/// `+5`, `5`, `-03:30` as `+05:00`, `-03:30`; `flipped` exchanges east and west.
fn offset(text: &str, flipped: bool) -> Option<String> {
    let (west, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        b'0'..=b'9' => (false, text),
        _ => return None,
    };
    let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "0"));
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    if hours > 15 || minutes > 59 {
        return None;
    }
    let sign = if west == flipped { '+' } else { '-' };
    Some(format!("{sign}{hours:02}:{minutes:02}"))
}

/// `asia/kolkata` as `Asia/Kolkata`, `america/new_york` as `America/New_York`.
fn capitalized(name: &str) -> String {
    let mut at_start = true;
    name.chars()
        .map(|letter| {
            let shown = if at_start {
                letter.to_ascii_uppercase()
            } else {
                letter.to_ascii_lowercase()
            };
            at_start = matches!(letter, '/' | '_' | '-');
            shown
        })
        .collect()
}

fn unknown(name: &str) -> Error {
    Error::user(
        SqlState::InvalidParameterValue,
        format!("invalid value for parameter \"TimeZone\": \"{name}\""),
    )
    .hint("Use a name such as Europe/Berlin or an offset such as +05:30.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_many_spellings() {
        let cases = [
            ("utc", "UTC"),
            ("Europe/Berlin", "Europe/Berlin"),
            ("america/new_york", "America/New_York"),
            ("cet", "CET"),
            ("+05:30", "+05:30"),
            ("-3", "-03:00"),
            ("5", "+05:00"),
            ("GMT-2", "+02:00"),
            ("UTC+05:30", "-05:30"),
        ];
        for (given, shown) in cases {
            assert_eq!(canonical(given).unwrap(), shown, "{given}");
            assert!(parse(shown).is_ok(), "{shown}");
        }
        for wrong in ["Mars/Base", "", "+99", "GMT+x"] {
            assert_eq!(
                canonical(wrong).unwrap_err().state().code(),
                "22023",
                "{wrong}"
            );
        }
    }
}
