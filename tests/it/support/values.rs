//! The text of a value that came over the wire in binary, written as PostgreSQL writes it.
//!
//! By this a `.slt` file has one expectation for both protocols: what the server says in text and in binary must be the
//! same value. Knows nothing of the server's encoder. Invariant: an unknown type is a failure, never a guess.

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Kind, Type};

type Error = Box<dyn std::error::Error + Sync + Send>;

const MICROS_A_SECOND: i64 = 1_000_000;
const MICROS_A_DAY: i64 = 86_400 * MICROS_A_SECOND;
/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL begins to count.
const EPOCH_DAYS: i64 = 10_957;

/// A row's values; `None` is NULL.
pub(crate) fn texts_of(row: &Row) -> Vec<Option<String>> {
    (0..row.len())
        .map(|column| row.get::<_, Option<Text>>(column).map(|text| text.0))
        .collect()
}

struct Text(String);

impl FromSql<'_> for Text {
    fn from_sql(ty: &Type, raw: &[u8]) -> Result<Self, Error> {
        text_of(ty, raw).map(Text)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn text_of(ty: &Type, raw: &[u8]) -> Result<String, Error> {
    if let Kind::Array(element) = ty.kind() {
        return array(element, raw);
    }
    if *ty == Type::RECORD_ARRAY {
        return array(&Type::RECORD, raw);
    }
    Ok(match *ty {
        Type::BOOL => if bool::from_sql(ty, raw)? { "t" } else { "f" }.to_owned(),
        Type::INT2 => i16::from_sql(ty, raw)?.to_string(),
        Type::INT4 => i32::from_sql(ty, raw)?.to_string(),
        Type::INT8 => i64::from_sql(ty, raw)?.to_string(),
        Type::OID => u32::from_sql(ty, raw)?.to_string(),
        Type::FLOAT4 => float(&f32::from_sql(ty, raw)?, f64::from(f32::from_sql(ty, raw)?)),
        Type::FLOAT8 => float(&f64::from_sql(ty, raw)?, f64::from_sql(ty, raw)?),
        Type::NUMERIC => numeric(raw)?,
        Type::BYTEA => raw
            .iter()
            .fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}")),
        Type::DATE => date(i64::from(i32::from_sql(&Type::INT4, raw)?)),
        Type::TIME => time(i64::from_sql(&Type::INT8, raw)?),
        Type::TIMESTAMP => timestamp(i64::from_sql(&Type::INT8, raw)?),
        Type::TIMESTAMPTZ => timestamp(i64::from_sql(&Type::INT8, raw)?) + "+00",
        Type::INTERVAL => interval(raw)?,
        Type::RECORD => record(raw)?,
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::NAME
        | Type::CHAR
        | Type::JSON
        | Type::UNKNOWN => std::str::from_utf8(raw)?.to_owned(),
        _ => return Err(format!("tests/it/support/values.rs does not know type {ty}").into()),
    })
}

/// As PostgreSQL since 12: the shortest text that reads back as the same number.
pub(crate) fn float(shortest: &impl ToString, value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let plain = shortest.to_string();
    if value == 0.0 || (1e-4..1e15).contains(&value.abs()) {
        return plain;
    }
    let digits: String = plain.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_matches('0');
    let exponent = exponent_of(&plain);
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let (minus, sign) = (
        if value < 0.0 { "-" } else { "" },
        if exponent < 0 { '-' } else { '+' },
    );
    format!("{minus}{first}{point}{rest}e{sign}{:02}", exponent.abs())
}

/// The power of ten of a plain decimal's first digit that is not zero.
pub(crate) fn exponent_of(plain: &str) -> i64 {
    let plain = plain.trim_start_matches('-');
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    let places = |count: usize| i64::try_from(count).expect("a float's text is short");
    match whole.trim_start_matches('0') {
        "" => -places(fraction.len() - fraction.trim_start_matches('0').len()) - 1,
        whole => places(whole.len()) - 1,
    }
}

