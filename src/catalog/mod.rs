//! What exists and how it was declared, durably.
//!
//! Owns names and definitions. A definition on disk is its CREATE statement, with an ALTER statement
//! if its query stands still; both are read again when the server starts. Knows no broker and no
//! running query.
//!
//! ```text
//! sql::CreateTable → TableDefinition ┐
//! sql::CreateView  → ViewDefinition  ├→ Catalog → catalog.json (fsynced before a statement answers)
//! ..                                 ┘
//! ```
//! Invariant: what a definition depends on exists.

mod alert;
mod alter;
mod alter_table;
mod change;
mod data_type;
mod definition;
mod depends;
mod event_time;
mod options;
mod query_options;
mod secret;
mod server_id;
mod sink;
mod store;
mod table;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

pub use alert::{AlertDefinition, SEVERITY_DEFAULT};
pub use alter_table::{AlteredTable, needed};
pub use change::DefinitionsChange;
pub use data_type::{sql_type_name, to_arrow};
pub use definition::{Definition, Definitions};
pub use query_options::query_options;
pub use secret::SecretDefinition;
pub use sink::{
    DELIVERY_DEFAULT, Delivery, DeliveryOptions, FileSinkCompression, FileSinkFormat,
    FileSinkPartition, FileSinkPlace, FileSinkTarget, FileSinkUnit, HttpMethod, KafkaSinkTarget,
    OutboxOptions, PostgresMode, PostgresSinkTarget, SinkDefinition, SinkFormat, SinkRows,
    SinkTarget, SlackSinkTarget, SlackWay, WebhookSinkTarget,
};
pub use table::{
    Column, ColumnOrigin, EVENT_TIME_MARK, KafkaTableOptions, TableDefinition, WatermarkDefinition,
};
pub use view::{MaterializedViewDefinition, ViewDefinition};

use crate::error::{Error, Result, SqlState};
use crate::sql::{self, ObjectKind};
use crate::types::KafkaConnection;
use store::Store;

/// What to do when the name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateMode {
    /// It is an error.
    Fail,
    /// Nothing.
    IfNotExists,
    /// The new definition takes the place of one of the same kind.
    Replace,
}

/// What came of a creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The definition is in the catalog.
    New,
    /// There was one with that name already.
    Existed,
}

/// The definitions of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Tells this server from others that use the same Kafka.
    server_id: String,
    current: Mutex<Arc<Definitions>>,
    store: Option<Store>,
}

impl Catalog {
    /// Opens the catalog in a data directory, which is made if it is not there. `defaults` is the
    /// cluster of tables that name none.
    ///
    /// # Errors
    /// When another server uses the directory, it cannot be written, or its file is damaged.
    pub fn open(dir: &Path, defaults: Option<&KafkaConnection>) -> Result<Self> {
        let store = Store::open(dir)?;
        let mut definitions = Definitions::default();
        for text in store.read()? {
            let definition = match alter::paused(&text, &definitions) {
                Some(paused) => paused,
                None => Definition::parse(&text, defaults, &definitions)
                    .map_err(|error| unusable(&text, &error))?,
            };
            definitions.insert(definition);
        }
        let is_empty = definitions.all().next().is_none();
        let current = Mutex::new(Arc::new(definitions));
        Ok(Self {
            inner: Arc::new(Inner {
                server_id: server_id::of(dir, is_empty)?,
                current,
                store: Some(store),
            }),
        })
    }

    /// A catalog that is gone with the process.
    pub fn in_memory() -> Self {
        let current = Mutex::new(Arc::new(Definitions::default()));
        Self {
            inner: Arc::new(Inner {
                server_id: server_id::new(),
                current,
                store: None,
            }),
        }
    }

    /// What tells this server from others: made once for a data directory.
    pub fn server_id(&self) -> &str {
        &self.inner.server_id
    }

    /// What exists now; later changes do not show in it.
    pub fn snapshot(&self) -> Arc<Definitions> {
        Arc::clone(&self.lock())
    }

    /// Says whether a definition could be added now; for statements that do something before.
    ///
    /// # Errors
    /// A taken name, a missing dependency, a transactional id that another sink has.
    pub fn check(&self, definition: &Definition, mode: CreateMode) -> Result<Created> {
        check(definition, mode, &self.lock(), self.server_id())
    }

    /// Adds a definition; it lasts when this returns.
    ///
    /// # Errors
    /// A taken name, a missing dependency, a transactional id that another sink has, a disk that
    /// refuses.
    pub fn create(&self, definition: Definition, mode: CreateMode) -> Result<Created> {
        let mut current = self.lock();
        if check(&definition, mode, &current, self.server_id())? == Created::Existed {
            return Ok(Created::Existed);
        }
        let mut next = current.by_name().clone();
        next.insert(definition.name().to_owned(), definition);
        self.replace(&mut current, next)?;
        Ok(Created::New)
    }

    /// Finds what a DROP names.
    ///
    /// # Errors
    /// An unknown name, another kind.
    pub fn find(&self, kind: ObjectKind, name: &str) -> Result<Definition> {
        find(kind, name, &self.lock()).cloned()
    }

