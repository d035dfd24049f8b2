//! One connection's statements: variables, transaction, prepared statements, cursors, dispatch.
//!
//! ```text
//! text -> parse -> Parsed -> execute -> Outcome (a tag, or rows as they are produced)
//! ```
//! Knows nothing of the wire: `server` turns outcomes into messages, `cli` prints them.
//! Invariant: statements of one session run one after another; what two sessions share is in
//! [`Services`].

mod alert_tables;
mod context;
#[cfg(test)]
mod define;
mod dispatch;
pub(crate) mod handler;
mod interruptible;
mod listening;
mod notices;
mod outcome;
mod parameters;
mod pg_catalog;
pub(crate) mod pg_type;
mod portal;
mod prepared;
mod services;
#[cfg(test)]
mod simulation;
mod startup;
mod system_tables;
mod tables;
mod transaction;
pub(crate) mod variables;
pub(crate) mod zone;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::execution::SessionState;

#[cfg(test)]
pub(crate) use define::define;
pub(crate) use listening::CHANNEL;
use listening::Heard;
pub use notices::Notices;
pub use outcome::{CopyOut, Notice, Outcome, RowStream, Rows, RowsTag, Severity};
pub(crate) use portal::{Portal, Step};
pub(crate) use prepared::Prepared;
pub use services::Services;
pub use startup::start_queries;
pub use transaction::Transaction;
use variables::Variables;

use crate::error::{Error, Result, SqlState};
pub use crate::sql::{CopyFormat, CopyOptions, ForceQuote, Parsed, Statement};

/// Who is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name.
    pub user: String,
    /// What stands for the process in PostgreSQL's functions.
    pub pid: i32,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            user: "headwater".to_owned(),
            pid: 0,
        }
    }
}

/// One connection's statements and what they leave behind.
pub struct Session {
    services: Arc<Services>,
    identity: Identity,
    variables: Variables,
    /// The variables as they were when the transaction began: ROLLBACK brings them back.
    variables_before: Option<Variables>,
    transaction: Transaction,
    statements: BTreeMap<String, Arc<Prepared>>,
    /// Portals and cursors: they share their names, as in PostgreSQL.
    portals: BTreeMap<String, Portal>,
    notices: Notices,
    /// What alerts tell, if it listens.
    heard: Option<Heard>,
    /// Variables that the client was told, with what it was told.
    told: BTreeMap<&'static str, String>,
    /// The planning state for the variables as they are; made anew when one changes.
    state: Option<Arc<SessionState>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("identity", &self.identity)
            .field("transaction", &self.transaction)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session of the default user.
    pub fn new(services: Arc<Services>) -> Self {
        Self::of(services, Identity::default())
    }

    /// A session of this user.
    pub fn of(services: Arc<Services>, identity: Identity) -> Self {
        let mut variables = Variables::default();
        variables
            .set_initial("session_authorization", &identity.user)
            .expect("the variable is known and takes every name");
        Self {
            services,
            identity,
            variables,
            variables_before: None,
            transaction: Transaction::Idle,
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            notices: Notices::default(),
            heard: None,
            told: BTreeMap::new(),
            state: None,
        }
    }

    /// Reads a text of statements.
    ///
    /// # Errors
    /// 42601 with the place of what cannot be read.
    pub fn parse(&self, text: &str) -> Result<Vec<Parsed>> {
        crate::sql::parse(text)
    }

    /// Reads a text of statements, each for itself.
    ///
    /// # Errors
    /// 42601 when the text cannot be cut into statements; what is wrong within one is its own.
    pub fn parse_each(&self, text: &str) -> Result<Vec<Result<Parsed>>> {
        crate::sql::parse_each(text)
    }

    /// Runs one statement. Its parameters (`$1`..) have these values.
    ///
    /// # Errors
    /// Whatever the statement's handler reports; a transaction has then failed.
    pub async fn execute(&mut self, parsed: Parsed, parameters: &[ScalarValue]) -> Result<Outcome> {
        self.services.counters.statement();
        let outcome = self.try_execute(parsed.statement, parameters).await;
        if outcome.is_err() {
            self.fail();
        }
        outcome
    }

