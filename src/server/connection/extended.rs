//! The extended protocol: statements prepared, bound, described and executed in steps.
//!
//! Invariant: after an error everything is skipped until the client's Sync.

use arrow::datatypes::FieldRef;
use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::data::NoData;
use pgwire::messages::extendedquery::{
    BindComplete, CloseComplete, ParseComplete, PortalSuspended,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, Stop, notices, send_other, telling};
use crate::error::{Error, Result, SqlState};
use crate::server::encode::Style;
use crate::server::frontend::{Bind, Frontend, Target};
use crate::server::transport::Outgoing;
use crate::server::{backend, decode, rows};
use crate::session::{Session, Step, pg_type};

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Connection<R, W> {
    pub(super) async fn extended(&mut self, message: Frontend) -> Result<(), Stop> {
        if matches!(message, Frontend::Sync) {
            self.skipping = false;
            self.session.end_of_batch();
            return self.ready().await;
        }
        if matches!(message, Frontend::Flush) {
            return Ok(self.out.flush().await?);
        }
        let text = self.text_of(&message);
        let time_max = self.session.statement_timeout();
        let work = Box::pin(answer(&mut self.session, &mut self.out, message));
        match self
            .interrupts
            .guard(&mut self.incoming, time_max, work)
            .await
        {
            Ok(()) => Ok(()),
            Err(Stop::Failed(error)) => {
                self.skipping = true;
                self.report(&error, &text)?;
                Ok(self.out.flush().await?)
            }
            Err(stop) => Err(stop),
        }
    }

    /// The text in which an error of this message has its place.
    fn text_of(&self, message: &Frontend) -> String {
        match message {
            Frontend::Parse { text, .. } => text.clone(),
            Frontend::Bind(bind) => self
                .session
                .prepared(&bind.statement)
                .map(|prepared| prepared.text.to_string())
                .unwrap_or_default(),
            Frontend::Execute { portal, .. } => self
                .session
                .portal(portal)
                .map(|portal| portal.text.to_string())
                .unwrap_or_default(),
            _ => String::new(),
        }
    }
}

async fn answer<W: AsyncWrite + Unpin>(
    session: &mut Session,
    out: &mut Outgoing<W>,
    message: Frontend,
) -> Result<(), Stop> {
    match message {
        Frontend::Parse { name, text, types } => {
            let types = types
                .into_iter()
                .map(parameter_type)
                .collect::<Result<Vec<_>>>()?;
            session.prepare(&name, &text, &types).await?;
            notices(session, out)?;
            out.message(&Message::ParseComplete(ParseComplete::new()))?;
        }
        Frontend::Bind(bind) => {
            self::bind(session, bind)?;
            out.message(&Message::BindComplete(BindComplete::new()))?;
        }
        Frontend::Describe {
            target: Target::Statement,
            name,
        } => {
            let prepared = session.prepared(&name)?;
            out.message(&backend::parameter_description(&prepared.parameters))?;
            describe(session.columns_of(&prepared).as_deref(), &[], out)?;
        }
        Frontend::Describe {
            target: Target::Portal,
            name,
        } => {
            let portal = session.portal(&name)?;
            describe(portal.columns.as_deref(), &portal.formats, out)?;
        }
        Frontend::Execute { portal, rows_max } => execute(session, out, &portal, rows_max).await?,
        Frontend::Close { target, name } => {
            match target {
                Target::Statement => session.forget_prepared(&name),
                Target::Portal => session.close_portal(&name),
            };
            out.message(&Message::CloseComplete(CloseComplete::new()))?;
        }
        Frontend::Refused { error, .. } => return Err(Stop::Failed(error)),
        Frontend::Query(_)
        | Frontend::Flush
        | Frontend::Sync
        | Frontend::Terminate
        | Frontend::CopyData
        | Frontend::CopyDone
        | Frontend::CopyFail => {}
    }
    Ok(out.flush_if_full().await?)
}

/// The type that a client gave a parameter; 0 and "unknown" leave it open.
fn parameter_type(oid: u32) -> Result<Option<FieldRef>> {
    const OPEN: [u32; 2] = [0, 705];
    if OPEN.contains(&oid) {
        return Ok(None);
    }
    pg_type::field_of_oid(oid).map(Some).ok_or_else(|| {
        Error::user(
            SqlState::UndefinedObject,
            format!("parameters of the type with OID {oid} are not supported"),
        )
    })
}

fn describe<W: AsyncWrite + Unpin>(
    columns: Option<&arrow::datatypes::Schema>,
    formats: &[i16],
    out: &mut Outgoing<W>,
) -> Result<()> {
    match columns {
        Some(schema) => {
            let formats = rows::formats(formats, schema.fields().len())?;
            out.message(&backend::row_description(schema, &formats)?)
        }
        None => out.message(&Message::NoData(NoData::new())),
    }
}

fn bind(session: &mut Session, bind: Bind) -> Result<()> {
    let prepared = session.prepared(&bind.statement)?;
    let (given, wanted) = (bind.parameters.len(), prepared.parameters.len());
    if given != wanted {
        return Err(Error::user(
            SqlState::ProtocolViolation,
            format!(
                "bind message supplies {given} parameters, but prepared statement \"{}\" \
                 requires {wanted}",
                bind.statement
            ),
        ));
    }
    let formats = rows::formats(&bind.parameter_formats, given)?;
    let parameters = bind
        .parameters
        .into_iter()
        .zip(formats)
        .zip(&prepared.parameters)
        .enumerate()
        .map(|(index, ((value, format), field))| {
            decode::parameter(index, value, format, field.as_deref())
        })
        .collect::<Result<Vec<_>>>()?;
    if let Some(columns) = session.columns_of(&prepared) {
        rows::formats(&bind.result_formats, columns.fields().len())?;
    }
    session.bind(&bind.portal, prepared, parameters, bind.result_formats)
}

async fn execute<W: AsyncWrite + Unpin>(
    session: &mut Session,
    out: &mut Outgoing<W>,
    name: &str,
    rows_max: usize,
) -> Result<()> {
    let style = Style {
        zone: session.zone(),
    };
    let codes = session.portal(name)?.formats.clone();
    let unseen = session.notices();
    let step = telling(unseen, out, Box::pin(session.run_portal(name))).await?;
    notices(session, out)?;
    match step {
        Step::Rows(shared) => {
            let mut rows = shared.lock().await;
            let formats = rows::formats(&codes, rows.schema.fields().len())?;
            let sent = rows::send(&mut rows, rows_max, &formats, style, out).await?;
            let tag = rows.tag;
            drop(rows);
            if !sent.ended {
                return out.message(&Message::PortalSuspended(PortalSuspended::new()));
            }
            session.portal_ended(name);
            out.message(&backend::complete(tag.text(sent.rows)))
        }
        Step::Other(outcome) => send_other(outcome, style, out).await,
        Step::Done => out.message(&backend::complete("SELECT 0")),
    }
}
