//! The simple protocol: a text of statements, each answered before the next one runs.

use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::response::EmptyQueryResponse;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, Stop, notices, send_other, telling};
use crate::error::Result;
use crate::server::encode::Style;
use crate::server::transport::Outgoing;
use crate::session::{Parsed, Session, Statement};

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Connection<R, W> {
    /// Runs the statements of a text; after the first error the rest is not run.
    pub(super) async fn simple(&mut self, text: &str) -> Result<(), Stop> {
        self.session.forget_prepared("");
        self.session.close_portal("");
        match self.session.parse(text) {
            Err(error) => self.report(&error, text)?,
            Ok(statements) if is_empty(&statements) => {
                self.out
                    .message(&Message::EmptyQueryResponse(EmptyQueryResponse::new()))?;
            }
            Ok(statements) => self.run_all(statements, text).await?,
        }
        self.ready().await
    }

    async fn run_all(&mut self, statements: Vec<Parsed>, text: &str) -> Result<(), Stop> {
        for parsed in statements {
            let time_max = self.session.statement_timeout();
            let work = Box::pin(run(&mut self.session, &mut self.out, parsed));
            match self
                .interrupts
                .guard(&mut self.incoming, time_max, work)
                .await
            {
                Ok(()) => {}
                Err(Stop::Failed(error)) => {
                    self.report(&error, text)?;
                    return Ok(());
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }
}

fn is_empty(statements: &[Parsed]) -> bool {
    statements
        .iter()
        .all(|parsed| parsed.statement == Statement::Empty)
}

async fn run<W: AsyncWrite + Unpin>(
    session: &mut Session,
    out: &mut Outgoing<W>,
    parsed: Parsed,
) -> Result<(), Stop> {
    let unseen = session.notices();
    let outcome = telling(unseen, out, Box::pin(session.execute(parsed, &[]))).await?;
    notices(session, out)?;
    let style = Style {
        zone: session.zone(),
    };
    Ok(send_other(outcome, style, out).await?)
}
