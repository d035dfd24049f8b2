//! Intervals in texts as PostgreSQL shows and takes them, in words that Arrow reads: `04:05:06` is a time of day, `5` are
//! seconds, and in `1 04:05` the 1 are days.

/// True for a text with a number that has no unit, or with a time of day.
pub(super) fn lacks_units(text: &str) -> bool {
    words(text).any(|(word, next)| written(word, next).is_some())
}

/// The text with a unit after each number.
pub(super) fn completed(text: &str) -> String {
    let whole: Vec<String> = words(text)
        .map(|(word, next)| written(word, next).unwrap_or_else(|| word.to_owned()))
        .collect();
    whole.join(" ")
}

/// Each word with the one after it.
fn words(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let next = text.split_ascii_whitespace().skip(1).map(Some);
    let next = next.chain(std::iter::once(None));
    text.split_ascii_whitespace().zip(next)
}

/// What a word means that has no unit.
fn written(word: &str, next: Option<&str>) -> Option<String> {
    let (sign, unsigned) = match word.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", word.strip_prefix('+').unwrap_or(word)),
    };
    let mut parts = unsigned.split(':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(hours), Some(minutes), seconds, None) => {
            let seconds = seconds.unwrap_or("0");
            let are_whole = is_whole(hours) && is_whole(minutes) && is_number(seconds);
            are_whole.then(|| {
                format!("{sign}{hours} hours {sign}{minutes} minutes {sign}{seconds} seconds")
            })
        }
        (Some(number), None, ..) if is_number(number) => match next {
            None => Some(format!("{sign}{number} seconds")),
            Some(time) if time.contains(':') => Some(format!("{sign}{number} days")),
            Some(_) => None,
        },
        _ => None,
    }
}

fn is_whole(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    is_whole(whole) && is_whole(fraction)
}

#[cfg(test)]
mod tests {
    use super::{completed, lacks_units};

    #[test]
    fn a_number_without_a_unit_gets_the_one_that_postgresql_means() {
        for (text, expected) in [
            ("5", "5 seconds"),
            ("-1.5", "-1.5 seconds"),
            ("1 day 5", "1 day 5 seconds"),
            ("1:30", "1 hours 30 minutes 0 seconds"),
            ("-01:30", "-01 hours -30 minutes -0 seconds"),
            ("+00:00:07.25", "00 hours 00 minutes 07.25 seconds"),
            ("1 04:05:06", "1 days 04 hours 05 minutes 06 seconds"),
            (
                "1 mon 2 days 4:05",
                "1 mon 2 days 4 hours 05 minutes 0 seconds",
            ),
        ] {
            assert!(lacks_units(text), "{text}");
            assert_eq!(completed(text), expected);
        }
        for text in [
            "5 minutes",
            "1h",
            "1 year 2 mons",
            "P1D",
            "inf",
            "1:",
            "1:2:3:4",
            ".",
            "",
            "x 5 y",
        ] {
            assert!(!lacks_units(text), "{text}");
            assert_eq!(completed(text), text);
        }
    }
}
