//! What depends on a definition that is about to change: it is asked before, and goes on after.
//!
//! ```text
//! Change (what is, what would be) → ask: each dependent is planned anew → the catalog keeps it → restart
//! ```
//! Invariant: nothing is changed while somebody is asked; whoever cannot go on is named, with the reason.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::continuous::{Wanted, continuous};
use super::{create_alert, create_sink};
use crate::catalog::{AlertDefinition, Definition, Definitions, DefinitionsChange, kind_word};
use crate::engine::GoesOnAs;
use crate::error::{Error, Result, SqlState, from_datafusion};
use crate::plan::StreamPlan;
use crate::planner::plan_query;
use crate::session::Services;
use crate::sql::{Name, ObjectKind};

/// How often a statement begins anew because something else was changed meanwhile.
pub(super) const TRIES_MAX: usize = 10;

/// What a change makes of the rows that others read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Columns come, go or get other types; a row is what it was.
    Same,
    /// The rows may be others altogether.
    Other,
    /// It takes rows, and brings them somewhere else.
    Elsewhere,
}

/// A definition that is about to change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) name: &'a str,
    pub(super) definitions: &'a DefinitionsChange,
    pub(super) meaning: Meaning,
}

/// What those that depend on it say.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) go_on: Vec<GoesOn>,
    pub(super) refused: Vec<Refused>,
}

/// One that cannot go on.
pub(super) struct Refused {
    /// As people say it: "view v".
    pub(super) who: String,
    why: String,
}

/// A query that goes on by another plan.
pub(super) struct GoesOn {
    pub(super) who: String,
    name: String,
    plan: StreamPlan,
    goes_on: GoesOnAs,
}

impl Refused {
    /// The error of a statement that puts a definition in the place of another one.
    pub(super) fn error(refused: &[Self], kind: &str, name: &Name) -> Error {
        let text = format!(
            "cannot replace {kind} {} because other objects depend on it",
            name.name
        );
        Error::user(SqlState::DependentObjectsStillExist, text)
            .detail(Self::lines(refused))
            .hint("Drop what depends on it, replace it, and create it again.")
            .at(Some(name.position))
    }

    /// A line for each.
    pub(super) fn lines(refused: &[Self]) -> String {
        let lines = refused.iter();
        let lines: Vec<String> = lines
            .map(|Self { who, why }| format!("{who} cannot go on: {why}."))
            .collect();
        lines.join("\n")
    }
}

impl Change<'_> {
    /// The services as they would be.
    pub(super) fn trial(&self, services: &Services) -> Arc<Services> {
        let after = Arc::clone(&self.definitions.after);
        services.with_catalog(services.catalog.trial(after))
    }

    /// Plans everything that reads the definition as it would be.
    ///
    /// # Errors
    /// When what depends on it cannot be asked.
    pub(super) async fn ask(
        &self,
        services: &Arc<Services>,
        trial: &Arc<Services>,
    ) -> Result<Asked> {
        let ask = Ask {
            services,
            trial,
            meaning: self.meaning,
        };
        let mut reads: BTreeSet<&str> = BTreeSet::from([self.name]);
        let mut asked = Asked::default();
        for definition in self.definitions.before.in_order() {
            let mut needs = definition.depends_on().iter();
            if !needs.any(|needed| reads.contains(needed.as_str())) {
                continue;
            }
            reads.insert(definition.name());
            match ask.one(definition).await? {
                Answer::Same => {}
                Answer::GoesOn(query) => asked.go_on.push(*query),
                Answer::No(why) => asked.refused.push(Refused {
                    who: who(definition),
                    why,
                }),
            }
        }
        Ok(asked)
    }
}

/// Whether the keys of an alert have the types that they had: a key of another type is another key.
fn same_keys(alert: &AlertDefinition, before: &StreamPlan, after: &StreamPlan) -> bool {
    let type_of = |plan: &StreamPlan, name: &str| {
        let field = plan.schema.field_with_name(name);
        field.ok().map(|field| field.data_type().clone())
    };
    let mut keys = alert.clause.key.iter();
    keys.all(|key| type_of(before, &key.name) == type_of(after, &key.name))
}

fn who(definition: &Definition) -> String {
    format!("{} {}", definition.kind_name(), definition.name())
}

/// What depends on a definition that takes the place of another one goes on as it is, or by these plans.
///
/// # Errors
/// When one of them cannot go on.
pub(super) async fn replaced(
    services: &Arc<Services>,
    change: &DefinitionsChange,
    (kind, name): (ObjectKind, &Name),
) -> Result<Vec<GoesOn>> {
    let kind_word = kind_word(kind);
    let change = Change {
        name: &name.name,
        definitions: change,
        meaning: match kind {
            ObjectKind::Sink => Meaning::Elsewhere,
            _ => Meaning::Other,
        },
    };
    let asked = change.ask(services, &change.trial(services)).await?;
    match asked.refused.is_empty() {
        true => Ok(asked.go_on),
        false => Err(Refused::error(&asked.refused, kind_word, name)),
    }
}

