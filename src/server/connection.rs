//! One client's connection: messages in, statements run, messages out.
//!
//! ```text
//! message -> simple | extended -> session -> rows -> out
//!               `-- interrupted by: cancel, statement_timeout, the client's end, the server's stop
//! ```
//! Invariant: one statement runs at a time; an interrupt drops it, and with it everything that it
//! had started.

mod extended;
mod simple;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::response::EmptyQueryResponse;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use super::backend::{self, Weight};
use super::cancel::Registration;
use super::encode::{Format, Style};
use super::frontend::Frontend;
use super::transport::{Incoming, Outgoing};
use super::{copy_out, rows};
use crate::clock;
use crate::error::{Error, Result, SqlState};
use crate::session::{Notices, Outcome, Rows, Session, Transaction};
use crate::task::Shutdown;

/// One client's connection.
pub(super) struct Connection<R, W> {
    incoming: Incoming<R>,
    out: Outgoing<W>,
    session: Session,
    interrupts: Interrupts,
    /// What stands for the process in notifications.
    pid: i32,
    /// After an error of the extended protocol: everything up to the next Sync is skipped.
    skipping: bool,
}

/// What can end a statement from outside.
struct Interrupts {
    cancelled: Arc<Notify>,
    shutdown: Shutdown,
}

/// Why a statement did not come to its end.
enum Stop {
    /// It failed; the client is told.
    Failed(Error),
    /// Nobody is there to be told.
    Gone,
    /// The server stops.
    Shutdown,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error.state() {
            SqlState::ConnectionFailure if is_ours(&error) => Self::Gone,
            _ => Self::Failed(error),
        }
    }
}

