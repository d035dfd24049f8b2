//! What the plans of several queries have in common, so that the work for it is done once.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::prefix::Prefix;
use super::selection::Selection;
use crate::plan::StreamPlan;

/// Parts of plans that may be the same in two queries.
pub(super) trait Alike {
    /// Whether one does for the other.
    fn is_like(&self, other: &Self) -> bool;
}

/// What a query's plan may have in common with others.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Common {
    /// All of it up to the groups.
    pub prefix: Option<Arc<Prefix>>,
    /// The condition that it begins with.
    pub selection: Option<Arc<Selection>>,
}

impl Common {
    /// That of a plan's input, for a query that is durable or not.
    pub(in crate::engine) fn of(plan: &StreamPlan, input: usize, durable: bool) -> Self {
        Self {
            prefix: Prefix::of(plan, input, durable).map(Arc::new),
            selection: Selection::of(&plan.inputs[input]).map(Arc::new),
        }
    }
}

/// What the plans of all queries have: like ones are one.
#[derive(Debug, Default)]
pub(super) struct Registry {
    prefixes: Known<Prefix>,
    selections: Known<Selection>,
}

impl Registry {
    /// The same with what other queries have already.
    pub(super) fn one(&self, common: Common) -> Common {
        Common {
            prefix: common.prefix.map(|prefix| self.prefixes.one(prefix)),
            selection: common.selection.map(|one| self.selections.one(one)),
        }
    }
}

#[derive(Debug)]
struct Known<T>(Mutex<Vec<Weak<T>>>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Alike> Known<T> {
    /// The one that all like this one have.
    fn one(&self, new: Arc<T>) -> Arc<T> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|one| one.strong_count() > 0);
        let mut alive = known.iter().filter_map(Weak::upgrade);
        if let Some(like) = alive.find(|one| one.is_like(&new)) {
            return like;
        }
        known.push(Arc::downgrade(&new));
        new
    }
}

/// Those that more than one of some queries has.
pub(super) fn shared<'a, T: 'a>(all: impl Iterator<Item = Option<&'a Arc<T>>>) -> Vec<Arc<T>> {
    let (mut once, mut shared) = (Vec::<&Arc<T>>::new(), Vec::<Arc<T>>::new());
    for one in all.flatten() {
        if shared.iter().any(|known| Arc::ptr_eq(known, one)) {
            continue;
        }
        match once.iter().any(|known| Arc::ptr_eq(known, one)) {
            true => shared.push(Arc::clone(one)),
            false => once.push(one),
        }
    }
    shared
}
