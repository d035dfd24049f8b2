//! Which column a window clause means: `FROM t WINDOW TUMBLING (..)` names none.
//!
//! The event-time column of a table is the one of its WATERMARK clause, or the record's own
//! timestamp. It is followed through views and sub-queries as long as they pass it on.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, GroupByExpr, Ident, ObjectName, Query, Select, SelectItem,
    SetExpr, TableFactor, VisitorMut,
};

use super::depends::relation;
use super::{ColumnOrigin, Definition, Definitions, TableDefinition};
use crate::error::{Error, Position, Result, SqlState};
use crate::sql::{EVENT_TIME_COLUMN, Statement, fold};
use crate::types::{MetadataColumn, WindowBound};

impl Definitions {
    /// Names the event-time column in every window of a statement that names none.
    ///
    /// # Errors
    /// 42P20 where there is no such column, or it cannot be told which it is.
    pub fn resolve_event_time(&self, statement: &mut Statement) -> Result<()> {
        match statement.visit_queries(&mut Resolver { definitions: self }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }
}

struct Resolver<'a> {
    definitions: &'a Definitions,
}

impl VisitorMut for Resolver<'_> {
    type Break = Error;

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let TableFactor::Table {
            args: Some(args), ..
        } = factor
        else {
            return ControlFlow::Continue(());
        };
        let [input, column, ..] = args.args.as_mut_slice() else {
            return ControlFlow::Continue(());
        };
        let (Some(Expr::Subquery(input)), Some(Expr::Identifier(column))) =
            (expr(input), expr(column))
        else {
            return ControlFlow::Continue(());
        };
        if column.value != EVENT_TIME_COLUMN {
            return ControlFlow::Continue(());
        }
        match of_query(input, self.definitions) {
            Ok(Found::Column(name)) => {
                column.value = name;
                ControlFlow::Continue(())
            }
            // Planning tells what does not exist, better than we can.
            Ok(Found::Missing) => ControlFlow::Continue(()),
            Ok(Found::Unknown) => ControlFlow::Break(unknown(column)),
            Err(error) => ControlFlow::Break(error.at(position(column))),
        }
    }
}

fn expr(argument: &mut FunctionArg) -> Option<&mut Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// What is known of a query's event time.
enum Found {
    /// It is this column.
    Column(String),
    /// The query reads what does not exist.
    Missing,
    /// The query does not pass one column on.
    Unknown,
}

fn of_query(query: &Query, definitions: &Definitions) -> Result<Found> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return match query.body.as_ref() {
            SetExpr::Query(inner) => of_query(inner, definitions),
            _ => Ok(Found::Unknown),
        };
    };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    let [source] = select.from.as_slice() else {
        return Ok(Found::Unknown);
    };
    if !source.joins.is_empty() {
        return Ok(Found::Unknown);
    }
    if grouped {
        // The event time of windows is their last instant, if they are what it is grouped by.
        let windowed = matches!(&source.relation, TableFactor::Table { args: Some(_), .. });
        let time = passed_on(WindowBound::Time.column(), select).filter(|_| windowed);
        return Ok(time.map_or(Found::Unknown, Found::Column));
    }
    Ok(match of_source(&source.relation, definitions)? {
        Found::Column(column) => passed_on(&column, select).map_or(Found::Unknown, Found::Column),
        other => other,
    })
}

fn of_source(source: &TableFactor, definitions: &Definitions) -> Result<Found> {
    match source {
        TableFactor::Table {
            name, args: None, ..
        } => of_name(name, definitions),
        TableFactor::Table {
            args: Some(args), ..
        } => Ok(match args.args.get(1) {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(column)))) => {
                Found::Column(fold(column))
            }
            _ => Found::Unknown,
        }),
        TableFactor::Derived { subquery, .. } => of_query(subquery, definitions),
        _ => Ok(Found::Unknown),
    }
}

fn of_name(name: &ObjectName, definitions: &Definitions) -> Result<Found> {
    let found = relation(name).and_then(|name| definitions.get(&name));
    let (query, columns) = match found {
        None => return Ok(Found::Missing),
        Some(Definition::Table(table)) => return of_table(table).map(Found::Column),
        Some(Definition::View(view)) => (&view.query, view.columns.as_slice()),
        Some(Definition::MaterializedView(view)) => (&view.query, view.columns.as_slice()),
        Some(Definition::Sink(_) | Definition::Secret(_) | Definition::Alert(_)) => {
            return Ok(Found::Missing);
        }
    };
    if !columns.is_empty() {
        // Which of the new names it got needs the view's plan.
        return Ok(Found::Unknown);
    }
    of_query(&query.query, definitions)
}

