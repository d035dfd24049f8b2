//! Walks over the parser library's trees.
//!
//! The library's walk is generic over the visitor, and the compiler makes all of it, some thousand functions,
//! once for each. Here it is made once for visitors that only read and once for those that change.
//! Invariant: nobody else calls the library's walk.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the door to the library's walk"
)]

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, Visit, VisitMut,
    Visitor, VisitorMut,
};

/// Shows a visitor everything in a tree, until it breaks off.
pub fn visit<V: Visitor>(tree: &impl Visit, visitor: &mut V) -> ControlFlow<V::Break> {
    let mut keeper = Keeper::new(visitor);
    let walked = tree.visit(&mut Walk(&mut keeper));
    keeper.outcome(walked)
}

/// The same for a visitor that changes what it is shown.
pub fn visit_mut<V: VisitorMut>(
    tree: &mut impl VisitMut,
    visitor: &mut V,
) -> ControlFlow<V::Break> {
    let mut keeper = Keeper::new(visitor);
    let walked = tree.visit(&mut WalkMut(&mut keeper));
    keeper.outcome(walked)
}

/// Shows a function every expression, those inside of an expression before it.
pub fn expressions<B>(
    tree: &impl Visit,
    look: impl FnMut(&Expr) -> ControlFlow<B>,
) -> ControlFlow<B> {
    visit(tree, &mut Each(look))
}

/// The same for a function that changes them.
pub fn expressions_mut<B>(
    tree: &mut impl VisitMut,
    change: impl FnMut(&mut Expr) -> ControlFlow<B>,
) -> ControlFlow<B> {
    visit_mut(tree, &mut Each(change))
}

/// A visitor for a function of expressions.
struct Each<F>(F);

impl<B, F: FnMut(&Expr) -> ControlFlow<B>> Visitor for Each<F> {
    type Break = B;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<B> {
        self.0(expr)
    }
}

impl<B, F: FnMut(&mut Expr) -> ControlFlow<B>> VisitorMut for Each<F> {
    type Break = B;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<B> {
        self.0(expr)
    }
}

/// Keeps what a visitor breaks off with: the walk only knows that it does.
struct Keeper<'a, V, B> {
    visitor: &'a mut V,
    broke: Option<B>,
}

impl<'a, V, B> Keeper<'a, V, B> {
    fn new(visitor: &'a mut V) -> Self {
        Self {
            visitor,
            broke: None,
        }
    }

    fn keep(&mut self, flow: ControlFlow<B>) -> ControlFlow<()> {
        match flow {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(broke) => {
                self.broke = Some(broke);
                ControlFlow::Break(())
            }
        }
    }

    fn outcome(self, walked: ControlFlow<()>) -> ControlFlow<B> {
        match (walked, self.broke) {
            (ControlFlow::Break(()), Some(broke)) => ControlFlow::Break(broke),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The one visitor that the library's walk knows.
struct Walk<'a>(&'a mut dyn Visitor<Break = ()>);

/// The same for those that change.
struct WalkMut<'a>(&'a mut dyn VisitorMut<Break = ()>);

/// Hands on what was come by.
macro_rules! hand_on {
    ($($shown:ident, $left:ident: $node:ty;)+) => {
        impl<V: Visitor> Visitor for Keeper<'_, V, V::Break> {
            type Break = ();
            $(
                fn $shown(&mut self, node: &$node) -> ControlFlow<()> {
                    let flow = self.visitor.$shown(node);
                    self.keep(flow)
                }

                fn $left(&mut self, node: &$node) -> ControlFlow<()> {
                    let flow = self.visitor.$left(node);
                    self.keep(flow)
                }
            )+
        }

        impl<V: VisitorMut> VisitorMut for Keeper<'_, V, V::Break> {
            type Break = ();
            $(
                fn $shown(&mut self, node: &mut $node) -> ControlFlow<()> {
                    let flow = self.visitor.$shown(node);
                    self.keep(flow)
                }

                fn $left(&mut self, node: &mut $node) -> ControlFlow<()> {
                    let flow = self.visitor.$left(node);
                    self.keep(flow)
                }
            )+
        }

        impl Visitor for Walk<'_> {
            type Break = ();
            $(
                fn $shown(&mut self, node: &$node) -> ControlFlow<()> {
                    self.0.$shown(node)
                }

                fn $left(&mut self, node: &$node) -> ControlFlow<()> {
                    self.0.$left(node)
                }
            )+
        }

        impl VisitorMut for WalkMut<'_> {
            type Break = ();
            $(
                fn $shown(&mut self, node: &mut $node) -> ControlFlow<()> {
                    self.0.$shown(node)
                }

                fn $left(&mut self, node: &mut $node) -> ControlFlow<()> {
                    self.0.$left(node)
                }
            )+
        }
    };
}

hand_on! {
    pre_visit_query, post_visit_query: Query;
    pre_visit_select, post_visit_select: Select;
    pre_visit_relation, post_visit_relation: ObjectName;
    pre_visit_table_factor, post_visit_table_factor: TableFactor;
    pre_visit_expr, post_visit_expr: Expr;
    pre_visit_statement, post_visit_statement: Statement;
    pre_visit_value, post_visit_value: ValueWithSpan;
}
