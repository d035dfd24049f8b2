//! Where a session stands in a transaction.
//!
//! A transaction groups statements for the client's sake: cursors live in it, `SET LOCAL` ends
//! with it, and after an error its statements are refused until it ends. It undoes nothing: a
//! statement that answered has happened.

use crate::error::{Error, Result, SqlState};

/// Where a session stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transaction {
    /// Outside of a transaction block.
    #[default]
    Idle,
    /// Inside.
    Open,
    /// Inside, and a statement has failed.
    Failed,
}

impl Transaction {
    /// Refuses a statement after an error, unless it ends the transaction.
    ///
    /// # Errors
    /// 25P02 in a failed transaction.
    pub(crate) fn admit(self, ends_transaction: bool) -> Result<()> {
        match self {
            Self::Failed if !ends_transaction => Err(Error::user(
                SqlState::InFailedSqlTransaction,
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
            Self::Idle | Self::Open | Self::Failed => Ok(()),
        }
    }

    /// What it is after a statement failed.
    pub(crate) fn after_error(self) -> Self {
        match self {
            Self::Idle => Self::Idle,
            Self::Open | Self::Failed => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_an_error_only_the_end_is_admitted() {
        let failed = Transaction::Open.after_error();
        assert_eq!(failed.admit(false).unwrap_err().state().code(), "25P02");
        assert!(failed.admit(true).is_ok());
        assert_eq!(Transaction::Idle.after_error(), Transaction::Idle);
    }
}
