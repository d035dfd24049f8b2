//! The catalogs whose rows are ours: relations, columns, schemas, the database, roles, variables.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::error::Result;

use super::super::context::DATABASE;
use super::super::pg_type;
use super::super::variables::Variables;
use super::relations::{DATABASE_OID, NAMESPACES, OWNER_OID, Relation, RelationKind};
use super::sheet::Sheet;

/// The names of the catalogs that are built here.
pub(super) const OURS: [&str; 13] = [
    "pg_attribute",
    "pg_class",
    "pg_database",
    "pg_matviews",
    "pg_namespace",
    "pg_policy",
    "pg_roles",
    "pg_settings",
    "pg_stat_user_tables",
    "pg_tables",
    "pg_user",
    "pg_user_mappings",
    "pg_views",
];

/// Builds a catalog; `None` if it is not one of ours.
pub(super) fn build(name: &str, relations: &[Relation]) -> Result<Option<Arc<dyn TableProvider>>> {
    let table = match name {
        "pg_attribute" => attributes(relations)?,
        "pg_class" => classes(relations)?,
        "pg_database" => databases()?,
        "pg_matviews" => materialized_views(relations)?,
        "pg_namespace" => namespaces()?,
        "pg_policy" => policies()?,
        "pg_roles" => roles()?,
        "pg_settings" => settings()?,
        "pg_stat_user_tables" => statistics(relations)?,
        "pg_tables" => tables(relations)?,
        "pg_user" => users()?,
        "pg_user_mappings" => user_mappings()?,
        "pg_views" => views(relations)?,
        _ => return Ok(None),
    };
    Ok(Some(table))
}

fn classes(relations: &[Relation]) -> Result<Arc<dyn TableProvider>> {
    let each = || relations.iter();
    let count =
        |relation: &Relation| i16::try_from(relation.columns.fields().len()).unwrap_or(i16::MAX);
    Sheet::new(relations.len())
        .oid("oid", each().map(|relation| relation.oid))
        .text("relname", each().map(|relation| &relation.name))
        .oid("relnamespace", each().map(|relation| relation.namespace))
        .same_oid("reltype", 0)
        .same_oid("reloftype", 0)
        .same_oid("relowner", OWNER_OID)
        .same_oid("relam", 0)
        .oid("relfilenode", each().map(|relation| relation.oid))
        .same_oid("reltablespace", 0)
        .same_int4("relpages", 0)
        .same_float4("reltuples", -1.0)
        .same_int4("relallvisible", 0)
        .same_oid("reltoastrelid", 0)
        .same_bool("relhasindex", false)
        .same_bool("relisshared", false)
        .same_text("relpersistence", "p")
        .text("relkind", each().map(|relation| relation.kind.letter()))
        .int2("relnatts", each().map(count))
        .same_int2("relchecks", 0)
        .same_bool("relhasrules", false)
        .same_bool("relhastriggers", false)
        .same_bool("relhassubclass", false)
        .same_bool("relrowsecurity", false)
        .same_bool("relforcerowsecurity", false)
        .same_bool("relispopulated", true)
        .same_text("relreplident", "n")
        .same_bool("relispartition", false)
        .same_oid("relrewrite", 0)
        .same_int4("relfrozenxid", 0)
        .same_int4("relminmxid", 0)
        .no_texts("relacl")
        .no_texts("reloptions")
        .nulls("relpartbound", &DataType::Utf8View)
        .table()
}

/// A column and where it stands in its relation.
struct Attribute<'a> {
    relation: i32,
    number: i16,
    field: &'a FieldRef,
}

