//! One thing that exists, and all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    AlertDefinition, MaterializedViewDefinition, SecretDefinition, SinkDefinition, TableDefinition,
    ViewDefinition, kind_word,
};
use crate::error::{Error, Result};
use crate::plan::QueryOptions;
use crate::sql::{self, ObjectKind, Statement};
use crate::types::KafkaConnection;

/// One thing that exists.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each variant is the definition of its name")]
pub enum Definition {
    Table(Arc<TableDefinition>),
    View(Arc<ViewDefinition>),
    MaterializedView(Arc<MaterializedViewDefinition>),
    Sink(Arc<SinkDefinition>),
    Secret(Arc<SecretDefinition>),
    Alert(Arc<AlertDefinition>),
}

impl Definition {
    /// Reads a definition from its CREATE statement; `before` is what exists already.
    ///
    /// # Errors
    /// What is wrong with the statement.
    pub(super) fn parse(
        text: &str,
        defaults: Option<&KafkaConnection>,
        before: &Definitions,
    ) -> Result<Self> {
        let mut statement = sql::parse(text)?.pop().map(|parsed| parsed.statement);
        if let Some(statement) = &mut statement {
            before.resolve_event_time(statement)?;
            before.resolve_secrets(statement)?;
        }
        Ok(match statement {
            Some(Statement::CreateTable(clause)) => {
                Self::Table(Arc::new(TableDefinition::try_new(&clause, defaults)?))
            }
            Some(Statement::CreateView(clause)) => {
                Self::View(Arc::new(ViewDefinition::try_new(&clause)?))
            }
            Some(Statement::CreateMaterializedView(clause)) => {
                Self::MaterializedView(Arc::new(MaterializedViewDefinition::try_new(&clause)?))
            }
            Some(Statement::CreateSink(clause)) => {
                Self::Sink(Arc::new(SinkDefinition::try_new(&clause, defaults)?))
            }
            Some(Statement::CreateAlert(clause)) => {
                Self::Alert(Arc::new(AlertDefinition::try_new(&clause)?))
            }
            Some(Statement::CreateSecret(clause)) => {
                Self::Secret(Arc::new(SecretDefinition::new(&clause)))
            }
            _ => return Err(Error::internal("not a definition")),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Table(table) => &table.name,
            Self::View(view) => &view.name,
            Self::MaterializedView(view) => &view.name,
            Self::Sink(sink) => &sink.name,
            Self::Secret(secret) => &secret.name,
            Self::Alert(alert) => &alert.name,
        }
    }

    /// Its kind.
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::Table(_) => ObjectKind::Table,
            Self::View(_) => ObjectKind::View,
            Self::MaterializedView(_) => ObjectKind::MaterializedView,
            Self::Sink(_) => ObjectKind::Sink,
            Self::Secret(_) => ObjectKind::Secret,
            Self::Alert(_) => ObjectKind::Alert,
        }
    }

    /// The kind as people say it.
    pub fn kind_name(&self) -> &'static str {
        kind_word(self.kind())
    }

    /// Its CREATE statement for people: secrets are masked.
    pub fn sql(&self) -> &str {
        match self {
            Self::Table(table) => &table.sql,
            Self::View(view) => &view.sql,
            Self::MaterializedView(view) => &view.sql,
            Self::Sink(sink) => &sink.sql,
            Self::Secret(secret) => &secret.sql,
            Self::Alert(alert) => &alert.sql,
        }
    }

    /// Its CREATE statement as written.
    pub(super) fn statement(&self) -> &str {
        match self {
            Self::Table(table) => &table.statement,
            Self::View(view) => &view.sql,
            Self::MaterializedView(view) => &view.sql,
            Self::Sink(sink) => &sink.statement,
            Self::Secret(secret) => secret.statement(),
            Self::Alert(alert) => &alert.sql,
        }
    }

    /// How its query runs, if it has one.
    pub fn query_options(&self) -> Option<QueryOptions> {
        match self {
            Self::Table(_) | Self::View(_) | Self::Secret(_) => None,
            Self::MaterializedView(view) => Some(view.options),
            Self::Sink(sink) => sink.query.as_ref().map(|_| sink.query_options),
            Self::Alert(alert) => Some(alert.options),
        }
    }

    /// The same, with a query that stands still or does not.
    pub(super) fn with_paused(mut self, paused: bool) -> Self {
        match &mut self {
            Self::Table(_) | Self::View(_) | Self::Secret(_) => {}
            Self::MaterializedView(view) => Arc::make_mut(view).options.paused = paused,
            Self::Sink(sink) => Arc::make_mut(sink).query_options.paused = paused,
            Self::Alert(alert) => Arc::make_mut(alert).options.paused = paused,
        }
        self
    }

    /// True if its query stands still.
    pub(super) fn is_paused(&self) -> bool {
        self.query_options().is_some_and(|options| options.paused)
    }

    /// The names that it reads.
    pub fn depends_on(&self) -> &[String] {
        match self {
            Self::Table(_) | Self::Secret(_) => &[],
            Self::View(view) => &view.depends_on,
            Self::MaterializedView(view) => &view.depends_on,
            Self::Sink(sink) => &sink.depends_on,
            Self::Alert(alert) => &alert.depends_on,
        }
    }

    /// The secrets that it names.
    pub fn secrets(&self) -> &[String] {
        match self {
            Self::Table(table) => &table.secrets,
            Self::Sink(sink) => &sink.secrets,
            Self::View(_) | Self::MaterializedView(_) | Self::Secret(_) | Self::Alert(_) => &[],
        }
    }

    /// Everything without which it cannot be: what it reads, and secrets.
    pub fn needs(&self) -> impl Iterator<Item = &String> {
        self.depends_on().iter().chain(self.secrets())
    }

    /// True if it can stand in FROM.
    pub fn can_be_read(&self) -> bool {
        !matches!(self, Self::Sink(_) | Self::Secret(_) | Self::Alert(_))
    }
}

