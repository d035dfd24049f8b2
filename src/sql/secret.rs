//! `CREATE SECRET name AS 'text'`, and `SECRET name` as the value of an option.
//!
//! Invariant: neither shows the text when it is formatted.

use std::fmt;

use super::create::Head;
use super::grammar::Grammar;
use super::statement::{Name, Statement};
use crate::error::Result;

/// `CREATE SECRET name AS 'text'`.
#[derive(Clone, PartialEq, Eq)]
pub struct CreateSecret {
    /// Its name.
    pub name: Name,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// `OR REPLACE`.
    pub or_replace: bool,
    /// What it keeps.
    pub value: String,
}

/// A secret that an option names.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretRef {
    /// Its name.
    pub name: Name,
    /// What it keeps, once that was looked up.
    pub value: Option<String>,
}

impl SecretRef {
    /// As it was written.
    pub fn sql(&self) -> String {
        format!("SECRET {}", self.name.sql())
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sql())
    }
}

impl fmt::Debug for CreateSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CreateSecret({})", self.name.sql())
    }
}

/// Reads the statement after `CREATE SECRET`.
///
/// # Errors
/// Syntax errors, with their places.
pub(super) fn create(mut grammar: Grammar<'_>, head: Head) -> Result<Statement> {
    let if_not_exists = grammar.if_not_exists();
    let name = grammar.own_name()?;
    grammar.expect(&["AS"])?;
    let value = grammar.string()?;
    grammar.finish()?;
    Ok(Statement::CreateSecret(CreateSecret {
        name,
        if_not_exists,
        or_replace: head.or_replace,
        value,
    }))
}

/// Reads the name after `SECRET`.
///
/// # Errors
/// Syntax errors, with their places.
pub(super) fn named(grammar: &mut Grammar<'_>) -> Result<SecretRef> {
    let name = grammar.own_name()?;
    Ok(SecretRef { name, value: None })
}