/// Looks whether a materialized view that takes the place of another one has all of its columns, if plain views read
/// it: these are planned over what is there now.
///
/// # Errors
/// It has not.
pub(super) async fn check_columns(
    services: &Arc<Services>,
    before: &Definitions,
    (name, after): (&Name, &StreamPlan),
) -> Result<()> {
    let Some(old) = before.get(&name.name) else {
        return Ok(());
    };
    let Ok(old) = planned(services, old).await else {
        return Ok(());
    };
    let mut fields = old.schema.fields().iter();
    let kept = fields.all(|field| {
        let found = after.schema.field_with_name(field.name());
        found.is_ok_and(|found| found.data_type() == field.data_type())
    });
    let mut reads: BTreeSet<&str> = BTreeSet::from([name.name.as_str()]);
    let mut refused = Vec::new();
    for definition in before.in_order().filter(|_| !kept) {
        let mut needs = definition.depends_on().iter();
        if needs.any(|needed| reads.contains(needed.as_str())) {
            reads.insert(definition.name());
            if matches!(definition, Definition::View(_)) {
                refused.push(Refused {
                    who: who(definition),
                    why: "columns that it may read would be gone or of other types".to_owned(),
                });
            }
        }
    }
    match refused.is_empty() {
        true => Ok(()),
        false => Err(Refused::error(
            &refused,
            kind_word(ObjectKind::MaterializedView),
            name,
        )),
    }
}

/// What is to be told of queries that go on after a definition of this kind was replaced.
pub(super) fn told(go_on: &[GoesOn], kind: ObjectKind) -> Vec<String> {
    let how = match kind {
        ObjectKind::Sink => "tells the new sink from here on, also what waited for the former one",
        _ => "goes on with the new definition from the messages that it has not read",
    };
    let line = |query: &GoesOn| format!("{} {how}", query.who);
    go_on.iter().map(line).collect()
}

/// Lets queries go on by their new plans.
///
/// # Errors
/// When one does not end, or cannot be started; the others go on all the same.
pub(super) fn restart(services: &Services, go_on: Vec<GoesOn>) -> Result<()> {
    let names: Vec<String> = go_on.iter().map(|query| query.name.clone()).collect();
    // One that does not end keeps none of the others from going on.
    let mut all = Ok(());
    for query in go_on {
        let restarted = services
            .engine
            .restart_query(&query.name, query.plan, query.goes_on);
        all = all.and(restarted);
    }
    // Who dropped one meanwhile has not found its query.
    let left = services.catalog.snapshot();
    let mut gone = names.iter().filter(|name| left.get(name).is_none());
    gone.try_for_each(|name| services.engine.drop_query(name))?;
    all
}

/// Looks whether what a definition reads, and what that reads, is what it was when it was looked at.
///
/// # Errors
/// Something of it was changed meanwhile.
pub(super) fn check_same(
    definition: &Definition,
    seen: &Definitions,
    now: &Definitions,
) -> Result<()> {
    let mut needed: Vec<&str> = definition.depends_on().iter().map(String::as_str).collect();
    let mut reached = BTreeSet::new();
    while let Some(name) = needed.pop() {
        if !reached.insert(name) {
            continue;
        }
        let (before, after) = (seen.get(name), now.get(name));
        if before.map(Definition::sql) != after.map(Definition::sql) {
            let text = format!("\"{name}\" was changed by others meanwhile");
            return Err(Error::user(SqlState::ObjectInUse, text).hint("Try again."));
        }
        let below = after.into_iter().flat_map(Definition::depends_on);
        needed.extend(below.map(String::as_str));
    }
    Ok(())
}

/// The error when others change definitions all the time.
pub(super) fn busy(kind: ObjectKind, name: &Name) -> Error {
    let text = format!(
        "{} \"{}\" is being changed by others",
        kind_word(kind),
        name.name
    );
    let error = Error::user(SqlState::ObjectInUse, text);
    error.hint("Try again.").at(Some(name.position))
}

/// What one that reads it says to the change.
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
    meaning: Meaning,
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
            if let Definition::Alert(alert) = definition
                && !same_keys(alert, &before, &after)
            {
                return Ok(Answer::No("its keys would be of other types".to_owned()));
            }
            let is_same = format!("{before:?}") == format!("{after:?}");
            if is_same && self.meaning != Meaning::Elsewhere {
                return Ok(Answer::Same);
            }
            if let Some(why) = self.breaks(&before, &after, keeps_rows) {
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
            who: who(definition),
            name: definition.name().to_owned(),
            plan: after,
            goes_on,
        })))
    }

    fn breaks(&self, before: &StreamPlan, after: &StreamPlan, keeps_rows: bool) -> Option<String> {
        let mixes = match self.meaning {
            Meaning::Same | Meaning::Elsewhere => None,
            Meaning::Other => before.mixes_with(after, keeps_rows),
        };
        mixes.or_else(|| before.breaks_with(after, keeps_rows))
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
            GoesOnAs::Alert(create_alert::setup(trial, alert, watch)?)
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
