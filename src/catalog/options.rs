//! `WITH (..)`: each option is taken once, and what is left is an error that names the nearest.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, Result, SqlState, nearest};
use crate::sql::{self, OptionClause, OptionValue};
use crate::types::KafkaConnection;

/// The options of a statement, on their way into a definition.
pub(super) struct Options<'a> {
    clauses: &'a [OptionClause],
    taken: Vec<bool>,
    known: Vec<&'static str>,
}

impl<'a> Options<'a> {
    pub(super) fn new(clauses: &'a [OptionClause]) -> Self {
        Self {
            clauses,
            taken: vec![false; clauses.len()],
            known: Vec::new(),
        }
    }

    /// These are options too, and somebody else takes them.
    pub(super) fn know(&mut self, names: &[&'static str]) {
        self.known.extend(names);
    }

    /// The option of that name, if it is given.
    pub(super) fn take(&mut self, name: &'static str) -> Result<Option<&'a OptionClause>> {
        self.known.push(name);
        let mut found: Option<&OptionClause> = None;
        for (clause, taken) in self.clauses.iter().zip(&mut self.taken) {
            if clause.name == name {
                if found.is_some() {
                    let text = format!("option \"{name}\" is given twice");
                    return Err(Error::user(SqlState::SyntaxError, text).at(Some(clause.position)));
                }
                *taken = true;
                found = Some(clause);
            }
        }
        Ok(found)
    }

    /// The option as it is written, taken or not.
    pub(super) fn given(&self, name: &str) -> Option<&'a OptionClause> {
        self.clauses.iter().find(|clause| clause.name == name)
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>> {
        Ok(self.take(name)?.map(value_text))
    }

    /// A text that must be there.
    pub(super) fn required(&mut self, name: &'static str, example: &str) -> Result<String> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.missing(name, example)),
        }
    }

    /// The error of an option that must be there: perhaps it is, and misspelt.
    fn missing(&self, name: &'static str, example: &str) -> Error {
        let error = Error::user(
            SqlState::InvalidParameterValue,
            format!("option \"{name}\" is missing"),
        );
        let misspelt = self
            .clauses
            .iter()
            .zip(&self.taken)
            .find(|(clause, taken)| !**taken && nearest(&clause.name, &[name]).is_some());
        match misspelt {
            Some((clause, _)) => error
                .hint(format!(
                    "Perhaps you meant \"{name}\" by \"{}\".",
                    clause.name
                ))
                .at(Some(clause.position)),
            None => {
                let place = self.clauses.first().map(|clause| clause.position);
                error
                    .hint(format!("For example: WITH ({name} = '{example}')."))
                    .at(place)
            }
        }
    }

    /// True or false.
    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> Result<bool> {
        let Some(clause) = self.take(name)? else {
            return Ok(default);
        };
        match value_text(clause).to_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => Ok(true),
            "false" | "off" | "no" | "0" => Ok(false),
            _ => Err(invalid(clause, "true or false")),
        }
    }