    /// Takes definitions of one kind away, all or none; with `cascade` also what depends on them.
    /// Gives what is gone, dependents first. It lasts when this returns.
    ///
    /// # Errors
    /// An unknown name, another kind, dependents without `cascade`, a disk that refuses.
    pub fn drop(&self, kind: ObjectKind, names: &[&str], cascade: bool) -> Result<Vec<Definition>> {
        let mut current = self.lock();
        let mut gone = Vec::new();
        let mut seen = BTreeSet::new();
        for name in names {
            find(kind, name, &current)?;
            visit(name, &current, &mut seen, &mut gone);
        }
        if !cascade {
            check_unneeded(names, &gone, &current)?;
        }
        let mut next = current.by_name().clone();
        let dropped = gone.iter().filter_map(|name| next.remove(name)).collect();
        self.replace(&mut current, next)?;
        Ok(dropped)
    }

    fn replace(
        &self,
        current: &mut Arc<Definitions>,
        next: BTreeMap<String, Definition>,
    ) -> Result<()> {
        let next = Definitions::new(next);
        if let Some(store) = &self.inner.store {
            let paused: Vec<String> = next.all().filter_map(alter::pause_statement).collect();
            let created = next.in_order().map(Definition::statement);
            store.write(created.chain(paused.iter().map(String::as_str)))?;
        }
        *current = Arc::new(next);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<Definitions>> {
        self.inner
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kind as people say it.
pub(crate) fn kind_word(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Table => "table",
        ObjectKind::View => "view",
        ObjectKind::MaterializedView => "materialized view",
        ObjectKind::Sink => "sink",
        ObjectKind::Secret => "secret",
        ObjectKind::Alert => "alert",
        ObjectKind::Query => "query",
    }
}

/// "a table", "an alert".
pub(crate) fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {kind}")
}

fn taken(existing: &Definition) -> Error {
    Error::user(
        SqlState::DuplicateTable,
        format!("relation \"{}\" already exists", existing.name()),
    )
    .detail(format!("It is {}.", with_article(existing.kind_name())))
}

fn missing(kind: ObjectKind, name: &str, current: &Definitions) -> Error {
    if kind == ObjectKind::Secret {
        return secret::missing(name, current);
    }
    let error = Error::user(
        SqlState::UndefinedTable,
        format!("{} \"{name}\" does not exist", kind_word(kind)),
    );
    let names: Vec<&str> = current.all().map(Definition::name).collect();
    match crate::error::nearest(name, &names) {
        Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
        None => error,
    }
}

/// What would come of a creation.
fn check(
    definition: &Definition,
    mode: CreateMode,
    current: &Definitions,
    server_id: &str,
) -> Result<Created> {
    if let Some(existing) = current.get(definition.name()) {
        match mode {
            CreateMode::IfNotExists => return Ok(Created::Existed),
            CreateMode::Replace if existing.kind() == definition.kind() => {
                if matches!(existing, Definition::Table(_)) {
                    check_replaced(existing, definition, current)?;
                }
            }
            CreateMode::Fail | CreateMode::Replace => return Err(taken(existing)),
        }
    }
    check_dependencies(definition, current)?;
    check_transactional_id(definition, current, server_id)?;
    Ok(Created::New)
}

/// A table that others read is not replaced under them by something else.
fn check_replaced(
    existing: &Definition,
    definition: &Definition,
    current: &Definitions,
) -> Result<()> {
    let (name, word) = (existing.name(), existing.kind_name());
    let needs = |other: &&Definition| other.depends_on().iter().any(|needed| needed == name);
    let line = |other: &Definition| {
        let kind = other.kind_name();
        format!("{kind} {} depends on {word} {name}.", other.name())
    };
    let lines: Vec<String> = current.all().filter(needs).map(line).collect();
    // How it is made, without how it is said to be made.
    let behind_name = |sql: &str| sql.split_once(name).map(|(_, rest)| rest.to_owned());
    if lines.is_empty() || behind_name(existing.sql()) == behind_name(definition.sql()) {
        return Ok(());
    }
    let error = Error::user(
        SqlState::DependentObjectsStillExist,
        format!("cannot replace {word} {name} because other objects depend on it"),
    );
    Err(error.detail(lines.join("\n")).hint(
        "Drop them first and create them again after it. ALTER TABLE changes a table under them.",
    ))
}

/// Two sinks of one id would keep each other from writing.
fn check_transactional_id(
    definition: &Definition,
    current: &Definitions,
    server_id: &str,
) -> Result<()> {
    let id_of = |definition: &Definition| match definition {
        Definition::Sink(sink) => sink.transactional_id(server_id),
        Definition::Table(_)
        | Definition::View(_)
        | Definition::MaterializedView(_)
        | Definition::Secret(_)
        | Definition::Alert(_) => None,
    };
    let Some(id) = id_of(definition) else {
        return Ok(());
    };
    let has_it = |other: &&Definition| {
        other.name() != definition.name() && id_of(other).as_ref() == Some(&id)
    };
    match current.all().find(has_it) {
        None => Ok(()),
        Some(other) => Err(Error::user(
            SqlState::DuplicateObject,
            format!("the transactional id \"{id}\" is in use"),
        )
        .detail(format!("Sink \"{}\" has it.", other.name()))
        .hint("Leave transactional_id out, or choose another one.")),
    }
}

/// The definition of that name and kind.
fn find<'a>(kind: ObjectKind, name: &str, current: &'a Definitions) -> Result<&'a Definition> {
    let found = current
        .get(name)
        .ok_or_else(|| missing(kind, name, current))?;
    if found.kind() == kind {
        return Ok(found);
    }
    Err(Error::user(
        SqlState::WrongObjectType,
        format!("\"{name}\" is not {}", with_article(kind_word(kind))),
    )
    .hint(format!(
        "It is {0}: use DROP {1} {2}.",
        with_article(found.kind_name()),
        found.kind_name().to_uppercase(),
        sql::quote(name)
    )))
}

