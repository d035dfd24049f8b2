//! CREATE SECRET: a text that options use and nobody is shown. When one is replaced, the queries that
//! use it go on from their checkpoints with the new text.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{dependents, mode, notice};
use crate::catalog::{Created, Definition, Definitions, SecretDefinition};
use crate::error::{Error, Result, SqlState};
use crate::session::{Outcome, Services, Session};
use crate::sql::CreateSecret;
use crate::task;

const TAG: &str = "CREATE SECRET";

pub(in crate::session) async fn run(
    session: &mut Session,
    clause: &CreateSecret,
) -> Result<Outcome> {
    let name = clause.name.name.as_str();
    match keep(session, clause).await? {
        Created::Existed => {
            let text = format!("\"{name}\" already exists, skipping");
            notice(session, Error::user(SqlState::DuplicateObject, text));
        }
        Created::New if clause.or_replace => restart_users(session.services(), name).await?,
        Created::New => {}
    }
    Ok(Outcome::done(TAG))
}

/// Keeps the secret; what uses it runs on as it is.
pub(super) async fn keep(session: &Session, clause: &CreateSecret) -> Result<Created> {
    let services = Arc::clone(session.services());
    let mode = mode(clause.if_not_exists, clause.or_replace);
    let secret = SecretDefinition::new(clause);
    let kept = task::spawn_blocking(move || {
        let defaults = services.config.kafka.connection();
        services.catalog.put_secret(secret, mode, defaults.as_ref())
    });
    let kept = kept.await;
    kept.map_err(|error| error.at(Some(clause.name.position)))
}

/// Starts the queries anew that use a secret, in their sinks or in the tables that they read.
async fn restart_users(services: &Arc<Services>, secret: &str) -> Result<()> {
    let definitions = services.catalog.snapshot();
    for definition in users(&definitions, secret) {
        if definition.query_options().is_none() {
            continue;
        }
        let plan = dependents::planned(services, definition).await?;
        let goes_on = dependents::goes_on((services, services), definition, &plan).await?;
        let (services, name) = (Arc::clone(services), definition.name().to_owned());
        let restart = move || {
            let _one = services.one_at_a_time();
            services.engine.restart_query(&name, plan, goes_on)
        };
        task::spawn_blocking(restart).await?;
    }
    services.engine.views_there().await;
    Ok(())
}

/// What uses a secret, and what reads that.
fn users<'a>(definitions: &'a Definitions, secret: &'a str) -> Vec<&'a Definition> {
    let mut reached: BTreeSet<&str> = BTreeSet::from([secret]);
    let mut found = Vec::new();
    for definition in definitions.in_order() {
        if definition
            .needs()
            .any(|name| reached.contains(name.as_str()))
        {
            reached.insert(definition.name());
            found.push(definition);
        }
    }
    found
}