    /// A whole number from 1 on.
    pub(super) fn count(&mut self, name: &'static str) -> Result<Option<u32>> {
        let Some(clause) = self.take(name)? else {
            return Ok(None);
        };
        match value_text(clause).parse::<u32>() {
            Ok(count) if count > 0 => Ok(Some(count)),
            _ => Err(invalid(clause, "a whole number above zero")),
        }
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&str, T)],
        default: T,
    ) -> Result<T> {
        let Some(clause) = self.take(name)? else {
            return Ok(default);
        };
        let value = value_text(clause).to_lowercase().replace(['-', '_'], " ");
        match words.iter().find(|(word, _)| *word == value) {
            Some((_, meaning)) => Ok(*meaning),
            None => {
                let words: Vec<String> =
                    words.iter().map(|(word, _)| format!("'{word}'")).collect();
                Err(invalid(clause, &words.join(" or ")))
            }
        }
    }

    /// A length of time; `'off'` is none.
    pub(super) fn duration(
        &mut self,
        name: &'static str,
        default: Option<Duration>,
    ) -> Result<Option<Duration>> {
        let Some(clause) = self.take(name)? else {
            return Ok(default);
        };
        let micros = match &clause.value {
            OptionValue::Interval(micros) => *micros,
            _ if value_text(clause).eq_ignore_ascii_case("off") => return Ok(None),
            _ => sql::interval::parse(&value_text(clause))
                .map_err(|error| error.at(Some(clause.value_position)))?,
        };
        match u64::try_from(micros) {
            Ok(micros) => Ok(Some(Duration::from_micros(micros))),
            Err(_) => Err(invalid(
                clause,
                "an interval that is not negative, or 'off'",
            )),
        }
    }

    /// How to reach the cluster: `bootstrap_servers` and everything under `kafka.`.
    pub(super) fn connection(
        &mut self,
        defaults: Option<&KafkaConnection>,
    ) -> Result<KafkaConnection> {
        let mut properties = BTreeMap::new();
        for (clause, taken) in self.clauses.iter().zip(&mut self.taken) {
            if let Some(property) = clause.name.strip_prefix("kafka.") {
                *taken = true;
                properties.insert(property.to_owned(), value_text(clause));
            }
        }
        match (self.text("bootstrap_servers")?, defaults) {
            (Some(bootstrap_servers), _) if !bootstrap_servers.is_empty() => Ok(KafkaConnection {
                bootstrap_servers,
                properties,
            }),
            (_, Some(defaults)) => {
                let mut connection = defaults.clone();
                connection.properties.extend(properties);
                Ok(connection)
            }
            (_, None) => Err(Error::user(
                SqlState::InvalidParameterValue,
                "option \"bootstrap_servers\" is missing",
            )
            .hint(
                "Say where Kafka is: WITH (bootstrap_servers = 'localhost:9092'), or start the \
                 server with --kafka.",
            )),
        }
    }

    /// The options whose names begin so, each with the rest of its name.
    pub(super) fn under(&mut self, prefix: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (clause, taken) in self.clauses.iter().zip(&mut self.taken) {
            if let Some(name) = clause.name.strip_prefix(prefix) {
                *taken = true;
                found.push((name.to_owned(), value_text(clause)));
            }
        }
        found
    }

    /// Refuses what nobody took.
    pub(super) fn finish(self, of: &str) -> Result<()> {
        check_looked_up(self.clauses)?;
        let left = self
            .clauses
            .iter()
            .zip(&self.taken)
            .find(|(_, taken)| !**taken);
        let Some((clause, _)) = left else {
            return Ok(());
        };
        let error = Error::user(
            SqlState::UndefinedObject,
            format!("{of} has no option \"{}\"", clause.name),
        )
        .at(Some(clause.position));
        Err(match nearest(&clause.name, &self.known) {
            Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
            None if self.known.is_empty() => error.hint("It has no options yet."),
            None => error.hint(format!("It has: {}.", self.known.join(", "))),
        })
    }
}

/// The error of an option whose value cannot be.
pub(super) fn invalid(clause: &OptionClause, expected: &str) -> Error {
    Error::user(
        SqlState::InvalidParameterValue,
        format!(
            "invalid value for option \"{}\": {}",
            clause.name,
            match &clause.value {
                OptionValue::Secret(secret) => secret.sql(),
                _ => format!("\"{}\"", value_text(clause)),
            }
        ),
    )
    .hint(format!("It takes {expected}."))
    .at(Some(clause.value_position))
}

/// The value as text.
pub(super) fn value_text(clause: &OptionClause) -> String {
    match &clause.value {
        OptionValue::Text(text) | OptionValue::Number(text) | OptionValue::Word(text) => {
            text.clone()
        }
        OptionValue::Interval(micros) => sql::interval::format(*micros),
        OptionValue::Secret(secret) => secret.value.clone().unwrap_or_default(),
    }
}

/// The names of the secrets that options name.
pub(super) fn secrets_in(clauses: &[OptionClause]) -> Vec<String> {
    let named = clauses.iter().filter_map(|clause| match &clause.value {
        OptionValue::Secret(secret) => Some(secret.name.name.clone()),
        _ => None,
    });
    named.collect()
}

/// No secret is taken for an empty text.
fn check_looked_up(clauses: &[OptionClause]) -> Result<()> {
    let left = clauses.iter().find(|clause| match &clause.value {
        OptionValue::Secret(secret) => secret.value.is_none(),
        _ => false,
    });
    match left {
        None => Ok(()),
        Some(clause) => Err(Error::internal(format!(
            "the secret of option \"{}\" was not looked up",
            clause.name
        ))),
    }
}

/// The statement with the values of secret options masked.
pub(super) fn masked(text: &str) -> Result<String> {
    const SECRET: [&str; 10] = [
        "password",
        "secret",
        "private",
        "key.pem",
        "jaas",
        "token",
        "authorization",
        "api-key",
        "apikey",
        "cookie",
    ];
    // A URL may hold a password, or be one.
    let is_url = |name: &str| matches!(name, "url" | "webhook_url");
    let is_secret = |name: &str| is_url(name) || SECRET.iter().any(|word| name.contains(word));
    sql::mask_options(text, is_secret)
}
