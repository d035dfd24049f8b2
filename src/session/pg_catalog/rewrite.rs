//! What PostgreSQL's clients write and DataFusion does not plan, in words that it plans.
//!
//! A query over system catalogs goes through datafusion-pg-catalog's rewriter, which may change
//! what it returns where nothing depends on it. Any other query is rewritten only in ways that
//! keep its meaning.

use std::ops::ControlFlow;

use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_pg_catalog::sql::rules::{
    CurrentUserVariableToSessionUserFunctionCall, RewriteArrayAnyAllOperation,
    SqlStatementRewriteRule, StripCallableQualifier,
};
use sqlparser::ast::{
    Expr, Ident, ObjectName, Query, Statement, TableAlias, TableAliasColumnDef, TableFactor,
    Visitor, VisitorMut,
};

use super::respell::respell;
use crate::sql::{Renamed, name_columns, walk};

/// A query that DataFusion plans, and the names that the client sees.
pub(in crate::session) struct Rewritten {
    pub query: Query,
    pub renamed: Renamed,
}

/// Rewrites a query; `text` is how the client wrote it.
pub(in crate::session) fn rewrite(query: Query, text: &str) -> Rewritten {
    let reads_catalogs = reads_catalogs(&query);
    let mut query = if reads_catalogs {
        let mut compatible = compatible(query, text);
        respell(&mut compatible);
        compatible
    } else {
        query
    };
    let _: ControlFlow<()> = walk::visit_mut(&mut query, &mut NameSeries);
    let renamed = name_columns(&mut query);
    let query = if reads_catalogs { query } else { plain(query) };
    Rewritten { query, renamed }
}

fn compatible(query: Query, text: &str) -> Query {
    let text = text.replace("'pg_catalog.array_in'::regproc", "'array_in'");
    let rewriter = PostgresCompatibilityParser::new();
    let parsed = rewriter
        .parse(&text)
        .ok()
        .and_then(|mut statements| statements.pop());
    match parsed {
        Some(Statement::Query(rewritten)) => *rewritten,
        _ => as_query(
            rewriter.rewrite(Statement::Query(Box::new(query.clone()))),
            query,
        ),
    }
}

fn plain(query: Query) -> Query {
    let rules: [&dyn SqlStatementRewriteRule; 3] = [
        &StripCallableQualifier,
        &CurrentUserVariableToSessionUserFunctionCall,
        &RewriteArrayAnyAllOperation,
    ];
    let original = query.clone();
    let statement = rules
        .into_iter()
        .fold(Statement::Query(Box::new(query)), |statement, rule| {
            rule.rewrite(statement)
        });
    as_query(statement, original)
}

fn as_query(statement: Statement, otherwise: Query) -> Query {
    match statement {
        Statement::Query(query) => *query,
        _ => otherwise,
    }
}

/// True for a query that names a system catalog or a type that looks one up.
fn reads_catalogs(query: &Query) -> bool {
    struct Finder;
    impl Visitor for Finder {
        type Break = ();

        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            let name = relation.to_string().to_ascii_lowercase();
            let is_catalog = name.starts_with("pg_") || name.starts_with("information_schema.");
            if is_catalog {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let is_lookup = match expr {
                Expr::Cast { data_type, .. } => {
                    let name = data_type.to_string().to_ascii_lowercase();
                    name.starts_with("reg") || name == "oid" || name.starts_with("pg_catalog.")
                }
                Expr::Function(function) => function
                    .name
                    .to_string()
                    .to_ascii_lowercase()
                    .starts_with("pg_catalog."),
                _ => false,
            };
            if is_lookup {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }
    }
    walk::visit(query, &mut Finder).is_break()
}

/// The column of `generate_series(..)` has its alias for a name.
struct NameSeries;

impl VisitorMut for NameSeries {
    type Break = ();

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name,
            args: Some(_),
            alias,
            ..
        } = factor
            && name.to_string().eq_ignore_ascii_case("generate_series")
        {
            let alias = alias.get_or_insert_with(|| TableAlias {
                explicit: true,
                name: Ident::new("generate_series"),
                columns: Vec::new(),
                at: None,
            });
            if alias.columns.is_empty() {
                let name = alias.name.clone();
                alias.columns.push(TableAliasColumnDef {
                    name,
                    data_type: None,
                });
            }
        }
        ControlFlow::Continue(())
    }
}