/// Everything that exists, at one moment.
#[derive(Debug, Default)]
pub struct Definitions {
    by_name: BTreeMap<String, Definition>,
}

impl Definitions {
    pub(super) fn new(by_name: BTreeMap<String, Definition>) -> Self {
        Self { by_name }
    }

    pub(super) fn insert(&mut self, definition: Definition) {
        self.by_name
            .insert(definition.name().to_owned(), definition);
    }

    pub(super) fn by_name(&self) -> &BTreeMap<String, Definition> {
        &self.by_name
    }

    /// The definition of a name.
    pub fn get(&self, name: &str) -> Option<&Definition> {
        self.by_name.get(name)
    }

    /// The table of a name.
    pub fn table(&self, name: &str) -> Option<&Arc<TableDefinition>> {
        match self.by_name.get(name) {
            Some(Definition::Table(table)) => Some(table),
            _ => None,
        }
    }

    /// True if that is a materialized view.
    pub fn is_materialized_view(&self, name: &str) -> bool {
        matches!(
            self.by_name.get(name),
            Some(Definition::MaterializedView(_))
        )
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = &Definition> {
        self.by_name.values()
    }

    /// All of them, each after what it depends on.
    pub fn in_order(&self) -> impl Iterator<Item = &Definition> {
        let mut placed: Vec<&Definition> = Vec::with_capacity(self.by_name.len());
        let mut left: Vec<&Definition> = self.by_name.values().collect();
        while !left.is_empty() {
            let ready = |d: &&Definition| {
                d.needs().all(|name| {
                    placed.iter().any(|p| p.name() == name) || !self.by_name.contains_key(name)
                })
            };
            let (now, later): (Vec<_>, Vec<_>) = left.iter().copied().partition(ready);
            assert!(
                !now.is_empty(),
                "definitions cannot depend on each other in a circle"
            );
            placed.extend(now);
            left = later;
        }
        placed.into_iter()
    }
}
