//! The relations that a query reads.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Ident, ObjectName, Query, Visit, Visitor};

/// The names in FROM, without those of CTEs and of system schemas, in order.
pub(super) fn names_in(query: &Query) -> Vec<String> {
    let mut names = Names::default();
    let _ = query.visit(&mut names);
    names.relations.difference(&names.ctes).cloned().collect()
}

/// An identifier as a name: lower case unless quoted.
pub(super) fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() {
        ident.value.clone()
    } else {
        ident.value.to_lowercase()
    }
}

#[derive(Default)]
struct Names {
    relations: BTreeSet<String>,
    ctes: BTreeSet<String>,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.ctes.insert(fold(&cte.alias.name));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &sqlparser::ast::TableFactor) -> ControlFlow<()> {
        if let sqlparser::ast::TableFactor::Table {
            name, args: None, ..
        } = factor
        {
            self.relations.extend(relation(name));
        }
        ControlFlow::Continue(())
    }
}

/// The name, if it is one of ours.
fn relation(name: &ObjectName) -> Option<String> {
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
