//! One group table: keys and, for each aggregate function, a value a key.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::FieldRef;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::accumulator::{GroupAccumulator, Refused, Update};
use super::dirty::{Dirty, GoneKeys};
use super::grouped::Grouped;
use super::keys::Keys;
use super::native::native;
use super::per_group::PerGroup;
use crate::error::{Error, Result, from_arrow, from_datafusion};
use crate::task;

/// DataFusion's vectorised versions of these walk over all groups on every batch, or keep a heap
/// vector a group; one accumulator a group is faster.
const WALKS_OVER_ALL_GROUPS: [&str; 3] = ["first_value", "last_value", "nth_value"];

/// From so many groups on, what is done to each column is worth a thread.
const MANY_GROUPS: usize = 1 << 16;

/// The aggregates of one pane, by key.
pub struct GroupTable {
    keys: Keys,
    accumulators: Vec<Box<dyn GroupAccumulator>>,
    /// Each row's group in the batch under way; kept to reuse its memory.
    groups: Vec<usize>,
    /// `None`: nobody takes images.
    dirty: Option<Dirty>,
}

/// What a table is for. One that gives neither values nor images while it lives is the fastest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableUse {
    /// Values are read and groups released.
    pub readable: bool,
    /// Images are taken.
    pub durable: bool,
}

/// What of a table differs from what its last image said.
pub struct ChangedGroups {
    /// How many groups are there no more, and their keys, column by column.
    pub gone: GoneKeys,
    /// The groups that are new or changed.
    pub groups: Vec<usize>,
    /// Their keys.
    pub keys: Vec<ArrayRef>,
    /// Their partial states, one function's columns after the other's.
    pub states: Vec<ArrayRef>,
}

/// A table's groups as they left it: keys and partial states that never change, cheap to clone.
#[derive(Clone)]
pub struct Frozen {
    keys: Arc<Keys>,
    /// For each function its state columns.
    states: Vec<Vec<ArrayRef>>,
}

impl Frozen {
    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        let arrays = self.states.iter().flatten();
        let arrays: usize = arrays.map(|array| array.get_array_memory_size()).sum();
        self.keys.size_bytes() + arrays
    }

    /// What the next image must say of some of the groups that are `dirty`: at most so many.
    ///
    /// # Errors
    /// When what was interned cannot be read back, which is a mistake of ours.
    pub fn take_changed(&self, dirty: &mut Dirty, at_most: usize) -> Result<ChangedGroups> {
        let (groups, gone) = dirty.take(at_most)?;
        let rows = UInt64Array::from_iter_values(groups.iter().map(|group| *group as u64));
        let states = self.states.iter().flatten();
        let states = states.map(|state| take(state, &rows, None).map_err(from_arrow));
        Ok(ChangedGroups {
            states: states.collect::<Result<_>>()?,
            keys: self.keys.read(groups.iter().copied())?,
            gone,
            groups,
        })
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.keys.count()
    }

    /// True without groups.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Groups on their way out.
pub struct Groups {
    /// Their keys, column by column.
    pub keys: Vec<ArrayRef>,
    /// Their values, one column a function.
    pub values: Vec<ArrayRef>,
    /// Those of them that have no values, and why; NULL stands in their place.
    pub refused: Refused,
}

/// The columns that an update brings, already evaluated.
pub struct Rows<'a> {
    /// One a key.
    pub keys: &'a [ArrayRef],
    /// For each function its arguments.
    pub arguments: &'a [Vec<ArrayRef>],
    /// For each function its FILTER.
    pub filters: &'a [Option<BooleanArray>],
    /// The number of rows.
    pub len: usize,
}

impl GroupTable {
    /// An empty table.
    ///
    /// # Errors
    /// When a key's type cannot be grouped or a function has no accumulator.
    pub fn try_new(
        keys: &[FieldRef],
        functions: &[Arc<AggregateFunctionExpr>],
        wanted: TableUse,
    ) -> Result<Self> {
        let accumulators = functions
            .iter()
            .map(|f| accumulator(f, wanted))
            .collect::<Result<_>>()?;
        Ok(Self {
            keys: Keys::try_new(keys)?,
            accumulators,
            groups: Vec::new(),
            dirty: wanted.durable.then(Dirty::default),
        })
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.keys.count()
    }

    /// The number of groups without those that were released.
    pub fn live(&self) -> usize {
        self.keys.live()
    }

    /// The keys of some groups.
    ///
    /// # Errors
    /// When what was interned cannot be read back, which is a mistake of ours.
    pub fn keys_of(&self, groups: &[usize]) -> Result<Vec<ArrayRef>> {
        self.keys.read(groups.iter().copied())
    }

    /// Takes groups out of a readable table; their numbers go to later ones.
    ///
    /// # Errors
    /// When a function has no new accumulator.
    pub fn release(&mut self, groups: &[usize]) -> Result<()> {
        for accumulator in &mut self.accumulators {
            accumulator.release(groups)?;
        }
        if let Some(dirty) = &mut self.dirty {
            dirty.release(groups, self.keys.read(groups.iter().copied())?);
        }
        groups.iter().for_each(|group| self.keys.remove(*group));
        Ok(())
    }