fn attributes(relations: &[Relation]) -> Result<Arc<dyn TableProvider>> {
    let all: Vec<Attribute<'_>> = relations
        .iter()
        .flat_map(|relation| {
            relation
                .columns
                .fields()
                .iter()
                .zip(1_i16..)
                .map(|(field, number)| Attribute {
                    relation: relation.oid,
                    number,
                    field,
                })
        })
        .collect();
    let each = || all.iter();
    let kind = |attribute: &Attribute<'_>| pg_type::of_field(attribute.field);
    Sheet::new(all.len())
        .oid("attrelid", each().map(|attribute| attribute.relation))
        .text("attname", each().map(|attribute| attribute.field.name()))
        .oid(
            "atttypid",
            each().map(|attribute| kind(attribute).oid.cast_signed()),
        )
        .same_int4("attstattarget", -1)
        .int2("attlen", each().map(|attribute| kind(attribute).size))
        .int2("attnum", each().map(|attribute| attribute.number))
        .int4(
            "attndims",
            each().map(|attribute| i32::from(kind(attribute).is_array)),
        )
        .same_int4("attcacheoff", -1)
        .int4(
            "atttypmod",
            each().map(|attribute| kind(attribute).modifier),
        )
        .bool("attbyval", each().map(|attribute| kind(attribute).size > 0))
        .same_text("attalign", "i")
        .same_text("attstorage", "p")
        .same_text("attcompression", "")
        .bool(
            "attnotnull",
            each().map(|attribute| !attribute.field.is_nullable()),
        )
        .same_bool("atthasdef", false)
        .same_bool("atthasmissing", false)
        .same_text("attidentity", "")
        .same_text("attgenerated", "")
        .same_bool("attisdropped", false)
        .same_bool("attislocal", true)
        .same_int4("attinhcount", 0)
        .same_oid("attcollation", 0)
        .no_texts("attacl")
        .no_texts("attoptions")
        .no_texts("attfdwoptions")
        .nulls("attmissingval", &DataType::Utf8View)
        .table()
}

fn namespaces() -> Result<Arc<dyn TableProvider>> {
    Sheet::new(NAMESPACES.len())
        .oid("oid", NAMESPACES.iter().map(|(oid, _)| *oid))
        .text("nspname", NAMESPACES.iter().map(|(_, name)| name))
        .same_oid("nspowner", OWNER_OID)
        .no_texts("nspacl")
        .table()
}

fn databases() -> Result<Arc<dyn TableProvider>> {
    Sheet::new(1)
        .same_oid("oid", DATABASE_OID)
        .same_text("datname", DATABASE)
        .same_oid("datdba", OWNER_OID)
        .same_int4("encoding", 6)
        .same_text("datlocprovider", "c")
        .same_bool("datistemplate", false)
        .same_bool("datallowconn", true)
        .same_int4("datconnlimit", -1)
        .same_int4("datfrozenxid", 0)
        .same_int4("datminmxid", 0)
        .same_oid("dattablespace", 1_663)
        .same_text("datcollate", "C")
        .same_text("datctype", "C")
        .nulls("daticulocale", &DataType::Utf8View)
        .nulls("datcollversion", &DataType::Utf8View)
        .no_texts("datacl")
        .table()
}

fn roles() -> Result<Arc<dyn TableProvider>> {
    Sheet::new(1)
        .same_text("rolname", DATABASE)
        .same_bool("rolsuper", true)
        .same_bool("rolinherit", true)
        .same_bool("rolcreaterole", true)
        .same_bool("rolcreatedb", true)
        .same_bool("rolcanlogin", true)
        .same_bool("rolreplication", false)
        .same_int4("rolconnlimit", -1)
        .same_text("rolpassword", "********")
        .nulls(
            "rolvaliduntil",
            &DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        )
        .same_bool("rolbypassrls", true)
        .no_texts("rolconfig")
        .same_oid("oid", OWNER_OID)
        .table()
}

fn users() -> Result<Arc<dyn TableProvider>> {
    Sheet::new(1)
        .same_text("usename", DATABASE)
        .same_oid("usesysid", OWNER_OID)
        .same_bool("usecreatedb", true)
        .same_bool("usesuper", true)
        .same_bool("userepl", false)
        .same_bool("usebypassrls", true)
        .same_text("passwd", "********")
        .nulls(
            "valuntil",
            &DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        )
        .no_texts("useconfig")
        .table()
}

