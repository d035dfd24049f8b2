//! What there is, as PostgreSQL's catalogs number it.
//!
//! Invariant: a relation's object identifier depends on its name alone (and, when two names would
//! share one, on the names before it), so that it is the same in every catalog and after a restart.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider};
use datafusion::error::Result;

use super::super::Services;
use super::super::context::{PUBLIC, SYSTEM};
use crate::catalog::Definition;

/// The schema of PostgreSQL's catalogs.
pub(super) const PG_CATALOG: &str = "pg_catalog";
/// The schema of the catalogs in SQL's own words.
pub(super) const INFORMATION_SCHEMA: &str = "information_schema";

/// The schemas with their object identifiers; those of PostgreSQL have PostgreSQL's.
pub(super) const NAMESPACES: [(i32, &str); 4] = [
    (11, PG_CATALOG),
    (2_200, PUBLIC),
    (13_000, INFORMATION_SCHEMA),
    (16_384, SYSTEM),
];
/// The database's object identifier.
pub(super) const DATABASE_OID: i32 = 16_385;
/// The object identifier of who owns everything.
pub(super) const OWNER_OID: i32 = 10;

/// The letters of `pg_class.relkind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RelationKind {
    Table,
    View,
    MaterializedView,
}

impl RelationKind {
    pub(super) fn letter(self) -> &'static str {
        match self {
            Self::Table => "r",
            Self::View => "v",
            Self::MaterializedView => "m",
        }
    }
}

/// Something with columns.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub oid: i32,
    pub namespace: i32,
    pub schema: &'static str,
    pub name: String,
    pub kind: RelationKind,
    pub columns: SchemaRef,
    /// The query of a view.
    pub query: Option<String>,
}

/// Where the relations are asked for. The services own the planning state that owns this, and so
/// does the database: hence the weak references.
#[derive(Debug, Clone)]
pub(super) struct Known {
    services: Weak<Services>,
    database: Weak<MemoryCatalogProvider>,
}

impl Known {
    pub(super) fn new(services: &Arc<Services>, database: &Arc<MemoryCatalogProvider>) -> Self {
        Self {
            services: Arc::downgrade(services),
            database: Arc::downgrade(database),
        }
    }

    /// Everything that has columns, by schema and name; nothing once the server is going down.
    pub(super) async fn all(&self) -> Result<Vec<Relation>> {
        match (self.services.upgrade(), self.database.upgrade()) {
            (Some(services), Some(database)) => all(&services, database.as_ref()).await,
            _ => Ok(Vec::new()),
        }
    }
}

async fn all(services: &Arc<Services>, database: &dyn CatalogProvider) -> Result<Vec<Relation>> {
    let mut relations = Vec::new();
    for (namespace, schema) in NAMESPACES {
        let Some(provider) = database.schema(schema) else {
            continue;
        };
        let mut names = provider.table_names();
        names.sort();
        for name in names {
            let (kind, query) = kind_of(services, schema, &name);
            // A view whose query cannot be planned any more is shown without columns; the
            // catalogs too, because asking them for theirs would ask for this list again.
            let columns = if let Some(declared) = declared(services, schema, &name) {
                declared
            } else if schema == PG_CATALOG || schema == INFORMATION_SCHEMA {
                Arc::new(Schema::empty())
            } else {
                let provider = provider.table(&name).await.ok().flatten();
                provider.map_or_else(|| Arc::new(Schema::empty()), |provider| provider.schema())
            };
            let relation = Relation {
                oid: 0,
                namespace,
                schema,
                name,
                kind,
                columns,
                query,
            };
            relations.push(relation);
        }
    }
    number(&mut relations);
    Ok(relations)
}

/// The columns of a table as they were declared.
fn declared(services: &Services, schema: &str, name: &str) -> Option<SchemaRef> {
    if schema != PUBLIC {
        return None;
    }
    let table = Arc::clone(services.catalog.snapshot().table(name)?);
    let fields: Vec<_> = table
        .columns
        .iter()
        .map(|column| Arc::clone(&column.field))
        .collect();
    Some(Arc::new(Schema::new(fields)))
}

fn kind_of(services: &Services, schema: &str, name: &str) -> (RelationKind, Option<String>) {
    if schema != PUBLIC {
        let kind = if schema == PG_CATALOG {
            RelationKind::Table
        } else {
            RelationKind::View
        };
        return (kind, None);
    }
    match services.catalog.snapshot().get(name) {
        Some(Definition::View(view)) => (RelationKind::View, Some(view.query.text.clone())),
        Some(Definition::MaterializedView(view)) => (
            RelationKind::MaterializedView,
            Some(view.query.text.clone()),
        ),
        Some(
            Definition::Table(_)
            | Definition::Sink(_)
            | Definition::Alert(_)
            | Definition::Secret(_),
        )
        | None => (RelationKind::Table, None),
    }
}

/// Gives each relation its number, above those that PostgreSQL gives.
fn number(relations: &mut [Relation]) {
    const LOWEST: u32 = 0x4000_0000;
    let mut taken = BTreeSet::new();
    for relation in relations {
        let text = format!("{}.{}", relation.schema, relation.name);
        let hash = crc32c::crc32c(text.as_bytes()) % LOWEST;
        let mut oid = i32::try_from(LOWEST + hash).unwrap_or(i32::MAX);
        while !taken.insert(oid) {
            oid = oid.checked_add(1).unwrap_or(DATABASE_OID + 1);
        }
        relation.oid = oid;
    }
}

/// The user's relations, without their columns.
pub(super) fn public(services: &Services) -> Vec<Relation> {
    let mut relations: Vec<Relation> = services
        .catalog
        .snapshot()
        .all()
        .filter(|definition| definition.can_be_read())
        .map(|definition| {
            let (kind, query) = kind_of(services, PUBLIC, definition.name());
            Relation {
                oid: 0,
                namespace: NAMESPACES[1].0,
                schema: PUBLIC,
                name: definition.name().to_owned(),
                kind,
                columns: Arc::new(Schema::empty()),
                query,
            }
        })
        .collect();
    relations.sort_by(|one, other| one.name.cmp(&other.name));
    number(&mut relations);
    relations
}
