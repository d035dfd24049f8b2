//! A window that a query groups by, where SELECT, HAVING and ORDER BY name it.
//!
//! The whole window is a row of its bounds; `tumble_start(..)` and Spark's `window.start` are a
//! bound.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    OrderBy, OrderByExpr, OrderByKind, Select, SelectItem, TableFactor, Value, VisitMut,
    VisitorMut,
};

use super::window_call::{self, GroupWindow, Shows};
use super::window_function::{Kind, unnamed};
use super::{grammar, walk};
use crate::error::{Error, Result, SqlState};
use crate::types::WindowBound;

/// A bound's column.
pub(super) fn column(bound: WindowBound) -> Expr {
    Expr::Identifier(Ident::new(bound.column()))
}

/// The bound that an expression is, by its name.
pub(super) fn bound_of(expr: &Expr) -> Option<WindowBound> {
    let ident = match expr {
        Expr::Identifier(ident) => ident,
        Expr::CompoundIdentifier(idents) => idents.last()?,
        _ => return None,
    };
    let name = grammar::folded(ident);
    WindowBound::ALL.into_iter().find(|b| b.column() == name)
}

/// The bounds that a query names.
#[derive(Debug, Default)]
pub(super) struct Bounds(BTreeSet<WindowBound>);

impl Bounds {
    /// Those in SELECT, HAVING and ORDER BY.
    pub(super) fn named_in(select: &Select, order_by: Option<&OrderBy>) -> Self {
        let mut found = Self::default();
        found.add_all(&select.projection);
        found.add_all(&select.having);
        found.add_all(&select.qualify);
        if let Some(order_by) = order_by {
            found.add_all(order_by);
        }
        found
    }

    /// Those in an expression.
    pub(super) fn named_by(expr: &Expr) -> Self {
        let mut found = Self::default();
        found.add_all(expr);
        found
    }

    fn add_all(&mut self, part: &impl sqlparser::ast::Visit) {
        let _: ControlFlow<()> = walk::expressions(part, |expr| {
            self.0.extend(bound_of(expr));
            ControlFlow::Continue(())
        });
    }

    pub(super) fn add(&mut self, bound: WindowBound) {
        self.0.insert(bound);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bounds to group by: those that are named, and what else tells the windows apart.
    pub(super) fn grouped(mut self, kind: Kind) -> Vec<WindowBound> {
        match kind {
            // They share their starts.
            Kind::Cumulate => self.0.extend([WindowBound::Start, WindowBound::End]),
            _ if self.0.is_empty() => self.add(WindowBound::Start),
            Kind::Tumble | Kind::Hop | Kind::Session => {}
        }
        self.0.into_iter().collect()
    }
}

/// What the rest of a query calls its window.
pub(super) struct Shown<'a> {
    /// The window of GROUP BY; `None` for a window clause, which is not called.
    window: Option<&'a GroupWindow>,
    /// Names whose fields are the bounds: `window.start`.
    rows: Vec<String>,
}

