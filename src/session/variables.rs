//! A session's variables: SET, SHOW and RESET, their defaults, and which of them a client is told.
//!
//! Knows the names and which values they take; what a value means is known where it is used.
//! Invariant: every value was accepted by its variable's kind.

mod definitions;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, Result, SqlState, nearest};
use definitions::{DEFINITIONS, Definition, Kind};

/// The version that clients compare with: the dialect is that of PostgreSQL 15.
pub(crate) const SERVER_VERSION: &str = concat!("15.0 (Headwater ", env!("CARGO_PKG_VERSION"), ")");

fn definition(name: &str) -> Result<&'static Definition> {
    let name = match name.to_ascii_lowercase().as_str() {
        "time zone" | "time_zone" => "timezone".to_owned(),
        "transaction isolation level" => "transaction_isolation".to_owned(),
        "names" => "client_encoding".to_owned(),
        other => other.to_owned(),
    };
    DEFINITIONS
        .iter()
        .find(|known| known.name.eq_ignore_ascii_case(&name))
        .ok_or_else(|| {
            let names: Vec<&str> = DEFINITIONS.iter().map(|known| known.name).collect();
            let error = Error::user(
                SqlState::UndefinedObject,
                format!("unrecognized configuration parameter \"{name}\""),
            );
            match nearest(&name, &names) {
                Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
                None => error,
            }
        })
}

/// A variable as SHOW ALL lists it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub name: String,
    pub setting: String,
    pub about: &'static str,
}

/// The variables of one session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables {
    /// What differs from the defaults, under the name in `DEFINITIONS`.
    set: BTreeMap<String, String>,
    /// What RESET goes back to where it is not the default: what the client asked for at its start.
    initial: BTreeMap<String, String>,
    /// What SET LOCAL has covered, until the transaction ends.
    covered: BTreeMap<String, Option<String>>,
}

impl Variables {
    /// The value of a variable.
    ///
    /// # Errors
    /// 42704 for a name that is not known.
    pub(crate) fn get(&self, name: &str) -> Result<String> {
        if let Some(value) = self.set.get(name) {
            return Ok(value.clone());
        }
        let definition = definition(name)?;
        Ok(self.of(definition))
    }

    fn of(&self, definition: &Definition) -> String {
        let value = self
            .set
            .get(definition.name)
            .or_else(|| self.initial.get(definition.name));
        value.map_or_else(|| definition.default.to_owned(), Clone::clone)
    }

    /// The name as it is written in PostgreSQL's documentation.
    ///
    /// # Errors
    /// 42704 for a name that is not known.
    pub(crate) fn canonical_name(&self, name: &str) -> Result<String> {
        if self.set.contains_key(name) {
            return Ok(name.to_owned());
        }
        definition(name).map(|definition| definition.name.to_owned())
    }

    /// All of them, sorted by name.
    pub(crate) fn all(&self) -> Vec<Shown> {
        let mut all: Vec<Shown> = DEFINITIONS
            .iter()
            .map(|definition| Shown {
                name: definition.name.to_owned(),
                setting: self.of(definition),
                about: definition.about,
            })
            .collect();
        all.sort_by_key(|shown| shown.name.to_ascii_lowercase());
        all
    }

    /// What the protocol tells a client when it connects.
    pub(crate) fn reported(&self) -> Vec<(&'static str, String)> {
        DEFINITIONS
            .iter()
            .filter(|definition| definition.reported)
            .map(|definition| (definition.name, self.of(definition)))
            .collect()
    }

