//! ALTER TABLE: columns come, go or get another type, options change. Whoever depends on what would
//! change is asked before anything is kept; queries that read the table go on from their checkpoints.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::continuous::{Wanted, continuous};
use super::{create_alert, create_sink, create_table, notice};
use crate::catalog::{AlteredTable, Catalog, Definition, needed};
use crate::engine::GoesOnAs;
use crate::error::{Error, Position, Result, SqlState, from_datafusion};
use crate::plan::StreamPlan;
use crate::planner::{check_table, plan_query};
use crate::session::{Outcome, Services, Session};
use crate::sql::{AlterTable, TableChange};
use crate::task;

const TAG: &str = "ALTER TABLE";
/// How often it begins anew because something else was changed meanwhile.
const TRIES_MAX: usize = 10;

/// A query that goes on by another plan.
struct GoesOn {
    name: String,
    plan: StreamPlan,
    goes_on: GoesOnAs,
}

pub(in crate::session) async fn run(session: &mut Session, alter: AlterTable) -> Result<Outcome> {
    for _ in 0..TRIES_MAX {
        let altered = match altered(session.services(), &alter) {
            Err(error) if alter.if_exists && error.state() == SqlState::UndefinedTable => {
                let text = format!("table \"{}\" does not exist, skipping", alter.name.name);
                notice(session, Error::user(SqlState::SuccessfulCompletion, text));
                return Ok(Outcome::done(TAG));
            }
            altered => altered?,
        };
        let go_on = dependents(session.services(), &alter, &altered).await?;
        create_table::find_topic(&altered.table, &altered.clause).await?;
        create_table::make_other_topics(session, &altered.table).await?;
        let skipped = altered.skipped.clone();
        if keep(session.services(), altered, go_on).await? {
            session.services().engine.views_there().await;
            for text in skipped {
                notice(session, Error::user(SqlState::SuccessfulCompletion, text));
            }
            return Ok(Outcome::done(TAG));
        }
    }
    let text = format!("table \"{}\" is being changed by others", alter.name.name);
    let error = Error::user(SqlState::ObjectInUse, text);
    Err(error.hint("Try again.").at(Some(alter.name.position)))
}

fn altered(services: &Services, alter: &AlterTable) -> Result<AlteredTable> {
    let defaults = services.config.kafka.connection();
    services.catalog.altered_table(alter, defaults.as_ref())
}

/// Checks the statement alone, as far as that goes without what runs, and keeps it for those after it.
pub(super) async fn check(session: &mut Session, alter: &AlterTable) -> Result<()> {
    let services = Arc::clone(session.services());
    let altered = match altered(&services, alter) {
        Err(error) if alter.if_exists && error.state() == SqlState::UndefinedTable => return Ok(()),
        altered => altered?,
    };
    dependents(&services, alter, &altered).await?;
    services.catalog.put_altered(&altered).map(drop)
}

/// Keeps the table, and lets the queries go on; false if something else was changed meanwhile. It goes
/// to its end although the client goes away.
async fn keep(services: &Arc<Services>, altered: AlteredTable, go_on: Vec<GoesOn>) -> Result<bool> {
    let services = Arc::clone(services);
    task::spawn_blocking(move || {
        if !services.catalog.put_altered(&altered)? {
            return Ok(false);
        }
        let names: Vec<String> = go_on.iter().map(|query| query.name.clone()).collect();
        // One that does not end keeps none of the others from going on.
        let mut all = Ok(());
        for GoesOn {
            name,
            plan,
            goes_on,
        } in go_on
        {
            all = all.and(services.engine.restart_query(&name, plan, goes_on));
        }
        // Who dropped one meanwhile has not found its query.
        let left = services.catalog.snapshot();
        let mut gone = names.iter().filter(|name| left.get(name).is_none());
        gone.try_for_each(|name| services.engine.drop_query(name))?;
        all.map(|()| true)
    })
    .await
}

/// Plans everything that reads the table as it would be; gives the queries whose plans differ.
///
/// # Errors
/// What cannot be any more, or cannot go on, by name.
async fn dependents(
    services: &Arc<Services>,
    alter: &AlterTable,
    altered: &AlteredTable,
) -> Result<Vec<GoesOn>> {
    let trial = services.with_catalog(Catalog::of(Arc::clone(&altered.after)));
    let at = |error: Error| error.at(Some(alter.name.position));
    check_table(&altered.table, trial.base_state()?).map_err(at)?;
    let ask = Ask {
        services,
        trial: &trial,
    };
    let mut reads: BTreeSet<&str> = BTreeSet::from([altered.table.name.as_str()]);
    let (mut go_on, mut refused) = (Vec::new(), Vec::new());
    for definition in altered.before.in_order() {
        let mut needs = definition.depends_on().iter();
        if !needs.any(|needed| reads.contains(needed.as_str())) {
            continue;
        }
        reads.insert(definition.name());
        match ask.one(definition).await? {
            Answer::Same => {}
            Answer::GoesOn(query) => go_on.push(*query),
            Answer::No(why) => refused.push((definition, why)),
        }
    }
    match refused.is_empty() {
        true => Ok(go_on),
        false => Err(refuse(alter, &refused).at(Some(place(alter)))),
    }
}

/// What one that reads the table says to the change.
enum Answer {
    /// Nothing changes for it.
    Same,
    /// It goes on by another plan.
    GoesOn(Box<GoesOn>),
    /// It cannot be, or cannot go on.
    No(String),
}