impl<'a> Shown<'a> {
    /// Reads the names that SELECT gives to the window.
    pub(super) fn of(window: &'a GroupWindow, select: &Select) -> Result<Self> {
        let mut rows = vec![window.name.clone()];
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { expr, alias } = item
                && window_call::read(expr)?.is_some_and(|call| call.shows == Shows::Window)
            {
                rows.push(grammar::folded(alias));
            }
        }
        let relations = relation_names(select);
        rows.retain(|name| !relations.contains(name));
        Ok(Self {
            window: Some(window),
            rows,
        })
    }

    /// Puts the bounds in the place of the window's names.
    pub(super) fn replace(
        mut self,
        select: &mut Select,
        order_by: Option<&mut OrderBy>,
    ) -> Result<()> {
        if let Some(order_by) = order_by
            && let OrderByKind::Expressions(exprs) = &mut order_by.kind
        {
            self.in_order_by(exprs)?;
        }
        self.in_items(&mut select.projection)?;
        self.visit_all(&mut select.having)?;
        self.visit_all(&mut select.qualify)?;
        self.visit_all(&mut select.distinct)
    }

    /// The names that ksqlDB gives to the bounds of a window clause.
    pub(super) fn pseudo_columns(
        select: &mut Select,
        order_by: Option<&mut OrderBy>,
    ) -> Result<()> {
        let mut shown = Self {
            window: None,
            rows: Vec::new(),
        };
        shown.in_items(&mut select.projection)?;
        shown.visit_all(&mut select.group_by)?;
        shown.visit_all(&mut select.having)?;
        match order_by {
            Some(order_by) => shown.visit_all(order_by),
            None => Ok(()),
        }
    }

    fn visit_all(&mut self, part: &mut impl VisitMut) -> Result<()> {
        match walk::visit_mut(part, self) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    fn in_items(&mut self, items: &mut [SelectItem]) -> Result<()> {
        for item in items {
            let name = match item {
                SelectItem::UnnamedExpr(expr) => self.own_name(expr),
                _ => None,
            };
            self.visit_all(item)?;
            if let (Some(name), SelectItem::UnnamedExpr(expr)) = (name, &*item) {
                *item = SelectItem::ExprWithAlias {
                    expr: expr.clone(),
                    alias: Ident::new(name),
                };
            }
        }
        Ok(())
    }

    /// The name of a column without an alias, if its expression will be replaced.
    fn own_name(&self, expr: &Expr) -> Option<String> {
        if let Some((name, _)) = window_call::called(expr) {
            return Some(name);
        }
        match expr {
            Expr::CompoundFieldAccess { .. } => match window_call::read(expr) {
                Ok(Some(call)) if call.shows == Shows::Bound(WindowBound::Start) => {
                    Some("start".to_owned())
                }
                Ok(Some(_)) => Some("end".to_owned()),
                Ok(None) | Err(_) => None,
            },
            Expr::CompoundIdentifier(parts) if self.named(expr).is_some() => {
                parts.last().map(grammar::folded)
            }
            Expr::Identifier(ident) if self.named(expr).is_some() => Some(grammar::folded(ident)),
            _ => None,
        }
    }

    /// Rows are ordered by the bounds, not by the window as a row.
    fn in_order_by(&mut self, exprs: &mut Vec<OrderByExpr>) -> Result<()> {
        let mut made = Vec::with_capacity(exprs.len());
        for mut order in std::mem::take(exprs) {
            let whole = match window_call::read(&order.expr)? {
                Some(call) => {
                    self.check(&call)?;
                    call.shows == Shows::Window
                }
                None => self.is_row(&order.expr),
            };
            if whole {
                made.extend(
                    [WindowBound::Start, WindowBound::End].map(|bound| OrderByExpr {
                        expr: column(bound),
                        ..order.clone()
                    }),
                );
            } else {
                self.visit_all(&mut order)?;
                made.push(order);
            }
        }
        *exprs = made;
        Ok(())
    }

    fn is_row(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::Identifier(name) if self.rows.contains(&grammar::folded(name)))
    }

    /// Makes sure that a call is of the window that rows are grouped by.
    fn check(&self, call: &window_call::Call) -> Result<()> {
        if self.window.is_none_or(|window| window.is(&call.window)) {
            return Ok(());
        }
        Err(Error::user(
            SqlState::WindowingError,
            format!("{} is of another window than GROUP BY", call.window.name),
        )
        .hint("Give it the same arguments as in GROUP BY.")
        .at(Some(call.window.position)))
    }

    /// What a name stands for.
    fn named(&self, expr: &Expr) -> Option<Shows> {
        match expr {
            Expr::Identifier(name) if self.window.is_none() => {
                match grammar::folded(name).as_str() {
                    "windowstart" => Some(Shows::Bound(WindowBound::Start)),
                    "windowend" => Some(Shows::Bound(WindowBound::End)),
                    _ => None,
                }
            }
            // Only what Spark calls a window has that name by itself; an alias is SELECT's own.
            Expr::Identifier(name) => {
                let name = grammar::folded(name);
                let spark = ["window", "session_window"].contains(&name.as_str());
                (spark && self.rows.first() == Some(&name)).then_some(Shows::Window)
            }
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [row, field] if self.rows.contains(&grammar::folded(row)) => {
                    window_call::bound_named(field).map(Shows::Bound)
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl VisitorMut for Shown<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let shows = match window_call::read(expr) {
            Ok(Some(call)) if self.window.is_some() => match self.check(&call) {
                Ok(()) => Some(call.shows),
                Err(error) => return ControlFlow::Break(error),
            },
            Ok(_) => self.named(expr),
            Err(error) => return ControlFlow::Break(error),
        };
        match shows {
            Some(Shows::Bound(bound)) => *expr = column(bound),
            Some(Shows::Window) => *expr = as_row(),
            None => {}
        }
        ControlFlow::Continue(())
    }
}

/// The window as a value: a row of its start and its end.
fn as_row() -> Expr {
    let name = |name: &str| Expr::Value(Value::SingleQuotedString(name.to_owned()).into());
    let args: Vec<FunctionArg> = [
        name("start"),
        column(WindowBound::Start),
        name("end"),
        column(WindowBound::End),
    ]
    .into_iter()
    .map(unnamed)
    .collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("named_struct")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The names of the relations in FROM.
fn relation_names(select: &Select) -> Vec<String> {
    let factors = select.from.iter().flat_map(|from| {
        let joined = from.joins.iter().map(|join| &join.relation);
        std::iter::once(&from.relation).chain(joined)
    });
    factors
        .filter_map(|factor| match factor {
            TableFactor::Table {
                alias: Some(alias), ..
            }
            | TableFactor::Derived {
                alias: Some(alias), ..
            } => Some(grammar::folded(&alias.name)),
            TableFactor::Table { name, .. } => name.0.last()?.as_ident().map(grammar::folded),
            _ => None,
        })
        .collect()
}