    /// Checks one statement as far as that goes without a broker; starts nothing.
    ///
    /// # Errors
    /// What running it would report before it asks a broker.
    pub async fn check(&mut self, mut parsed: Parsed) -> Result<()> {
        let definitions = self.services.catalog.snapshot();
        definitions.resolve_secrets(&mut parsed.statement)?;
        handler::check::run(self, parsed.statement).await
    }

    async fn try_execute(
        &mut self,
        statement: Statement,
        parameters: &[ScalarValue],
    ) -> Result<Outcome> {
        self.transaction
            .admit(dispatch::ends_transaction(&statement))?;
        let mut statement = parameters::bind(statement, parameters)?;
        let definitions = self.services.catalog.snapshot();
        definitions.resolve_event_time(&mut statement)?;
        definitions.resolve_secrets(&mut statement)?;
        dispatch::run(self, statement).await
    }

    /// Tells the session that a statement failed outside of it (cancelled, or its rows broke off).
    pub fn fail(&mut self) {
        self.transaction = self.transaction.after_error();
        if self.transaction == Transaction::Failed {
            self.portals.clear();
        }
    }

    /// Where the session stands in a transaction.
    pub fn transaction(&self) -> Transaction {
        self.transaction
    }

    /// What all sessions share.
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// The value of a variable.
    ///
    /// # Errors
    /// 42704 for a name that is not known.
    pub fn variable(&self, name: &str) -> Result<String> {
        self.variables.get(name)
    }

    /// Sets what the client asked for when it connected: RESET goes back to it.
    ///
    /// # Errors
    /// 42704 for a name that is not known, 22023 for a value that it does not take.
    pub fn set_initial(&mut self, name: &str, value: &str) -> Result<()> {
        self.state = None;
        self.variables.set_initial(name, value)
    }

    /// The time after which a statement is cancelled.
    pub fn statement_timeout(&self) -> Option<std::time::Duration> {
        self.variables.statement_timeout()
    }

    /// The zone in which a timestamptz is written.
    pub fn zone(&self) -> Tz {
        let name = self.variables.get("timezone").unwrap_or_default();
        zone::parse(&name).unwrap_or_else(|_| "UTC".parse().expect("UTC is a zone"))
    }

    /// Keeps a message for the client.
    pub fn notice(&mut self, notice: Notice) {
        self.notices.add(notice);
    }

    /// The messages that the client has not seen, also for who shows them while a statement runs.
    pub fn notices(&self) -> Notices {
        self.notices.clone()
    }

    /// The variables that the protocol tells the client, where they changed.
    pub fn take_changed(&mut self) -> Vec<(&'static str, String)> {
        let now = self.variables.reported();
        let changed: Vec<_> = now
            .into_iter()
            .filter(|(name, value)| self.told.get(name) != Some(value))
            .collect();
        self.told.extend(changed.iter().cloned());
        changed
    }

    /// The state in which queries are planned and run.
    ///
    /// # Errors
    /// When DataFusion refuses its configuration, which is a mistake of ours.
    pub(crate) fn state(&mut self) -> Result<Arc<SessionState>> {
        if let Some(state) = &self.state {
            return Ok(Arc::clone(state));
        }
        let state = Arc::new(context::build(
            &self.services,
            &self.variables,
            &self.identity,
        )?);
        self.state = Some(Arc::clone(&state));
        Ok(state)
    }

    fn begin(&mut self) {
        self.transaction = Transaction::Open;
        self.variables_before = Some(self.variables.clone());
    }

    fn end(&mut self, keep: bool) {
        self.transaction = Transaction::Idle;
        let before = self.variables_before.take();
        if keep {
            self.variables.uncover();
        } else if let Some(before) = before {
            self.variables = before;
        }
        self.portals.retain(|_, portal| portal.hold && keep);
        self.state = None;
    }
}

/// An error that tells the session's limit of something.
fn too_many(what: &str, limit: usize) -> Error {
    Error::user(
        SqlState::ProgramLimitExceeded,
        format!("a connection can have at most {limit} {what}"),
    )
}

/// The columns of rows, if a statement has any.
pub(crate) type Columns = Option<SchemaRef>;
