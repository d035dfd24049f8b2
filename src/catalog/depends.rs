//! The relations that a query reads.
//!
//! Invariant: a name counts as a common table expression only where that is in sight, as SQL says:
//! in `WITH t AS (SELECT * FROM t) SELECT * FROM t` the first `t` after FROM is a relation.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{ObjectName, Query, TableFactor, Visitor};

use crate::sql::{fold, walk};

/// The names in FROM, without those of CTEs and of system schemas, in order.
pub(super) fn names_in(query: &Query) -> Vec<String> {
    let mut names = Names::default();
    let ControlFlow::Continue(()) = walk::visit(query, &mut names);
    names.relations.into_iter().collect()
}

#[derive(Default)]
struct Names {
    relations: BTreeSet<String>,
    /// The queries around the place that is being visited.
    around: Vec<Scope>,
}

/// A query and its common table expressions.
struct Scope {
    /// Their names, each with the address of its query, in their order.
    ctes: Vec<(String, usize)>,
    /// How many of them can be seen from here: the ones before, or all if the query is recursive.
    visible: usize,
    recursive: bool,
}

/// Tells two queries of one tree apart.
fn address(query: &Query) -> usize {
    std::ptr::from_ref(query).addr()
}

impl Visitor for Names {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let with = query.with.as_ref();
        let ctes: Vec<(String, usize)> = with
            .iter()
            .flat_map(|with| &with.cte_tables)
            .map(|cte| (fold(&cte.alias.name), address(&cte.query)))
            .collect();
        let recursive = with.is_some_and(|with| with.recursive);
        let visible = if recursive { ctes.len() } else { 0 };
        self.around.push(Scope {
            ctes,
            visible,
            recursive,
        });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        self.around.pop();
        if let Some(scope) = self.around.last_mut()
            && !scope.recursive
            && scope
                .ctes
                .get(scope.visible)
                .is_some_and(|(_, at)| *at == address(query))
        {
            scope.visible += 1;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Table {
            name, args: None, ..
        } = factor
            && let Some(name) = relation(name)
            && !self.is_cte(&name)
        {
            self.relations.insert(name);
        }
        ControlFlow::Continue(())
    }
}

impl Names {
    fn is_cte(&self, name: &str) -> bool {
        self.around.iter().any(|scope| {
            scope.ctes[..scope.visible]
                .iter()
                .any(|(cte, _)| cte == name)
        })
    }
}

/// The name, if it is one of ours.
pub(super) fn relation(name: &ObjectName) -> Option<String> {
    let parts: Vec<String> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident())
        .map(fold)
        .collect();
    match parts.as_slice() {
        [name] => Some(name.clone()),
        [schema, name] | [_, schema, name] if schema == "public" => Some(name.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::names_in;
    use crate::sql::{Statement, parse};

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let Statement::Query(query) = parse(text).unwrap().remove(0).statement else {
            panic!("{text} is no query");
        };
        assert_eq!(names_in(&query.query), expected, "{text}");
    }

    #[test]
    fn relations_are_found_wherever_they_stand() {
        check("SELECT * FROM b, A, \"C\", public.d", &["C", "a", "b", "d"]);
        check(
            "SELECT (SELECT 1 FROM a) FROM b WHERE x IN (SELECT 1 FROM c)",
            &["a", "b", "c"],
        );
        check(
            "SELECT * FROM a JOIN (SELECT * FROM b UNION SELECT * FROM c) x ON true",
            &["a", "b", "c"],
        );
        check("SELECT * FROM TUMBLE(a, ts, '1 s')", &["a"]);
        check("SELECT * FROM a WINDOW TUMBLING (SIZE 1 MINUTE)", &["a"]);
        check("TABLE a", &["a"]);
        check(
            "SELECT * FROM headwater.queries, pg_catalog.pg_class, generate_series(1, 2)",
            &[],
        );
    }

    #[test]
    fn common_table_expressions_are_names_only_where_they_are_in_sight() {
        check("WITH x AS (SELECT * FROM a) SELECT * FROM x", &["a"]);
        check("WITH a AS (SELECT * FROM a) SELECT * FROM a", &["a"]);
        check(
            "WITH x AS (SELECT * FROM y), y AS (SELECT * FROM x) SELECT * FROM y",
            &["y"],
        );
        check(
            "WITH RECURSIVE x AS (SELECT 1 UNION SELECT * FROM x) SELECT * FROM x",
            &[],
        );
        check(
            "SELECT * FROM (WITH x AS (SELECT 1) SELECT * FROM x) s, x",
            &["x"],
        );
        check(
            "WITH x AS (SELECT 1) SELECT (SELECT * FROM x) FROM b",
            &["b"],
        );
    }
}
