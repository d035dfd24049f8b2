//! Tokens and secrets: out of the environment or a file, never out of an argument.
//!
//! Invariant: what was read is in no error's text.

use std::path::Path;

use crate::config;
use crate::error::{Error, Result, SqlState};

/// A token.
pub(super) const TOKEN: Secret = Secret {
    noun: "token",
    flag: "--token-env",
};

/// Something that only its owner may know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Secret {
    /// What it is called.
    pub(super) noun: &'static str,
    /// The argument that names its variable.
    pub(super) flag: &'static str,
}

impl Secret {
    /// Out of the file if there is one, else out of the variable.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn read(self, variable: &str, file: Option<&Path>) -> Result<String> {
        match file {
            Some(path) => self.of_file(path),
            None => self.of_variable(variable),
        }
    }

    /// Out of an environment variable.
    ///
    /// # Errors
    /// When it is not set.
    pub(super) fn of_variable(self, name: &str) -> Result<String> {
        let Self { noun, flag } = self;
        match config::environment(name) {
            Some(value) if !value.trim().is_empty() => Ok(value.trim().to_owned()),
            _ => Err(
                invalid(format!("environment variable {name} is not set")).hint(format!(
                    "It is to hold the {noun}; {flag} names another variable."
                )),
            ),
        }
    }

    /// Out of a file.
    ///
    /// # Errors
    /// When it cannot be read, or is empty.
    pub(super) fn of_file(self, path: &Path) -> Result<String> {
        let (noun, place) = (self.noun, path.display());
        let text = std::fs::read_to_string(path)
            .map_err(|error| invalid(format!("could not read the {noun} in {place}: {error}")))?;
        match text.trim() {
            "" => Err(invalid(format!("there is no {noun} in {place}"))),
            secret => Ok(secret.to_owned()),
        }
    }
}

fn invalid(message: String) -> Error {
    Error::user(SqlState::InvalidParameterValue, message)
}