    /// True when no row has come.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in rows; returns each row's group.
    ///
    /// # Errors
    /// When a function refuses a value (an overflow, say).
    pub fn update(&mut self, rows: &Rows<'_>) -> Result<&[usize]> {
        self.keys.intern(rows.keys, rows.len, &mut self.groups)?;
        let total = self.keys.count();
        for (index, accumulator) in self.accumulators.iter_mut().enumerate() {
            accumulator.update(Update {
                arguments: &rows.arguments[index],
                groups: &self.groups,
                keep: rows.filters[index].as_ref(),
                total,
            })?;
        }
        if let Some(dirty) = &mut self.dirty {
            dirty.mark(&self.groups, total);
        }
        Ok(&self.groups)
    }

    /// Notes that what belongs to some groups outside of the table has changed.
    pub fn touch(&mut self, groups: &[usize]) {
        let total = self.keys.count();
        if let Some(dirty) = &mut self.dirty {
            dirty.mark(groups, total);
        }
    }

    /// What the next image must say, of at most so many groups; `None` when nothing has changed since
    /// it was last said.
    ///
    /// # Errors
    /// When a function cannot give its state.
    pub fn take_changed(&mut self, at_most: usize) -> Result<Option<ChangedGroups>> {
        let Some(dirty) = self.dirty.as_mut().filter(|dirty| !dirty.is_clean()) else {
            return Ok(None);
        };
        let (groups, gone) = dirty.take(at_most)?;
        let states = self.accumulators.iter_mut();
        let states = states.map(|a| a.states_of(&groups));
        Ok(Some(ChangedGroups {
            states: states.collect::<Result<Vec<_>>>()?.concat(),
            keys: self.keys.read(groups.iter().copied())?,
            gone,
            groups,
        }))
    }

    /// Which groups the next image must name, if there are any; they are not told again.
    pub fn take_dirty(&mut self) -> Option<Dirty> {
        let dirty = std::mem::take(self.dirty.as_mut()?);
        (!dirty.is_clean()).then_some(dirty)
    }

    /// Takes in groups as [`Self::take_changed`] gave them, and what else stands behind their keys;
    /// returns each one's group and the columns that are none of the table's. The next image names
    /// them.
    ///
    /// # Errors
    /// When the columns are not those of this table.
    pub fn restore<'a>(
        &mut self,
        keys: &[ArrayRef],
        behind: &'a [ArrayRef],
        rows: usize,
    ) -> Result<(&[usize], &'a [ArrayRef])> {
        self.keys.intern(keys, rows, &mut self.groups)?;
        let total = self.keys.count();
        let rest = restore_states(&mut self.accumulators, behind, &self.groups, total)?;
        if let Some(dirty) = &mut self.dirty {
            dirty.mark(&self.groups, total);
        }
        Ok((&self.groups, rest))
    }

    /// Ends the table's life and gives its groups as partial states. Nothing is copied where the
    /// functions' states are moved.
    ///
    /// # Errors
    /// When a function cannot give its state.
    pub fn freeze(mut self) -> Result<Frozen> {
        Ok(Frozen {
            states: self.take_states()?,
            keys: Arc::new(self.keys),
        })
    }

    /// Takes in frozen groups; returns each one's number here.
    ///
    /// # Errors
    /// When a function refuses to merge.
    pub fn merge(&mut self, frozen: &Frozen) -> Result<&[usize]> {
        self.intern_all(&frozen.keys);
        self.merge_states(&frozen.states)?;
        Ok(&self.groups)
    }

    /// Takes in the groups of another table.
    ///
    /// # Errors
    /// When a function refuses to merge.
    pub fn absorb(&mut self, mut other: Self) -> Result<()> {
        self.intern_all(&other.keys);
        let states = other.take_states()?;
        self.merge_states(&states)
    }

    /// Takes in the groups of another table, which keeps them.
    ///
    /// # Errors
    /// When a function refuses to merge.
    pub fn add(&mut self, other: &mut Self) -> Result<()> {
        self.intern_all(&other.keys);
        let states = other.take_states()?;
        self.merge_states(&states)?;
        other.number_all();
        other.merge_states(&states)
    }

    /// Finds the group of each of another table's keys.
    fn intern_all(&mut self, keys: &Keys) {
        if self.is_empty() {
            self.keys = keys.clone();
            self.number_all();
        } else {
            self.keys.intern_all(keys, &mut self.groups);
        }
    }

    fn take_states(&mut self) -> Result<Vec<Vec<ArrayRef>>> {
        let accumulators = self.accumulators.iter_mut();
        accumulators.map(|a| a.take_state()).collect()
    }

    /// Each group is a row's.
    fn number_all(&mut self) {
        self.groups.clear();
        self.groups.extend(0..self.keys.count());
    }

    /// Hands the accumulators partial states, one a number in `groups`.
    fn merge_states(&mut self, states: &[Vec<ArrayRef>]) -> Result<()> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let (groups, total) = (&self.groups, self.keys.count());
        let work = self.accumulators.iter_mut().zip(states);
        let merged = each(groups.len(), work.collect(), |(accumulator, states)| {
            accumulator.merge(states, groups, total)
        });
        merged.into_iter().collect::<Result<()>>()?;
        if let Some(dirty) = &mut self.dirty {
            dirty.mark(&self.groups, total);
        }
        Ok(())
    }

    /// The keys and values of all groups, in the order in which the keys first came; ends the
    /// table's life.
    ///
    /// # Errors
    /// When a function cannot give its value.
    pub fn into_groups(mut self) -> Result<Groups> {
        let count = self.len();
        let keys = &self.keys;
        let mut work: Vec<Column<'_>> = vec![Box::new(|| keys.read(0..count))];
        for accumulator in &mut self.accumulators {
            work.push(Box::new(move || Ok(vec![accumulator.take_values(count)?])));
        }
        let mut columns = each(count, work, |column| column()).into_iter();
        Ok(Groups {
            keys: columns.next().unwrap_or_else(|| Ok(Vec::new()))?,
            values: columns.collect::<Result<Vec<_>>>()?.concat(),
            refused: refused(&mut self.accumulators),
        })
    }

    /// The keys and values of some groups of a readable table, which keeps them.
    ///
    /// # Errors
    /// When a function cannot give its value.
    ///
    /// # Panics
    /// If the table was not made readable.
    pub fn read(&mut self, groups: &[usize]) -> Result<Groups> {
        let readable = self
            .accumulators
            .iter()
            .all(|accumulator| accumulator.can_read());
        assert!(readable, "only a readable table is read");
        let (values, refused) = read(&mut self.accumulators, groups)?;
        Ok(Groups {
            keys: self.keys.read(groups.iter().copied())?,
            values,
            refused,
        })
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        let values: usize = self.accumulators.iter().map(|a| a.size_bytes()).sum();
        let dirty = self.dirty.as_ref().map_or(0, Dirty::size_bytes);
        self.keys.size_bytes() + values + dirty + self.groups.capacity() * size_of::<usize>()
    }
}

