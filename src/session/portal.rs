//! Portals and cursors: statements with values, whose rows are taken piece by piece.
//!
//! ```text
//! Waiting --run--> Flowing (rows left) --last row--> Done
//!            `---> Done (no rows)
//! ```

use std::sync::Arc;

use datafusion::common::ScalarValue;
use tokio::sync::Mutex;

use super::{Columns, Outcome, Prepared, Rows, Session, too_many};
use crate::error::{Error, Result, SqlState};

/// Rows that a portal and a running FETCH share.
pub(crate) type SharedRows = Arc<Mutex<Rows>>;

/// A statement with values.
pub(crate) struct Portal {
    /// The columns of its rows.
    pub columns: Columns,
    /// How the client wants the columns written: codes of the protocol, kept for the wire.
    pub formats: Vec<i16>,
    /// The text that its errors' places count in.
    pub text: Arc<str>,
    /// True for a cursor WITH HOLD: it outlives its transaction.
    pub hold: bool,
    /// True for a cursor: the protocol's end of a batch leaves it open.
    pub cursor: bool,
    pub state: PortalState,
}

pub(crate) enum PortalState {
    /// Not yet run.
    Waiting {
        prepared: Arc<Prepared>,
        parameters: Vec<ScalarValue>,
    },
    /// Running.
    Flowing(SharedRows),
    /// Everything has been said.
    Done,
}

/// What running a portal leads to.
pub(crate) enum Step {
    /// Rows to take, or to go on taking.
    Rows(SharedRows),
    /// Something without rows, or a COPY.
    Other(Outcome),
    /// It has run before and has nothing more.
    Done,
}

impl Session {
    /// Binds values to a prepared statement, as a portal; the empty name may be taken again.
    ///
    /// # Errors
    /// 26000 for an unknown statement, 42P03 for a name that is taken, 54000 for too many.
    pub(crate) fn bind(
        &mut self,
        name: &str,
        prepared: Arc<Prepared>,
        parameters: Vec<ScalarValue>,
        formats: Vec<i16>,
    ) -> Result<()> {
        if name.is_empty() {
            self.portals.remove(name);
        }
        let portal = Portal {
            columns: self.columns_of(&prepared),
            formats,
            text: Arc::clone(&prepared.text),
            hold: false,
            cursor: false,
            state: PortalState::Waiting {
                prepared,
                parameters,
            },
        };
        self.add_portal(name, portal)
    }

    /// Adds a portal or cursor.
    ///
    /// # Errors
    /// 42P03 for a name that is taken, 54000 for too many.
    pub(crate) fn add_portal(&mut self, name: &str, portal: Portal) -> Result<()> {
        if self.portals.contains_key(name) {
            return Err(Error::user(
                SqlState::DuplicateCursor,
                format!("cursor \"{name}\" already exists"),
            ));
        }
        let limit = self.services.config.limits.portals_max;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if self.portals.len() >= limit {
            return Err(too_many("open portals and cursors", limit));
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    /// The portal or cursor of a name.
    ///
    /// # Errors
    /// 34000 if there is none.
    pub(crate) fn portal(&self, name: &str) -> Result<&Portal> {
        self.portals.get(name).ok_or_else(|| no_cursor(name))
    }

    /// Runs a portal, or goes on with it.
    ///
    /// # Errors
    /// 34000 if there is none, and what the statement reports.
    pub(crate) async fn run_portal(&mut self, name: &str) -> Result<Step> {
        let portal = self.portals.get_mut(name).ok_or_else(|| no_cursor(name))?;
        let (prepared, parameters) = match std::mem::replace(&mut portal.state, PortalState::Done) {
            PortalState::Waiting {
                prepared,
                parameters,
            } => (prepared, parameters),
            PortalState::Flowing(rows) => {
                portal.state = PortalState::Flowing(Arc::clone(&rows));
                return Ok(Step::Rows(rows));
            }
            PortalState::Done => return Ok(Step::Done),
        };
        let Some(parsed) = prepared.parsed.clone() else {
            return Ok(Step::Other(Outcome::Empty));
        };
        match self.execute(parsed, &parameters).await? {
            Outcome::Rows(rows) => {
                let rows = Arc::new(Mutex::new(rows));
                if let Some(portal) = self.portals.get_mut(name) {
                    portal.state = PortalState::Flowing(Arc::clone(&rows));
                }
                Ok(Step::Rows(rows))
            }
            other => Ok(Step::Other(other)),
        }
    }

    /// Notes that a portal has given its last row: its query's resources are let go.
    pub(crate) fn portal_ended(&mut self, name: &str) {
        if let Some(portal) = self.portals.get_mut(name) {
            portal.state = PortalState::Done;
        }
    }

    /// Closes a portal or cursor; returns false if there was none.
    pub(crate) fn close_portal(&mut self, name: &str) -> bool {
        self.portals.remove(name).is_some()
    }

    /// Closes all cursors and portals.
    pub(crate) fn close_all_portals(&mut self) {
        self.portals.clear();
    }

    /// The end of a batch of protocol messages: outside of a transaction, its portals end with it.
    pub(crate) fn end_of_batch(&mut self) {
        if self.transaction == super::Transaction::Idle {
            self.portals
                .retain(|_, portal| portal.cursor && portal.hold);
        }
    }
}

fn no_cursor(name: &str) -> Error {
    let message = if name.is_empty() {
        "portal \"\" does not exist".to_owned()
    } else {
        format!("cursor \"{name}\" does not exist")
    };
    Error::user(SqlState::UndefinedCursor, message)
}