    /// Sets a variable; `None` is its default.
    ///
    /// # Errors
    /// 42704 for a name that is not known, 22023 for a value that it does not take, 55P02 for one
    /// that cannot be set.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let Some(value) = value else {
            return self.reset(name);
        };
        if name.contains('.') {
            self.set.insert(name.to_ascii_lowercase(), value.to_owned());
            return Ok(());
        }
        let definition = definition(name)?;
        let accepted = accept(definition, value)?;
        self.set.insert(definition.name.to_owned(), accepted);
        Ok(())
    }

    /// Sets a variable until the transaction ends.
    ///
    /// # Errors
    /// As `set`.
    pub(crate) fn set_local(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let key = if name.contains('.') {
            name.to_ascii_lowercase()
        } else {
            definition(name)?.name.to_owned()
        };
        let before = self.set.get(&key).cloned();
        self.set(name, value)?;
        self.covered.entry(key).or_insert(before);
        Ok(())
    }

    /// Sets what the client asked for at its start: RESET goes back to it.
    ///
    /// # Errors
    /// As `set`.
    pub(crate) fn set_initial(&mut self, name: &str, value: &str) -> Result<()> {
        let definition = definition(name)?;
        let accepted = match definition.kind {
            Kind::Fixed if definition.name == "session_authorization" => value.to_owned(),
            _ => accept(definition, value)?,
        };
        self.initial.insert(definition.name.to_owned(), accepted);
        Ok(())
    }

    /// Goes back to the value at the session's start.
    ///
    /// # Errors
    /// 42704 for a name that is not known.
    pub(crate) fn reset(&mut self, name: &str) -> Result<()> {
        if self.set.remove(name).is_none() {
            self.set.remove(definition(name)?.name);
        }
        Ok(())
    }

    /// All of them go back to their values at the session's start.
    pub(crate) fn reset_all(&mut self) {
        self.set.clear();
    }

    /// Ends a transaction: what SET LOCAL has covered comes back.
    pub(crate) fn uncover(&mut self) {
        for (name, before) in std::mem::take(&mut self.covered) {
            match before {
                Some(value) => self.set.insert(name, value),
                None => self.set.remove(&name),
            };
        }
    }

    /// The time after which a statement is cancelled.
    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        let text = self.get("statement_timeout").ok()?;
        let millis = parse_milliseconds(&text)?;
        (millis > 0).then(|| Duration::from_millis(millis))
    }
}

fn accept(definition: &Definition, value: &str) -> Result<String> {
    let refused = || {
        Error::user(
            SqlState::InvalidParameterValue,
            format!(
                "invalid value for parameter \"{}\": \"{value}\"",
                definition.name
            ),
        )
    };
    match definition.kind {
        Kind::Text => Ok(value.to_owned()),
        Kind::Bool => match value.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" | "t" | "y" => Ok("on".to_owned()),
            "off" | "false" | "no" | "0" | "f" | "n" => Ok("off".to_owned()),
            _ => Err(refused().hint("It takes on or off.")),
        },
        Kind::Number { max } => {
            let number = value
                .trim_end_matches(|c: char| c.is_ascii_alphabetic())
                .trim();
            let number: i64 = number.parse().map_err(|_| refused())?;
            if (0..=max).contains(&number) {
                Ok(value.to_owned())
            } else {
                Err(refused())
            }
        }
        Kind::Milliseconds => {
            let millis = parse_milliseconds(value).ok_or_else(|| {
                refused().hint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".")
            })?;
            Ok(shown_milliseconds(millis))
        }
        Kind::OneOf(words) => words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(value.trim()))
            .map(|word| (*word).to_owned())
            .ok_or_else(|| refused().hint(format!("Available values: {}.", words.join(", ")))),
        Kind::Zone => crate::session::zone::canonical(value),
        Kind::LiveStart => super::handler::continuous::live_start(value).map(|_| value.to_owned()),
        Kind::QueryOption => {
            let given = |name: &str, default| match definition.name == name {
                true => value,
                false => default,
            };
            crate::catalog::query_options(
                given("state_ttl", "off"),
                given("allowed_lateness", "off"),
                given("trigger", "continuous"),
            )
            .map(|_| value.trim().to_owned())
            .map_err(|error| match error.hint_text() {
                Some(hint) => refused().hint(hint),
                None => refused(),
            })
        }
        Kind::Encoding => match value.trim_matches('\'').to_ascii_uppercase().as_str() {
            "UTF8" | "UTF-8" | "UNICODE" | "SQL_ASCII" | "DEFAULT" => Ok("UTF8".to_owned()),
            _ => Err(refused().hint("The server speaks UTF8 alone.")),
        },
        Kind::Fixed if value == definition.default => Ok(value.to_owned()),
        Kind::Fixed => Err(Error::user(
            SqlState::CannotChangeParameter,
            format!("parameter \"{}\" cannot be changed", definition.name),
        )),
    }
}

/// Reads `250`, `250ms`, `1.5 s`, `1min`.
fn parse_milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.trim().parse().ok().filter(|number| *number >= 0.0)?;
    let factor = match unit {
        "us" => 0.001,
        "" | "ms" => 1.0,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let millis = (number * factor).round();
    if !(0.0..=f64::from(i32::MAX)).contains(&millis) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is within the range of an i32"
    )]
    let millis = millis as u64;
    Some(millis)
}

/// As PostgreSQL shows a time: in the largest unit that leaves a whole number.
fn shown_milliseconds(millis: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
    ];
    if millis == 0 {
        return "0".to_owned();
    }
    UNITS
        .iter()
        .find(|(size, _)| millis.is_multiple_of(*size))
        .map_or_else(
            || format!("{millis}ms"),
            |(size, unit)| format!("{}{unit}", millis / size),
        )
}

#[cfg(test)]
mod tests;