/// Makes columns of a table.
type Column<'a> = Box<dyn FnOnce() -> Result<Vec<ArrayRef>> + Send + 'a>;

/// Does the same to each item, side by side when it has to do with many groups.
fn each<T: Send, R: Send>(
    groups: usize,
    items: Vec<T>,
    work: impl Fn(T) -> R + Send + Sync,
) -> Vec<R> {
    match groups >= MANY_GROUPS {
        true => task::in_parallel(items, work),
        false => items.into_iter().map(work).collect(),
    }
}

/// The values of some groups, one column a function, and which of the groups have none.
pub(super) fn read(
    accumulators: &mut [Box<dyn GroupAccumulator>],
    groups: &[usize],
) -> Result<(Vec<ArrayRef>, Refused)> {
    let values = accumulators.iter_mut().map(|a| a.read(groups));
    let values = values.collect::<Result<_>>()?;
    Ok((values, refused(accumulators)))
}

/// Which groups of the columns given last have no values.
fn refused(accumulators: &mut [Box<dyn GroupAccumulator>]) -> Refused {
    let refused = accumulators.iter_mut();
    refused.flat_map(|a| a.take_refused()).collect()
}

/// Hands accumulators the states of some groups, of which there are `total`; gives the columns that
/// are left.
pub(super) fn restore_states<'a>(
    accumulators: &mut [Box<dyn GroupAccumulator>],
    states: &'a [ArrayRef],
    groups: &[usize],
    total: usize,
) -> Result<&'a [ArrayRef]> {
    let mut rest = states;
    for accumulator in accumulators {
        let width = accumulator.states_of(&[])?.len();
        let split = rest.split_at_checked(width);
        let (own, others) = split.ok_or_else(|| Error::internal("an image lacks a state"))?;
        accumulator.merge(own, groups, total)?;
        rest = others;
    }
    Ok(rest)
}

/// The accumulator of a function, for what is wanted of it.
pub(super) fn accumulator(
    function: &Arc<AggregateFunctionExpr>,
    wanted: TableUse,
) -> Result<Box<dyn GroupAccumulator>> {
    if let Some(ours) = native(function, wanted.readable || wanted.durable)? {
        return Ok(ours);
    }
    let vectorised = !wanted.readable
        && function.groups_accumulator_supported()
        && !WALKS_OVER_ALL_GROUPS.contains(&function.fun().name());
    if vectorised {
        let inner = function
            .create_groups_accumulator()
            .map_err(from_datafusion)?;
        Ok(Box::new(Grouped::new(inner)))
    } else {
        Ok(Box::new(PerGroup::new(Arc::clone(function))))
    }
}