/// There are none; the types of its columns are what clients ask about.
fn policies() -> Result<Arc<dyn TableProvider>> {
    let numbers = DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true)));
    Sheet::new(0)
        .same_oid("oid", 0)
        .same_text("polname", "")
        .same_oid("polrelid", 0)
        .same_text("polcmd", "")
        .same_bool("polpermissive", true)
        .nulls("polroles", &numbers)
        .nulls("polqual", &DataType::Utf8View)
        .nulls("polwithcheck", &DataType::Utf8View)
        .table()
}

fn user_mappings() -> Result<Arc<dyn TableProvider>> {
    Sheet::new(0)
        .same_oid("umid", 0)
        .same_oid("srvid", 0)
        .same_text("srvname", "")
        .same_oid("umuser", 0)
        .same_text("usename", "")
        .no_texts("umoptions")
        .table()
}

/// The variables with their defaults.
fn settings() -> Result<Arc<dyn TableProvider>> {
    let all = Variables::default().all();
    let each = || all.iter();
    Sheet::new(all.len())
        .text("name", each().map(|shown| &shown.name))
        .text("setting", each().map(|shown| &shown.setting))
        .nulls("unit", &DataType::Utf8View)
        .same_text("category", "Headwater")
        .text("short_desc", each().map(|shown| shown.about))
        .nulls("extra_desc", &DataType::Utf8View)
        .same_text("context", "user")
        .same_text("vartype", "string")
        .same_text("source", "default")
        .nulls("min_val", &DataType::Utf8View)
        .nulls("max_val", &DataType::Utf8View)
        .no_texts("enumvals")
        .text("boot_val", each().map(|shown| &shown.setting))
        .text("reset_val", each().map(|shown| &shown.setting))
        .nulls("sourcefile", &DataType::Utf8View)
        .nulls("sourceline", &DataType::Int32)
        .same_bool("pending_restart", false)
        .table()
}

fn of_kind(relations: &[Relation], kind: RelationKind) -> Vec<&Relation> {
    relations
        .iter()
        .filter(|relation| relation.kind == kind)
        .collect()
}

fn tables(relations: &[Relation]) -> Result<Arc<dyn TableProvider>> {
    let tables = of_kind(relations, RelationKind::Table);
    Sheet::new(tables.len())
        .text("schemaname", tables.iter().map(|relation| relation.schema))
        .text("tablename", tables.iter().map(|relation| &relation.name))
        .same_text("tableowner", DATABASE)
        .nulls("tablespace", &DataType::Utf8View)
        .same_bool("hasindexes", false)
        .same_bool("hasrules", false)
        .same_bool("hastriggers", false)
        .same_bool("rowsecurity", false)
        .table()
}

fn views(relations: &[Relation]) -> Result<Arc<dyn TableProvider>> {
    let views = of_kind(relations, RelationKind::View);
    Sheet::new(views.len())
        .text("schemaname", views.iter().map(|relation| relation.schema))
        .text("viewname", views.iter().map(|relation| &relation.name))
        .same_text("viewowner", DATABASE)
        .nullable_text(
            "definition",
            views.iter().map(|relation| relation.query.clone()),
        )
        .table()
}

fn materialized_views(relations: &[Relation]) -> Result<Arc<dyn TableProvider>> {
    let views = of_kind(relations, RelationKind::MaterializedView);
    Sheet::new(views.len())
        .text("schemaname", views.iter().map(|relation| relation.schema))
        .text("matviewname", views.iter().map(|relation| &relation.name))
        .same_text("matviewowner", DATABASE)
        .nulls("tablespace", &DataType::Utf8View)
        .same_bool("hasindexes", false)
        .same_bool("ispopulated", true)
        .nullable_text(
            "definition",
            views.iter().map(|relation| relation.query.clone()),
        )
        .table()
}

fn statistics(relations: &[Relation]) -> Result<Arc<dyn TableProvider>> {
    let tables = of_kind(relations, RelationKind::Table);
    Sheet::new(tables.len())
        .oid("relid", tables.iter().map(|relation| relation.oid))
        .text("schemaname", tables.iter().map(|relation| relation.schema))
        .text("relname", tables.iter().map(|relation| &relation.name))
        .nulls("n_live_tup", &DataType::Int64)
        .table()
}
