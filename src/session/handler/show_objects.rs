//! SHOW TABLES and the like, SHOW COLUMNS, SHOW CREATE, DESCRIBE.

use std::sync::Arc;

use super::text_table;
use crate::catalog::{ColumnOrigin, Definition, Definitions};
use crate::error::{Error, Result, SqlState};
use crate::session::{Outcome, RowsTag, Session};
use crate::sql::{self, Name, ObjectKind, Statement};
use crate::types::{MetadataColumn, PathStep};

/// SHOW TABLES | VIEWS | MATERIALIZED VIEWS | SINKS | SECRETS | ALERTS | QUERIES [LIKE pattern].
pub(in crate::session) fn objects(
    session: &Session,
    kind: ObjectKind,
    like: Option<&str>,
) -> Result<Outcome> {
    let definitions = session.services().catalog.snapshot();
    let matches = |name: &str| like.is_none_or(|pattern| is_like(name, pattern));
    let named = definitions
        .all()
        .filter(|d| d.kind() == kind && matches(d.name()));
    let batch = match kind {
        ObjectKind::Query => return queries(session, matches),
        ObjectKind::Table => {
            let tables: Vec<_> = named.filter_map(as_table).collect();
            text_table(&[
                (
                    "name",
                    tables.iter().map(|t| Some(t.name.clone())).collect(),
                ),
                (
                    "topic",
                    tables
                        .iter()
                        .map(|t| Some(t.options.topic.clone()))
                        .collect(),
                ),
                (
                    "bootstrap_servers",
                    tables
                        .iter()
                        .map(|t| Some(t.options.connection.bootstrap_servers.clone()))
                        .collect(),
                ),
                (
                    "event_time",
                    tables
                        .iter()
                        .map(|t| {
                            t.watermark
                                .as_ref()
                                .map(|watermark| watermark.column.clone())
                        })
                        .collect(),
                ),
            ])?
        }
        ObjectKind::Secret => {
            let names = named.map(|secret| Some(secret.name().to_owned())).collect();
            text_table(&[("name", names)])?
        }
        ObjectKind::View | ObjectKind::MaterializedView | ObjectKind::Sink | ObjectKind::Alert => {
            let named: Vec<&Definition> = named.collect();
            text_table(&[
                (
                    "name",
                    named.iter().map(|d| Some(d.name().to_owned())).collect(),
                ),
                (
                    "definition",
                    named.iter().map(|d| Some(d.sql().to_owned())).collect(),
                ),
            ])?
        }
    };
    Ok(Outcome::table(RowsTag::Show, batch))
}

fn as_table(definition: &Definition) -> Option<&Arc<crate::catalog::TableDefinition>> {
    match definition {
        Definition::Table(table) => Some(table),
        Definition::View(_)
        | Definition::MaterializedView(_)
        | Definition::Sink(_)
        | Definition::Alert(_)
        | Definition::Secret(_) => None,
    }
}

fn queries(session: &Session, matches: impl Fn(&str) -> bool) -> Result<Outcome> {
    let queries: Vec<_> = session
        .services()
        .engine
        .queries()
        .into_iter()
        .filter(|query| matches(&query.name))
        .map(|query| (query.status(), query))
        .collect();
    let batch = text_table(&[
        (
            "name",
            queries.iter().map(|(_, q)| Some(q.name.clone())).collect(),
        ),
        (
            "kind",
            queries
                .iter()
                .map(|(_, q)| Some(q.kind.name().to_owned()))
                .collect(),
        ),
        (
            "state",
            queries
                .iter()
                .map(|(s, _)| Some(s.state.name().to_owned()))
                .collect(),
        ),
        (
            "query",
            queries.iter().map(|(_, q)| Some(q.text.clone())).collect(),
        ),
    ])?;
    Ok(Outcome::table(RowsTag::Show, batch))
}

/// DESCRIBE name, SHOW COLUMNS FROM name.
pub(in crate::session) async fn describe(session: &mut Session, name: &Name) -> Result<Outcome> {
    if name.schema.is_some() {
        return describe_system(session, name).await;
    }
    let definitions = session.services().catalog.snapshot();
    let found = definitions.get(&name.name);
    let found = found.filter(|definition| !matches!(definition, Definition::Secret(_)));
    let Some(definition) = found else {
        return Err(unknown(&definitions, name));
    };
    let columns: Vec<(String, String, String)> = match definition {
        Definition::Table(table) => table
            .columns
            .iter()
            .map(|column| {
                let mut note = origin(&column.origin);
                if table
                    .watermark
                    .as_ref()
                    .is_some_and(|w| w.column == *column.field.name())
                {
                    note = format!("{note}; event time")
                        .trim_start_matches("; ")
                        .to_owned();
                }
                (column.field.name().clone(), column.sql_type.clone(), note)
            })
            .collect(),
        Definition::View(_)
        | Definition::MaterializedView(_)
        | Definition::Sink(_)
        | Definition::Alert(_)
        | Definition::Secret(_) => super::continuous::columns_of(session, definition)
            .await?
            .fields()
            .iter()
            .map(|f| {
                let sql_type = crate::catalog::sql_type_name(f);
                (f.name().clone(), sql_type, String::new())
            })
            .collect(),
    };
    let batch = text_table(&[
        (
            "column",
            columns
                .iter()
                .map(|(name, ..)| Some(name.clone()))
                .collect(),
        ),
        (
            "type",
            columns
                .iter()
                .map(|(_, sql_type, _)| Some(sql_type.clone()))
                .collect(),
        ),
        (
            "note",
            columns
                .iter()
                .map(|(.., note)| Some(note.clone()))
                .collect(),
        ),
    ])?;
    Ok(Outcome::table(RowsTag::Describe, batch))
}