fn of_table(table: &TableDefinition) -> Result<String> {
    if let Some(watermark) = &table.watermark {
        return Ok(watermark.column.clone());
    }
    let recorded = table.columns.iter().find(|column| {
        matches!(
            column.origin,
            ColumnOrigin::Metadata(MetadataColumn::Timestamp)
        )
    });
    recorded
        .map(|column| column.field.name().clone())
        .ok_or_else(|| {
            Error::user(
                SqlState::WindowingError,
                format!(
                    "table \"{}\" has no event-time column for a window",
                    table.name
                ),
            )
            .hint("Declare WATERMARK FOR a column of it, or a column METADATA FROM 'timestamp'.")
        })
}

/// The name that a column has after a SELECT; `None` if it is not among the results.
fn passed_on(column: &str, select: &Select) -> Option<String> {
    let is_it = |expr: &Expr| match expr {
        Expr::Identifier(ident) => fold(ident) == column,
        Expr::CompoundIdentifier(idents) => idents.last().is_some_and(|i| fold(i) == column),
        _ => false,
    };
    select.projection.iter().find_map(|item| match item {
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => Some(column.to_owned()),
        SelectItem::UnnamedExpr(expr) if is_it(expr) => Some(column.to_owned()),
        SelectItem::ExprWithAlias { expr, alias } if is_it(expr) => Some(fold(alias)),
        _ => None,
    })
}

fn unknown(column: &Ident) -> Error {
    Error::user(
        SqlState::WindowingError,
        "the window's event-time column is not known here",
    )
    .hint("Name it: FROM TUMBLE(t, time_column, INTERVAL '1 minute').")
    .at(position(column))
}

fn position(ident: &Ident) -> Option<Position> {
    let start = ident.span.start;
    (start.line > 0).then_some(Position {
        line: start.line,
        column: start.column,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Definitions;
    use crate::catalog::Definition;
    use crate::sql::{Statement, parse};

    fn definitions() -> Definitions {
        let mut all = Definitions::new(BTreeMap::new());
        for text in [
            "CREATE TABLE t (a int, \"At\" timestamptz, WATERMARK FOR \"At\" AS \"At\") \
             WITH (topic = 't', bootstrap_servers = 'b:1')",
            "CREATE TABLE r (a int, rt timestamptz METADATA FROM 'timestamp') \
             WITH (topic = 't', bootstrap_servers = 'b:1')",
            "CREATE TABLE n (a int) WITH (topic = 't', bootstrap_servers = 'b:1')",
            "CREATE VIEW v AS SELECT a, \"At\" AS moment FROM t WHERE a > 1",
            "CREATE VIEW w AS SELECT * FROM v",
            "CREATE VIEW g AS SELECT count(*) AS n FROM t GROUP BY a",
        ] {
            let definition = Definition::parse(text, None, &all).unwrap();
            all.insert(definition);
        }
        all
    }

    /// The column of the window, or the error.
    #[track_caller]
    fn check(from: &str, expected: &str) {
        let text = format!("SELECT 1 FROM {from} WINDOW TUMBLING (SIZE 1 MINUTE)");
        let mut statement = parse(&text).unwrap().remove(0).statement;
        let found = match definitions().resolve_event_time(&mut statement) {
            Ok(()) => {
                let Statement::Query(query) = &statement else {
                    panic!("{text}")
                };
                let shown = query.query.to_string();
                let head = shown.rsplit(", INTERVAL").nth(1).unwrap();
                head.rsplit(", ").next().unwrap().to_owned()
            }
            Err(error) => {
                assert!(error.position().is_some(), "{from}: {error}");
                format!("{} {}", error.state().code(), error.message())
            }
        };
        assert_eq!(found, expected, "{from}");
    }

    #[test]
    fn a_window_clause_means_the_event_time_of_what_it_follows() {
        check("t", "\"At\"");
        check("public.t AS x", "\"At\"");
        check("r", "\"rt\"");
        check("v", "\"moment\"");
        check("w", "\"moment\"");
        check("(SELECT \"At\" AS b, a FROM t) AS s", "\"b\"");
        check("nothing", "\"$event_time\"");
        check(
            "n",
            "42P20 table \"n\" has no event-time column for a window",
        );
        check(
            "g",
            "42P20 the window's event-time column is not known here",
        );
        check(
            "(SELECT a FROM t) AS s",
            "42P20 the window's event-time column is not known here",
        );
    }
}
