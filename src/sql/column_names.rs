//! The names of a query's columns, as PostgreSQL gives them.
//!
//! PostgreSQL calls `count(*)` `count` and `1 + 1` `?column?`, and lets names repeat; DataFusion
//! calls them by their text and does not. So every item without an alias gets PostgreSQL's name
//! as its alias, in sub-queries too (they may be referred to by it), and one that repeats gets a
//! name that does not; [`Renamed`] knows which name the client is to see.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, CastKind, DataType, Expr, Function, FunctionArguments, Ident, Query, SelectItem,
    SetExpr, Value, VisitorMut,
};

use super::walk;

const NAMELESS: &str = "?column?";

/// Which columns of the plan have another name for the client.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Renamed {
    shown: BTreeMap<String, String>,
}

impl Renamed {
    /// The name that the client sees.
    pub fn shown<'a>(&'a self, planned: &'a str) -> &'a str {
        self.shown.get(planned).map_or(planned, String::as_str)
    }
}

/// Gives the columns of a query, and of the queries in it, PostgreSQL's names.
pub fn name_columns(query: &mut Query) -> Renamed {
    let mut namer = Namer {
        renamed: Renamed::default(),
    };
    let _: ControlFlow<()> = walk::visit_mut(query, &mut namer);
    namer.renamed
}

struct Namer {
    renamed: Renamed,
}

impl VisitorMut for Namer {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.name_body(&mut query.body);
        ControlFlow::Continue(())
    }
}

impl Namer {
    fn name_body(&mut self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => self.name_items(&mut select.projection),
            SetExpr::SetOperation { left, right, .. } => {
                self.name_body(left);
                self.name_body(right);
            }
            SetExpr::Query(_)
            | SetExpr::Values(_)
            | SetExpr::Insert(_)
            | SetExpr::Update(_)
            | SetExpr::Delete(_)
            | SetExpr::Merge(_)
            | SetExpr::Table(_) => {}
        }
    }

    fn name_items(&mut self, items: &mut [SelectItem]) {
        let is_wildcard = |item: &SelectItem| {
            matches!(
                item,
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
            )
        };
        let beside_wildcard = items.iter().any(is_wildcard);
        let mut taken = BTreeSet::new();
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let is_column =
                        matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
                    let name = column_name(expr);
                    let fresh = taken.insert(name.clone());
                    if is_column && fresh && !beside_wildcard {
                        continue;
                    }
                    let planned = if fresh && !(is_column && beside_wildcard) {
                        name
                    } else {
                        self.unique(&name)
                    };
                    let expr = expr.clone();
                    *item = SelectItem::ExprWithAlias {
                        expr,
                        alias: Ident::with_quote('"', planned),
                    };
                }
                SelectItem::ExprWithAlias { alias, .. } => {
                    let name = match alias.quote_style {
                        Some(_) => alias.value.clone(),
                        None => alias.value.to_lowercase(),
                    };
                    if !taken.insert(name.clone()) {
                        alias.value = self.unique(&name);
                        alias.quote_style = Some('"');
                    }
                }
                SelectItem::ExprWithAliases { .. }
                | SelectItem::Wildcard(_)
                | SelectItem::QualifiedWildcard(..) => {}
            }
        }
    }

    /// A name that nothing else has, shown as `name`.
    fn unique(&mut self, name: &str) -> String {
        let planned = format!("{name} ({})", self.renamed.shown.len() + 2);
        self.renamed.shown.insert(planned.clone(), name.to_owned());
        planned
    }
}

/// PostgreSQL's name for an item without an alias.
fn column_name(expr: &Expr) -> String {
    figure(expr).map_or_else(|| NAMELESS.to_owned(), |(name, _)| name)
}

/// How much a name tells: a cast and CASE look for a better one inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// The kind of the expression (`case`, a type).
    Kind,
    /// A column or function.
    Own,
}

fn figure(expr: &Expr) -> Option<(String, Worth)> {
    let own = |name: &str| Some((name.to_owned(), Worth::Own));
    match expr {
        Expr::Identifier(ident) => Some((folded(ident), Worth::Own)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|part| (folded(part), Worth::Own)),
        Expr::Function(function) => function_name(function).map(|name| (name, Worth::Own)),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::CompoundFieldAccess { root, access_chain } => match access_chain.last() {
            Some(AccessExpr::Dot(Expr::Value(field))) => match &field.value {
                Value::SingleQuotedString(field) => own(field),
                _ => figure(root),
            },
            _ => figure(root),
        },
        Expr::Cast {
            expr: inner,
            data_type,
            kind,
            ..
        } => match (figure(inner), kind) {
            (Some((name, Worth::Own)), _) => Some((name, Worth::Own)),
            (
                _,
                CastKind::Cast | CastKind::DoubleColon | CastKind::TryCast | CastKind::SafeCast,
            ) => Some((type_name(data_type), Worth::Kind)),
        },
        Expr::TypedString(typed) => Some((type_name(&typed.data_type), Worth::Kind)),
        Expr::Interval(_) => Some(("interval".to_owned(), Worth::Kind)),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some((name, Worth::Own)) => Some((name, Worth::Own)),
            _ => Some(("case".to_owned(), Worth::Kind)),
        },
        Expr::Extract { .. } => own("extract"),
        Expr::Substring { .. } => own("substring"),
        Expr::Trim { .. } => own("btrim"),
        Expr::Position { .. } => own("position"),
        Expr::Overlay { .. } => own("overlay"),
        Expr::Ceil { .. } => own("ceil"),
        Expr::Floor { .. } => own("floor"),
        Expr::Array(_) => own("array"),
        Expr::Tuple(_) => own("row"),
        Expr::Exists { .. } => own("exists"),
        Expr::AtTimeZone { .. } => own("timezone"),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => {
            Some(("bool".to_owned(), Worth::Kind))
        }
        Expr::Subquery(query) => match first_item(&query.body)? {
            SelectItem::UnnamedExpr(expr) => figure(expr),
            SelectItem::ExprWithAlias { alias, .. } => Some((folded(alias), Worth::Own)),
            _ => None,
        },
        _ => None,
    }
}

fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

fn function_name(function: &Function) -> Option<String> {
    let name = function.name.0.last()?.as_ident().map(folded)?;
    if name == "array" && matches!(function.args, FunctionArguments::Subquery(_)) {
        return Some("array".to_owned());
    }
    Some(name)
}

fn first_item(body: &SetExpr) -> Option<&SelectItem> {
    match body {
        SetExpr::Select(select) => select.projection.first(),
        SetExpr::SetOperation { left, .. } => first_item(left),
        SetExpr::Query(query) => first_item(&query.body),
        _ => None,
    }
}

/// The short name of a type, as `pg_type` has it.
fn type_name(data_type: &DataType) -> String {
    let text = data_type.to_string().to_lowercase();
    let plain = text.split('(').next().unwrap_or_default().trim();
    match plain {
        "int" | "integer" | "int4" => "int4",
        "bigint" | "int8" => "int8",
        "smallint" | "int2" => "int2",
        "boolean" => "bool",
        "real" => "float4",
        "double precision" | "double" | "float" => "float8",
        "decimal" | "dec" => "numeric",
        "character varying" | "char varying" => "varchar",
        "character" | "char" => "bpchar",
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        _ if text.ends_with("with time zone") && plain == "timestamp" => "timestamptz",
        other => other.rsplit('.').next().unwrap_or(other),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use sqlparser::ast::Statement;
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    use super::*;

    fn parse(text: &str) -> Query {
        match Parser::parse_sql(&PostgreSqlDialect {}, text)
            .unwrap()
            .remove(0)
        {
            Statement::Query(query) => *query,
            other => panic!("not a query: {other}"),
        }
    }

    /// The names that the client sees of the items of a query.
    fn names(text: &str) -> Vec<String> {
        let mut query = parse(text);
        let renamed = name_columns(&mut query);
        let SetExpr::Select(select) = *query.body else {
            panic!("not a select")
        };
        let planned = select.projection.iter().map(|item| match item {
            SelectItem::UnnamedExpr(expr) => column_name(expr),
            SelectItem::ExprWithAlias { alias, .. } => folded(alias),
            other => other.to_string(),
        });
        let planned: Vec<String> = planned.collect();
        let distinct: BTreeSet<&String> = planned.iter().collect();
        assert_eq!(
            distinct.len(),
            planned.len(),
            "planned names differ: {planned:?}"
        );
        planned
            .iter()
            .map(|name| renamed.shown(name).to_owned())
            .collect()
    }

    #[test]
    fn names_are_those_of_postgresql() {
        let cases = [
            ("1", "?column?"),
            ("1 + 1", "?column?"),
            ("count(*)", "count"),
            ("pg_catalog.Version()", "version"),
            ("t.Price", "price"),
            ("t.\"Price\"", "Price"),
            ("'1'::int", "int4"),
            ("price::int", "price"),
            ("now()::date", "now"),
            ("CAST('x' AS varchar(3))", "varchar"),
            ("'2026-01-01'::timestamptz", "timestamptz"),
            ("date '2026-01-01'", "date"),
            ("interval '1 day'", "interval"),
            ("true", "bool"),
            ("NULL", "?column?"),
            ("CASE WHEN a THEN 1 ELSE 2 END", "case"),
            ("CASE WHEN a THEN 1 ELSE price END", "price"),
            ("coalesce(a, b)", "coalesce"),
            ("extract(year from ts)", "extract"),
            ("(SELECT max(x) FROM t)", "max"),
            ("EXISTS (SELECT 1)", "exists"),
            ("ARRAY[1, 2]", "array"),
            ("ts AT TIME ZONE 'utc'", "timezone"),
            ("(price)", "price"),
            ("current_user", "current_user"),
            ("a AS b", "b"),
        ];
        for (item, name) in cases {
            assert_eq!(names(&format!("SELECT {item} FROM t")), [name], "{item}");
        }
    }

    #[test]
    fn names_may_repeat() {
        assert_eq!(
            names("SELECT 1, 2, a, a, a AS b, c AS b"),
            ["?column?", "?column?", "a", "a", "b", "b"]
        );
        assert_eq!(
            names("SELECT a, count(*), count(x) FROM t"),
            ["a", "count", "count"]
        );
    }

    #[test]
    fn a_column_beside_a_wildcard_gets_a_name_of_its_own() {
        let mut query = parse("SELECT *, price FROM t");
        let renamed = name_columns(&mut query);
        assert_eq!(query.to_string(), "SELECT *, price AS \"price (2)\" FROM t");
        assert_eq!(renamed.shown("price (2)"), "price");
    }

    #[test]
    fn queries_inside_are_named_too() {
        let mut query = parse("SELECT count FROM (SELECT count(*) FROM t) AS s");
        name_columns(&mut query);
        assert_eq!(
            query.to_string(),
            "SELECT count FROM (SELECT count(*) AS \"count\" FROM t) AS s"
        );
    }
}