/// DESCRIBE of a table of another schema: what a query of it would give.
async fn describe_system(session: &mut Session, name: &Name) -> Result<Outcome> {
    let text = format!("SELECT * FROM {}", name.sql());
    let at = |error: Error| error.at(Some(name.position));
    let Some(Statement::Query(query)) = sql::parse(&text)?.pop().map(|one| one.statement) else {
        return Err(Error::internal(format!("not a query: {text}")));
    };
    let plan = super::continuous::logical_of(session, &query)
        .await
        .map_err(at)?;
    let fields = plan.schema().fields();
    let batch = text_table(&[
        (
            "column",
            fields.iter().map(|f| Some(f.name().clone())).collect(),
        ),
        (
            "type",
            fields
                .iter()
                .map(|f| Some(crate::catalog::sql_type_name(f)))
                .collect(),
        ),
        ("note", fields.iter().map(|_| Some(String::new())).collect()),
    ])?;
    Ok(Outcome::table(RowsTag::Describe, batch))
}

fn origin(origin: &ColumnOrigin) -> String {
    match origin {
        ColumnOrigin::Payload(path) if path.len() <= 1 => String::new(),
        ColumnOrigin::Payload(path) => {
            let steps: Vec<String> = path
                .iter()
                .map(|step| match step {
                    PathStep::Key(key) => format!(".{key}"),
                    PathStep::Index(index) => format!("[{index}]"),
                })
                .collect();
            format!("from {}", steps.concat().trim_start_matches('.'))
        }
        ColumnOrigin::Metadata(column) => format!("the record's {}", metadata(*column)),
        ColumnOrigin::Computed(expr) => format!("computed: {expr}"),
    }
}

fn metadata(column: MetadataColumn) -> &'static str {
    match column {
        MetadataColumn::Key => "key",
        MetadataColumn::Partition => "partition",
        MetadataColumn::Offset => "offset",
        MetadataColumn::Timestamp => "timestamp",
        MetadataColumn::Headers => "headers",
    }
}

/// `SHOW CREATE [kind] name`.
pub(in crate::session) fn create(
    session: &Session,
    kind: Option<ObjectKind>,
    name: &Name,
) -> Result<Outcome> {
    let definitions = session.services().catalog.snapshot();
    let definition = definitions
        .get(&name.name)
        .filter(|definition| kind.is_none_or(|kind| definition.kind() == kind))
        .ok_or_else(|| unknown(&definitions, name))?;
    let batch = text_table(&[("statement", vec![Some(definition.sql().to_owned())])])?;
    Ok(Outcome::table(RowsTag::Show, batch))
}

fn unknown(definitions: &Definitions, name: &Name) -> Error {
    let error = Error::user(
        SqlState::UndefinedTable,
        format!("relation \"{}\" does not exist", name.name),
    )
    .at(Some(name.position));
    // One of that name is of another kind.
    let others = definitions.all().filter(|d| d.name() != name.name);
    let names: Vec<&str> = others.map(Definition::name).collect();
    match crate::error::nearest(&name.name, &names) {
        Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
        None => error,
    }
}

/// SQL's LIKE, without escapes.
fn is_like(name: &str, pattern: &str) -> bool {
    let mut chars = pattern.chars();
    match chars.next() {
        None => name.is_empty(),
        Some('%') => name
            .char_indices()
            .map(|(at, _)| at)
            .chain([name.len()])
            .any(|at| is_like(&name[at..], chars.as_str())),
        Some('_') => {
            let mut rest = name.chars();
            rest.next().is_some() && is_like(rest.as_str(), chars.as_str())
        }
        Some(wanted) => name
            .strip_prefix(wanted)
            .is_some_and(|rest| is_like(rest, chars.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn patterns_match_as_in_sql() {
        assert!(is_like("trades", "tr%"));
        assert!(is_like("trades", "%d_s"));
        assert!(is_like("", "%"));
        assert!(!is_like("trades", "trade"));
        assert!(!is_like("trades", "_"));
    }
}