/// Groups of four decimal digits: count, weight of the first, sign, digits after the point, groups.
pub(crate) fn numeric(raw: &[u8]) -> Result<String, Error> {
    let mut bytes = Bytes(raw);
    let (count, weight, sign, scale) = (bytes.int2()?, bytes.int2()?, bytes.int2()?, bytes.int2()?);
    if i32::from(sign) & 0xF000 == 0xC000 {
        return Ok("NaN".to_owned());
    }
    let groups = (0..count)
        .map(|_| bytes.int2())
        .collect::<Result<Vec<_>, _>>()?;
    let group = |power: i16| {
        let place = usize::try_from(weight - power).ok();
        place
            .and_then(|place| groups.get(place))
            .copied()
            .unwrap_or(0)
    };
    let whole: String = (0..=weight.max(0))
        .rev()
        .map(|power| format!("{:04}", group(power)))
        .collect();
    let whole = whole.trim_start_matches('0');
    let fraction: String = (1..=(scale + 3) / 4)
        .map(|power| format!("{:04}", group(-power)))
        .collect();
    let fraction = &fraction[..usize::try_from(scale)?];
    let minus = if sign == 0 { "" } else { "-" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Ok(format!("{minus}{whole}{point}{fraction}"))
}

/// Days since 2000-01-01 as a date of the proleptic Gregorian calendar.
pub(crate) fn date(days: i64) -> String {
    let days = days + EPOCH_DAYS + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

fn time(micros: i64) -> String {
    let (seconds, fraction) = (micros / MICROS_A_SECOND, micros % MICROS_A_SECOND);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = format!(".{fraction:06}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{hours:02}:{minutes:02}:{seconds:02}{fraction}")
}

pub(crate) fn timestamp(micros: i64) -> String {
    let (days, rest) = (
        micros.div_euclid(MICROS_A_DAY),
        micros.rem_euclid(MICROS_A_DAY),
    );
    format!("{} {}", date(days), time(rest))
}

fn interval(raw: &[u8]) -> Result<String, Error> {
    let mut bytes = Bytes(raw);
    let (micros, days, months) = (bytes.int8()?, bytes.int4()?, bytes.int4()?);
    let mut parts = Vec::new();
    for (count, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if count != 0 {
            parts.push(format!(
                "{count} {unit}{}",
                if count == 1 { "" } else { "s" }
            ));
        }
    }
    if micros != 0 || parts.is_empty() {
        let minus = if micros < 0 { "-" } else { "" };
        parts.push(format!("{minus}{}", time(micros.abs())));
    }
    Ok(parts.join(" "))
}

fn array(element: &Type, raw: &[u8]) -> Result<String, Error> {
    let mut bytes = Bytes(raw);
    let (dimensions, _nulls, _oid) = (bytes.int4()?, bytes.int4()?, bytes.int4()?);
    if dimensions == 0 {
        return Ok("{}".to_owned());
    }
    if dimensions != 1 {
        return Err("an array of more than one dimension".into());
    }
    let (count, _lower) = (bytes.int4()?, bytes.int4()?);
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(match bytes.value()? {
            None => "NULL".to_owned(),
            Some(raw) => quoted_in_array(text_of(element, raw)?),
        });
    }
    Ok(format!("{{{}}}", items.join(",")))
}

fn record(raw: &[u8]) -> Result<String, Error> {
    let mut bytes = Bytes(raw);
    let mut fields = Vec::new();
    for _ in 0..bytes.int4()? {
        let oid = u32::try_from(bytes.int4()?)?;
        let ty = Type::from_oid(oid).ok_or_else(|| format!("a record's field of type {oid}"))?;
        fields.push(match bytes.value()? {
            None => String::new(),
            Some(raw) => quoted_in_record(text_of(&ty, raw)?),
        });
    }
    Ok(format!("({})", fields.join(",")))
}

fn quoted_in_array(text: String) -> String {
    let special = |letter: char| letter.is_whitespace() || "{},\"\\".contains(letter);
    if text.is_empty() || text.eq_ignore_ascii_case("null") || text.contains(special) {
        return format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    }
    text
}

fn quoted_in_record(text: String) -> String {
    let special = |letter: char| letter.is_whitespace() || "(),\"\\".contains(letter);
    if text.is_empty() || text.contains(special) {
        return format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""));
    }
    text
}

/// Reads big-endian numbers from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (front, rest) = self
            .0
            .split_at_checked(count)
            .ok_or("a value ends too early")?;
        self.0 = rest;
        Ok(front)
    }

    fn int2(&mut self) -> Result<i16, Error> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into()?))
    }

    fn int4(&mut self) -> Result<i32, Error> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn int8(&mut self) -> Result<i64, Error> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into()?))
    }

    /// A length and as many bytes; -1 is NULL.
    fn value(&mut self) -> Result<Option<&'a [u8]>, Error> {
        let length = self.int4()?;
        if length < 0 {
            return Ok(None);
        }
        self.take(usize::try_from(length)?).map(Some)
    }
}