/// True if it is the client's connection that was lost, not one to the outside world.
fn is_ours(error: &Error) -> bool {
    error.message().starts_with(super::transport::LOST)
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Connection<R, W> {
    pub(super) fn new(
        incoming: Incoming<R>,
        out: Outgoing<W>,
        session: Session,
        registration: &Registration,
        shutdown: Shutdown,
    ) -> Self {
        let cancelled = Arc::clone(&registration.cancelled);
        let interrupts = Interrupts {
            cancelled,
            shutdown,
        };
        Self {
            incoming,
            out,
            session,
            interrupts,
            pid: registration.pid,
            skipping: false,
        }
    }

    /// Serves the client until it or the server ends the connection.
    pub(super) async fn run(mut self) {
        loop {
            let message = tokio::select! {
                biased;
                () = self.interrupts.shutdown.requested() => return self.say_goodbye().await,
                message = self.incoming.message() => message,
                told = self.session.hear(), if self.session.transaction() == Transaction::Idle => {
                    match self.tell(&told).await {
                        Ok(()) => continue,
                        Err(_) => return,
                    }
                }
            };
            let step = match message {
                Ok(None | Some(Frontend::Terminate)) => return,
                Ok(Some(message)) => self.step(message).await,
                Err(error) => return self.give_up(&error).await,
            };
            match step {
                Ok(()) => {}
                Err(Stop::Failed(error)) => return self.give_up(&error).await,
                Err(Stop::Gone) => return,
                Err(Stop::Shutdown) => return self.say_goodbye().await,
            }
        }
    }

    /// Answers one message. An error here ends the connection.
    async fn step(&mut self, message: Frontend) -> Result<(), Stop> {
        if self.skipping && !matches!(message, Frontend::Sync) {
            return Ok(());
        }
        if message.is_extended() {
            return self.extended(message).await;
        }
        match message {
            Frontend::Query(text) => self.simple(&text).await,
            Frontend::Refused { error, .. } => {
                self.report(&error, "")?;
                self.ready().await
            }
            // What is left of a COPY that was refused.
            _ => Ok(()),
        }
    }

    /// Tells the client of an error; the connection goes on.
    fn report(&mut self, error: &Error, text: &str) -> Result<()> {
        self.session.fail();
        self.session.services().counters.statement_error();
        notices(&self.session, &mut self.out)?;
        self.out
            .message(&backend::error(error, Weight::Error, text))
    }

    /// Tells what an alert has told.
    async fn tell(&mut self, told: &str) -> Result<()> {
        notices(&self.session, &mut self.out)?;
        self.out.message(&backend::notification(self.pid, told))?;
        self.out.flush().await
    }

    /// Says that the next statement may come.
    async fn ready(&mut self) -> Result<(), Stop> {
        if self.session.transaction() == Transaction::Idle {
            while let Some(told) = self.session.heard() {
                self.out.message(&backend::notification(self.pid, &told))?;
            }
        }
        notices(&self.session, &mut self.out)?;
        for (name, value) in self.session.take_changed() {
            self.out.message(&backend::parameter_status(name, &value))?;
        }
        self.out
            .message(&backend::ready(self.session.transaction()))?;
        Ok(self.out.flush().await?)
    }

    async fn say_goodbye(self) {
        let error = Error::external(
            SqlState::AdminShutdown,
            true,
            "terminating connection due to administrator command",
        );
        self.give_up(&error).await;
    }

    async fn give_up(mut self, error: &Error) {
        super::startup::refuse(error, &mut self.out).await;
    }
}

impl Interrupts {
    /// Runs a statement until it ends or something ends it.
    async fn guard<R: AsyncRead + Unpin, T>(
        &mut self,
        incoming: &mut Incoming<R>,
        time_max: Option<Duration>,
        work: impl Future<Output = Result<T, Stop>>,
    ) -> Result<T, Stop> {
        let cancelled = Arc::clone(&self.cancelled);
        let mut cancelled = pin!(cancelled.notified());
        // From here on a request counts, although nothing waits for it yet.
        cancelled.as_mut().enable();
        let timeout = async {
            match time_max {
                Some(time) => clock::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        let canceled = |why: &str| {
            let message = format!("canceling statement due to {why}");
            Err(Stop::Failed(Error::user(SqlState::QueryCanceled, message)))
        };
        tokio::select! {
            biased;
            () = self.shutdown.requested() => Err(Stop::Shutdown),
            () = cancelled => canceled("user request"),
            () = timeout => canceled("statement timeout"),
            done = AssertUnwindSafe(work).catch_unwind() => done.unwrap_or_else(|panic| {
                let error = Error::internal(format!("the statement panicked: {}", told(&panic)));
                tracing::error!(error = %error, "a statement panicked");
                Err(Stop::Failed(error))
            }),
            () = incoming.gone() => Err(Stop::Gone),
        }
    }
}

/// What a panic said.
fn told(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// Sends what the session has to say besides results.
fn notices<W: AsyncWrite + Unpin>(session: &Session, out: &mut Outgoing<W>) -> Result<()> {
    tell_all(&session.notices(), out)
}

/// Runs a statement, and sends what it has to say as that comes up.
async fn telling<W: AsyncWrite + Unpin, T>(
    notices: Notices,
    out: &mut Outgoing<W>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = notices.added() => {
                tell_all(&notices, out)?;
                out.flush().await?;
            }
        }
    }
}

fn tell_all<W: AsyncWrite + Unpin>(notices: &Notices, out: &mut Outgoing<W>) -> Result<()> {
    notices
        .take()
        .iter()
        .try_for_each(|notice| out.message(&backend::notice(notice)))
}

/// Sends an outcome that needs no description of its columns before it: all but rows.
async fn send_other<W: AsyncWrite + Unpin>(
    outcome: Outcome,
    style: Style,
    out: &mut Outgoing<W>,
) -> Result<()> {
    match outcome {
        Outcome::Empty => out.message(&Message::EmptyQueryResponse(EmptyQueryResponse::new())),
        Outcome::Command { tag } => out.message(&backend::complete(tag)),
        Outcome::CopyOut(copy) => {
            let rows = copy_out::send(copy, style, out).await?;
            out.message(&backend::complete(format!("COPY {rows}")))
        }
        Outcome::Rows(rows) => send_rows(rows, style, out).await,
    }
}

/// Sends rows as text, with their description and tag.
async fn send_rows<W: AsyncWrite + Unpin>(
    mut rows: Rows,
    style: Style,
    out: &mut Outgoing<W>,
) -> Result<()> {
    let formats = vec![Format::Text; rows.schema.fields().len()];
    out.message(&backend::row_description(&rows.schema, &formats)?)?;
    let sent = rows::send(&mut rows, 0, &formats, style, out).await?;
    out.message(&backend::complete(rows.tag.text(sent.rows)))
}
