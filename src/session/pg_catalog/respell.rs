//! What psql and drivers write about system catalogs and DataFusion does not plan.
//!
//! Only for queries over system catalogs: what is left out or simplified here is nothing that the
//! catalogs of this server hold.

use std::ops::ControlFlow;

use sqlparser::ast::{
    self, BinaryOperator, Expr, Function, FunctionArgumentClause, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, OrderByKind, Query, SelectItem, SetExpr, TableFactor,
    Value, VisitorMut,
};

use crate::sql::walk;

/// Respells a query over system catalogs.
pub(super) fn respell(query: &mut Query) {
    let _: ControlFlow<()> = walk::visit_mut(query, &mut Catalogs);
}

struct Catalogs;

impl VisitorMut for Catalogs {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp {
            left,
            op: BinaryOperator::StringConcat,
            right,
        } = expr
            && is_unnested_array(right)
        {
            // `options || ARRAY(SELECT .. FROM unnest(more options))`: there are no options.
            *expr = (**left).clone();
        } else if is_unnested_array(expr) {
            *expr = Expr::Value(Value::Null.into());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => {
                if let Some(aggregated) = array_of_query(function) {
                    *expr = aggregated;
                }
            }
            // PostgreSQL 17 renamed it; psql 15 and 16 do not know.
            Expr::CompoundIdentifier(_) if is_column(expr, "colliculocale") => {
                *expr = Expr::Value(Value::Null.into());
            }
            Expr::CompoundIdentifier(_) if is_column(expr, "tableoid") => {
                *expr = Expr::Value(Value::Number("0".to_owned(), false).into());
            }
            Expr::BinaryOp { left, right, .. } if names_roles(left) && is_text(right) => {
                *expr = Expr::Value(Value::Boolean(false).into());
            }
            // An array of letters, of which the library makes a text; no such object exists.
            Expr::CompoundIdentifier(_) if is_column(expr, "stxkind") => {
                *expr = Expr::Array(ast::Array {
                    elem: vec![Expr::Value(Value::SingleQuotedString(String::new()).into())],
                    named: true,
                });
            }
            Expr::Subquery(query) => one_truth(query),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// True for `polroles`, an array that psql compares with `'{0}'`.
fn names_roles(expr: &Expr) -> bool {
    is_column(expr, "polroles")
}

/// True for a column of that name, of whatever table.
fn is_column(expr: &Expr, column: &str) -> bool {
    match expr {
        Expr::Identifier(name) => name.value == column,
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|name| name.value == column),
        _ => false,
    }
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
}

fn is_array(function: &Function) -> bool {
    function.name.to_string().eq_ignore_ascii_case("array")
}

/// True for `ARRAY(SELECT .. FROM unnest(..))`.
fn is_unnested_array(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else {
        return false;
    };
    let FunctionArguments::Subquery(query) = &function.args else {
        return false;
    };
    let SetExpr::Select(select) = query.body.as_ref() else {
        return false;
    };
    let is_unnest = |factor: &TableFactor| match factor {
        TableFactor::UNNEST { .. } => true,
        TableFactor::Table {
            name,
            args: Some(_),
            ..
        } => name.to_string().to_ascii_lowercase().ends_with("unnest"),
        TableFactor::Function { name, .. } => {
            name.to_string().to_ascii_lowercase().ends_with("unnest")
        }
        _ => false,
    };
    is_array(function) && select.from.iter().any(|from| is_unnest(&from.relation))
}

/// `ARRAY(SELECT x .. ORDER BY y)` as `(SELECT array_agg(x ORDER BY y) ..)`.
fn array_of_query(function: &Function) -> Option<Expr> {
    let FunctionArguments::Subquery(query) = &function.args else {
        return None;
    };
    if !is_array(function) {
        return None;
    }
    let mut query = query.clone();
    let order = query.order_by.take();
    let SetExpr::Select(select) = query.body.as_mut() else {
        return None;
    };
    let item = select.projection.first_mut()?;
    let value = match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr.clone(),
        SelectItem::ExprWithAliases { .. }
        | SelectItem::Wildcard(_)
        | SelectItem::QualifiedWildcard(..) => return None,
    };
    let clauses = match order.map(|order| order.kind) {
        Some(OrderByKind::Expressions(mut keys)) => {
            for key in &mut keys {
                if matches!(&key.expr, Expr::Value(place) if matches!(place.value, Value::Number(..)))
                {
                    key.expr = value.clone();
                }
            }
            vec![FunctionArgumentClause::OrderBy(keys)]
        }
        Some(OrderByKind::All(_)) | None => Vec::new(),
    };
    *item = SelectItem::UnnamedExpr(call("array_agg", value, clauses));
    Some(Expr::Subquery(query))
}

/// `(SELECT a = b FROM t WHERE ..)` as `(SELECT bool_or(a = b) ..)`: one row, whatever `t` holds.
fn one_truth(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return;
    };
    if let [SelectItem::UnnamedExpr(item)] = select.projection.as_mut_slice()
        && matches!(
            item,
            Expr::BinaryOp {
                op: BinaryOperator::Eq,
                ..
            }
        )
    {
        *item = call("bool_or", item.clone(), Vec::new());
    }
}

fn call(name: &str, argument: Expr, clauses: Vec<FunctionArgumentClause>) -> Expr {
    let argument = ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(argument));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![argument],
            clauses,
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    use super::*;

    fn respelled(text: &str) -> String {
        match Parser::parse_sql(&PostgreSqlDialect {}, text)
            .unwrap()
            .remove(0)
        {
            ast::Statement::Query(mut query) => {
                respell(&mut query);
                query.to_string()
            }
            other => panic!("not a query: {other}"),
        }
    }

    #[test]
    fn what_psql_writes_becomes_what_datafusion_plans() {
        let cases = [
            (
                "SELECT ARRAY(SELECT a FROM t ORDER BY 1)",
                "SELECT (SELECT array_agg(a ORDER BY a) FROM t)",
            ),
            (
                "SELECT c.o || ARRAY(SELECT 'toast.' || x FROM pg_catalog.unnest(tc.o) AS x)",
                "SELECT c.o",
            ),
            (
                "SELECT array_to_string(ARRAY(SELECT x FROM unnest(e) AS x), ', ')",
                "SELECT array_to_string(NULL, ', ')",
            ),
            ("SELECT t.tableoid FROM t", "SELECT 0 FROM t"),
            (
                "SELECT 1 FROM p WHERE p.polroles <> '{0}'",
                "SELECT 1 FROM p WHERE false",
            ),
            (
                "SELECT 1 WHERE (SELECT c.kind = 'c' FROM c)",
                "SELECT 1 WHERE (SELECT bool_or(c.kind = 'c') FROM c)",
            ),
        ];
        for (written, planned) in cases {
            assert_eq!(respelled(written), planned);
        }
    }
}
