//! Alerts: a query that runs, and what is told of its rows.

use super::depends::names_in;
use super::options::{Options, invalid, value_text};
use super::query_options;
use crate::error::{Error, Result, SqlState};
use crate::plan::QueryOptions;
use crate::sql::{self, CreateAlert, OptionClause, OptionValue, StreamQuery, Template};

/// How bad an alert is that does not say it.
pub const SEVERITY_DEFAULT: &str = "warning";
/// What `ALTER ALERT` sets of the clauses.
const CLAUSES: [&str; 5] = ["severity", "cooldown", "for", "message", "resolved_message"];

/// A query whose rows are watched.
#[derive(Debug, Clone)]
pub struct AlertDefinition {
    /// Its name.
    pub name: String,
    /// How it was declared.
    pub clause: CreateAlert,
    /// Its query with the conditions as columns behind its own.
    pub watched: StreamQuery,
    /// How its query runs.
    pub options: QueryOptions,
    /// The names that it reads, and its sinks.
    pub depends_on: Vec<String>,
    /// The CREATE statement.
    pub sql: String,
}

impl AlertDefinition {
    /// An alert as declared.
    ///
    /// # Errors
    /// An unknown option, a value that it does not take.
    pub fn try_new(clause: &CreateAlert) -> Result<Self> {
        let mut options = Options::new(&clause.options);
        let parsed = query_options::take(&mut options)?;
        options.finish("an alert")?;
        let mut depends_on = names_in(&clause.query.query);
        depends_on.extend(clause.notify.iter().map(|sink| sink.name.clone()));
        Ok(Self {
            name: clause.name.name.clone(),
            watched: clause.watched()?,
            options: parsed,
            depends_on,
            sql: clause.text.clone(),
            clause: clause.clone(),
        })
    }

    /// True if it tells a sink of that name.
    pub(super) fn notifies(&self, sink: &str) -> bool {
        self.clause.notify.iter().any(|name| name.name == sink)
    }

    /// The same after `ALTER ALERT .. SET (..)`.
    ///
    /// # Errors
    /// An option that cannot be changed, a value that it does not take.
    pub(super) fn altered(&self, set: &[OptionClause]) -> Result<Self> {
        let mut clause = self.clause.clone();
        let is_clause = |option: &&OptionClause| CLAUSES.contains(&option.name.as_str());
        for option in set.iter().filter(is_clause) {
            set_clause(&mut clause, option)?;
        }
        let of_query = set.iter().filter(|option| !is_clause(option)).cloned();
        let of_query: Vec<OptionClause> = of_query.collect();
        query_options::changes(&of_query, &CLAUSES)?;
        for option in of_query {
            clause.options.retain(|other| other.name != option.name);
            clause.options.push(option);
        }
        let text = clause.sql();
        // What is kept can be read again.
        let read = sql::parse(&text)?.pop().map(|parsed| parsed.statement);
        let Some(sql::Statement::CreateAlert(read)) = read else {
            return Err(Error::internal(format!("not an alert: {text}")));
        };
        clause.text = read.text;
        Self::try_new(&clause)
    }
}

/// Sets what an option of the name of a clause says; NULL is as if the clause had been left out.
fn set_clause(clause: &mut CreateAlert, option: &OptionClause) -> Result<()> {
    if matches!(&option.value, OptionValue::Word(word) if word == "null") {
        return leave_out(clause, option);
    }
    let text = value_text(option);
    let template = || {
        let position = option.value_position;
        let text = text.clone();
        Some(Template { text, position })
    };
    match option.name.as_str() {
        "severity" => clause.severity = Some(text),
        "message" => clause.message = template(),
        "resolved_message" => clause.resolved = template(),
        "cooldown" => clause.cooldown = Some(length(option)?),
        "for" => {
            let length = length(option)?;
            if length == 0 && clause.when.is_none() {
                return Err(invalid(option, "an interval above zero"));
            }
            clause.lasts = Some((length, option.position));
        }
        other => return Err(Error::internal(format!("no clause of an alert: {other}"))),
    }
    Ok(())
}

fn leave_out(clause: &mut CreateAlert, option: &OptionClause) -> Result<()> {
    match option.name.as_str() {
        "severity" => clause.severity = None,
        "message" => clause.message = None,
        "resolved_message" => clause.resolved = None,
        "cooldown" => clause.cooldown = None,
        "for" if clause.when.is_none() => return Err(invalid(option, "an interval above zero")),
        "for" => clause.lasts = None,
        other => return Err(Error::internal(format!("no clause of an alert: {other}"))),
    }
    Ok(())
}

/// A length of time that is not negative, in microseconds.
fn length(option: &OptionClause) -> Result<i64> {
    match sql::interval::parse(&value_text(option)) {
        Ok(micros) if micros >= 0 => Ok(micros),
        Ok(_) | Err(_) => Err(invalid(option, "an interval that is not negative")),
    }
}

/// The error of a sink that an alert cannot tell.
pub(super) fn no_sink(name: &str, what: &str) -> Error {
    let text = format!("\"{name}\" is a {what} and cannot be notified");
    Error::user(SqlState::WrongObjectType, text)
        .hint("NOTIFY takes sinks: CREATE SINK s WITH (connector = ..).")
}
