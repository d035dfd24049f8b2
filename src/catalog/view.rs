//! Views: a query under a name, kept as text or kept fresh.

use super::depends::names_in;
use super::options::Options;
use super::query_options;
use crate::error::Result;
use crate::plan::QueryOptions;
use crate::sql::{CreateMaterializedView, CreateView, StreamQuery};

/// A view: its query is put in its place.
#[derive(Debug)]
pub struct ViewDefinition {
    /// Its name.
    pub name: String,
    /// Names for the query's first columns.
    pub columns: Vec<String>,
    /// What it stands for.
    pub query: StreamQuery,
    /// The names that it reads.
    pub depends_on: Vec<String>,
    /// The CREATE statement.
    pub sql: String,
}

impl ViewDefinition {
    /// A view as declared.
    ///
    /// # Errors
    /// None so far: the query is checked where it is planned.
    pub fn try_new(clause: &CreateView) -> Result<Self> {
        Ok(Self {
            name: clause.name.name.clone(),
            columns: clause
                .columns
                .iter()
                .map(|column| column.name.clone())
                .collect(),
            query: clause.query.clone(),
            depends_on: names_in(&clause.query.query),
            sql: clause.text.clone(),
        })
    }
}

/// A materialized view: its query runs and its rows are kept.
#[derive(Debug, Clone)]
pub struct MaterializedViewDefinition {
    /// Its name.
    pub name: String,
    /// Names for the query's first columns.
    pub columns: Vec<String>,
    /// What it keeps.
    pub query: StreamQuery,
    /// How its query runs.
    pub options: QueryOptions,
    /// The names that it reads.
    pub depends_on: Vec<String>,
    /// The CREATE statement.
    pub sql: String,
}

impl MaterializedViewDefinition {
    /// A materialized view as declared.
    ///
    /// # Errors
    /// An unknown option, a value that it does not take.
    pub fn try_new(clause: &CreateMaterializedView) -> Result<Self> {
        let mut options = Options::new(&clause.options);
        let parsed = query_options::take(&mut options)?;
        options.finish("a materialized view")?;
        Ok(Self {
            name: clause.name.name.clone(),
            columns: clause
                .columns
                .iter()
                .map(|column| column.name.clone())
                .collect(),
            query: clause.query.clone(),
            options: parsed,
            depends_on: names_in(&clause.query.query),
            sql: clause.text.clone(),
        })
    }
}