/// What a definition needs must be there, be readable, and not need the definition itself.
fn check_dependencies(definition: &Definition, current: &Definitions) -> Result<()> {
    for name in definition.secrets() {
        secret::find(name, current)?;
    }
    for name in definition.depends_on() {
        match current.get(name) {
            Some(Definition::Sink(_)) if notifies(definition, name) => {}
            Some(found) if notifies(definition, name) => {
                return Err(alert::no_sink(name, found.kind_name()));
            }
            Some(found) if found.can_be_read() => {}
            Some(found) => {
                return Err(Error::user(
                    SqlState::WrongObjectType,
                    format!(
                        "\"{name}\" is {} and cannot be read",
                        with_article(found.kind_name())
                    ),
                )
                .hint(match found.kind() {
                    ObjectKind::Secret => "Only an option can name a secret.",
                    _ => "Create a table for the sink's topic to read what it wrote.",
                }));
            }
            None if notifies(definition, name) => {
                return Err(missing(ObjectKind::Sink, name, current)
                    .hint("Create it first: CREATE SINK s WITH (connector = ..)."));
            }
            None => {
                return Err(Error::user(
                    SqlState::UndefinedTable,
                    format!("relation \"{name}\" does not exist"),
                ));
            }
        }
    }
    let name = definition.name();
    let (mut above, mut seen) = (Vec::new(), BTreeSet::new());
    visit(name, current, &mut seen, &mut above);
    match definition
        .depends_on()
        .iter()
        .find(|needed| above.contains(needed))
    {
        // Only a definition that is replaced can be needed already.
        Some(needed) => Err(Error::user(
            SqlState::InvalidTableDefinition,
            format!("{} \"{name}\" would read itself", definition.kind_name()),
        )
        .detail(format!("\"{needed}\" needs \"{name}\"."))),
        None => Ok(()),
    }
}

/// True if the definition is an alert that tells a sink of that name.
fn notifies(definition: &Definition, name: &str) -> bool {
    matches!(definition, Definition::Alert(alert) if alert.notifies(name))
}

/// Adds a name after everything that depends on it, the furthest first.
fn visit(name: &str, all: &Definitions, seen: &mut BTreeSet<String>, found: &mut Vec<String>) {
    if !seen.insert(name.to_owned()) {
        return;
    }
    let above = all.all().filter(|d| d.needs().any(|needed| needed == name));
    for definition in above {
        visit(definition.name(), all, seen, found);
    }
    found.push(name.to_owned());
}

/// Refuses when something that is not named itself needs what is to go.
fn check_unneeded(names: &[&str], gone: &[String], current: &Definitions) -> Result<()> {
    let others: Vec<&Definition> = gone
        .iter()
        .rev()
        .filter(|name| !names.contains(&name.as_str()))
        .filter_map(|name| current.get(name))
        .collect();
    let Some(found) = names.first().and_then(|name| current.get(name)) else {
        return Ok(());
    };
    if others.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = others
        .iter()
        .map(|d| {
            let needed: Vec<String> = d
                .needs()
                .filter(|needed| gone.contains(needed))
                .filter_map(|needed| current.get(needed))
                .map(|needed| format!("{} {}", needed.kind_name(), needed.name()))
                .collect();
            format!(
                "{} {} depends on {}.",
                d.kind_name(),
                d.name(),
                needed.join(", ")
            )
        })
        .collect();
    Err(Error::user(
        SqlState::DependentObjectsStillExist,
        format!(
            "cannot drop {} {} because other objects depend on it",
            found.kind_name(),
            found.name()
        ),
    )
    .detail(lines.join("\n"))
    .hint("Use DROP .. CASCADE to drop them too."))
}

/// A statement of the file that this server cannot use.
fn unusable(text: &str, error: &Error) -> Error {
    let head: String = text
        .split_whitespace()
        .take(4)
        .collect::<Vec<_>>()
        .join(" ");
    let told = Error::external(
        error.state(),
        false,
        format!(
            "a definition in the data directory cannot be used: {}",
            error.message()
        ),
    )
    .detail(format!("The statement begins with: {head}."));
    match error.hint_text() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

#[cfg(test)]
mod tests;