/// What there is, and what would be.
struct Ask<'a> {
    services: &'a Arc<Services>,
    trial: &'a Arc<Services>,
}

impl Ask<'_> {
    async fn one(&self, definition: &Definition) -> Result<Answer> {
        let keeps_rows = match definition {
            Definition::Table(_) | Definition::Secret(_) => return Ok(Answer::Same),
            Definition::View(_) => return self.view(definition).await,
            Definition::MaterializedView(_) => true,
            Definition::Sink(_) | Definition::Alert(_) => false,
        };
        let after = match planned(self.trial, definition).await {
            Ok(after) => after,
            Err(error) => return Ok(Answer::No(error.message().to_owned())),
        };
        // One that could not be planned before has nothing to lose.
        if let Ok(before) = planned(self.services, definition).await {
            if format!("{before:?}") == format!("{after:?}") {
                return Ok(Answer::Same);
            }
            if let Some(why) = before.breaks_with(&after, keeps_rows) {
                return Ok(Answer::No(why));
            }
            if before.loses_columns_with(&after) {
                return Ok(Answer::No("its rows would lose a column".to_owned()));
            }
        }
        let services = (self.services, self.trial);
        let goes_on = match goes_on(services, definition, &after).await {
            Ok(goes_on) => goes_on,
            Err(error) => return Ok(Answer::No(error.message().to_owned())),
        };
        Ok(Answer::GoesOn(Box::new(GoesOn {
            name: definition.name().to_owned(),
            plan: after,
            goes_on,
        })))
    }

    /// A view is put in its place wherever it is read; it must be readable, with all of its columns.
    async fn view(&self, definition: &Definition) -> Result<Answer> {
        let Definition::View(view) = definition else {
            return Ok(Answer::Same);
        };
        let columns = async |services: &Arc<Services>| {
            let planned = plan_query(services.base_state()?, view.query.query.clone()).await;
            let planned = planned.map_err(from_datafusion)?;
            let fields = planned.schema().fields().iter();
            let names: Vec<String> = fields.map(|field| field.name().clone()).collect();
            Ok::<_, Error>(names)
        };
        let after = match columns(self.trial).await {
            Ok(after) => after,
            Err(error) => return Ok(Answer::No(error.message().to_owned())),
        };
        let before = columns(self.services).await.unwrap_or_default();
        Ok(match before.iter().all(|name| after.contains(name)) {
            true => Answer::Same,
            false => Answer::No("its rows would lose a column".to_owned()),
        })
    }
}

/// What a definition's query goes on as by a plan; `trial` has the catalog of that.
pub(super) async fn goes_on(
    (services, trial): (&Arc<Services>, &Arc<Services>),
    definition: &Definition,
    plan: &StreamPlan,
) -> Result<GoesOnAs> {
    Ok(match definition {
        Definition::Sink(sink) => GoesOnAs::Sink(create_sink::open(services, sink, &plan.schema)),
        Definition::Alert(alert) => {
            let state = trial.base_state()?;
            let (_, watch) = create_alert::planned(trial, state, alert).await?;
            GoesOnAs::Alert(create_alert::setup(services, alert, watch)?)
        }
        Definition::Table(_)
        | Definition::View(_)
        | Definition::MaterializedView(_)
        | Definition::Secret(_) => GoesOnAs::View,
    })
}

/// The plan of a materialized view, a sink or an alert.
pub(super) async fn planned(
    services: &Arc<Services>,
    definition: &Definition,
) -> Result<StreamPlan> {
    let state = services.base_state()?;
    match definition {
        Definition::MaterializedView(view) => continuous(services, state, Wanted::view(view)).await,
        Definition::Sink(sink) => create_sink::planned(services, state, sink).await,
        Definition::Alert(alert) => create_alert::planned(services, state, alert)
            .await
            .map(|(plan, _)| plan),
        Definition::Table(_) | Definition::View(_) | Definition::Secret(_) => {
            Err(Error::internal("only what runs has a plan"))
        }
    }
}

/// Where the column stands that changes, if it is one.
fn place(alter: &AlterTable) -> Position {
    match alter.changes.as_slice() {
        [TableChange::Add { column, .. }] => column.position,
        [
            TableChange::Drop { column, .. }
            | TableChange::Type { column, .. }
            | TableChange::NotNull { column, .. },
        ] => column.position,
        _ => alter.name.position,
    }
}

/// The error that names whoever cannot go on, and why.
fn refuse(alter: &AlterTable, refused: &[(&Definition, String)]) -> Error {
    let table = &alter.name.name;
    let who = |definition: &Definition| format!("{} {}", definition.kind_name(), definition.name());
    if let [TableChange::Drop { column, .. }] = alter.changes.as_slice() {
        let needs: Vec<String> = refused
            .iter()
            .map(|(definition, _)| who(definition))
            .collect();
        return needed(&column.name, table, &needs);
    }
    let lines: Vec<String> = refused
        .iter()
        .map(|(definition, why)| format!("{} cannot go on: {why}.", who(definition)))
        .collect();
    Error::user(
        SqlState::DependentObjectsStillExist,
        format!("cannot alter table {table} because other objects depend on it"),
    )
    .detail(lines.join("\n"))
    .hint("Drop what depends on it, alter the table, and create it again.")
}
