//! The schema `information_schema`: columns, tables and views in SQL's own words; DataFusion's
//! other tables beside them.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::information_schema::InformationSchemaProvider;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::Result;

use super::super::context::{DATABASE, PUBLIC};
use super::super::pg_type;
use super::relations::{INFORMATION_SCHEMA, Known, NAMESPACES, Relation, RelationKind};
use super::sheet::Sheet;

/// The schema `information_schema`: ours before the others.
#[derive(Debug)]
pub(super) struct InformationSchema {
    pub others: InformationSchemaProvider,
    pub known: Known,
}

const OURS: [&str; 4] = ["columns", "schemata", "tables", "views"];

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.others.table_names();
        names.sort();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if !OURS.contains(&name) {
            return self.others.table(name).await;
        }
        if name == "schemata" {
            return schemata().map(Some);
        }
        let mut relations = self.known.all().await?;
        relations.retain(|relation| relation.schema != INFORMATION_SCHEMA);
        match name {
            "columns" => columns(&relations).map(Some),
            "tables" => tables(&relations).map(Some),
            _ => views(&relations).map(Some),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.others.table_exist(name)
    }
}

fn schemata() -> Result<Arc<dyn TableProvider>> {
    Sheet::new(NAMESPACES.len())
        .same_text("catalog_name", DATABASE)
        .text("schema_name", NAMESPACES.iter().map(|(_, name)| name))
        .same_text("schema_owner", DATABASE)
        .table()
}

fn tables(relations: &[Relation]) -> Result<Arc<dyn TableProvider>> {
    // PostgreSQL leaves materialized views out: the standard does not know them.
    let shown: Vec<&Relation> = relations
        .iter()
        .filter(|relation| relation.kind != RelationKind::MaterializedView)
        .collect();
    let kind = |relation: &&Relation| match relation.kind {
        RelationKind::Table => "BASE TABLE",
        RelationKind::View | RelationKind::MaterializedView => "VIEW",
    };
    Sheet::new(shown.len())
        .same_text("table_catalog", DATABASE)
        .text("table_schema", shown.iter().map(|relation| relation.schema))
        .text("table_name", shown.iter().map(|relation| &relation.name))
        .text("table_type", shown.iter().map(kind))
        .text(
            "is_insertable_into",
            shown.iter().map(|relation| {
                // A topic takes new messages; what the server keeps itself does not.
                let takes = relation.kind == RelationKind::Table && relation.schema == PUBLIC;
                if takes { "YES" } else { "NO" }
            }),
        )
        .table()
}

fn views(relations: &[Relation]) -> Result<Arc<dyn TableProvider>> {
    let shown: Vec<&Relation> = relations
        .iter()
        .filter(|relation| relation.kind == RelationKind::View)
        .collect();
    Sheet::new(shown.len())
        .same_text("table_catalog", DATABASE)
        .text("table_schema", shown.iter().map(|relation| relation.schema))
        .text("table_name", shown.iter().map(|relation| &relation.name))
        .nullable_text(
            "view_definition",
            shown.iter().map(|relation| relation.query.clone()),
        )
        .table()
}

fn columns(relations: &[Relation]) -> Result<Arc<dyn TableProvider>> {
    let all: Vec<_> = relations
        .iter()
        .filter(|relation| relation.kind != RelationKind::MaterializedView)
        .flat_map(|relation| {
            relation
                .columns
                .fields()
                .iter()
                .zip(1..)
                .map(move |(field, place)| (relation, place, field, pg_type::of_field(field)))
        })
        .collect();
    let nullable = |nullable: bool| if nullable { "YES" } else { "NO" };
    let precision = |modifier: i32| (modifier >= 4).then_some((modifier - 4) >> 16);
    let scale = |modifier: i32| (modifier >= 4).then_some((modifier - 4) & 0xffff);
    Sheet::new(all.len())
        .same_text("table_catalog", DATABASE)
        .text(
            "table_schema",
            all.iter().map(|(relation, ..)| relation.schema),
        )
        .text(
            "table_name",
            all.iter().map(|(relation, ..)| &relation.name),
        )
        .text(
            "column_name",
            all.iter().map(|(_, _, field, _)| field.name()),
        )
        .int4("ordinal_position", all.iter().map(|(_, place, ..)| *place))
        .nulls("column_default", &arrow::datatypes::DataType::Utf8View)
        .text(
            "is_nullable",
            all.iter()
                .map(|(_, _, field, _)| nullable(field.is_nullable())),
        )
        .text(
            "data_type",
            all.iter().map(|(.., kind)| pg_type::long_name(*kind)),
        )
        .nulls(
            "character_maximum_length",
            &arrow::datatypes::DataType::Int32,
        )
        .nullable_int4(
            "numeric_precision",
            all.iter().map(|(.., kind)| precision(kind.modifier)),
        )
        .nullable_int4(
            "numeric_scale",
            all.iter().map(|(.., kind)| scale(kind.modifier)),
        )
        .same_text("udt_catalog", DATABASE)
        .same_text("udt_schema", "pg_catalog")
        .text(
            "udt_name",
            all.iter().map(|(.., kind)| {
                if kind.is_array {
                    format!("_{}", kind.name)
                } else {
                    kind.name.to_owned()
                }
            }),
        )
        .same_text("is_identity", "NO")
        .same_text("is_generated", "NEVER")
        .same_text("is_updatable", "NO")
        .table()
}
