//! Which numbers of a state (groups, sessions) differ from what its last image said.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;

use crate::error::{Result, from_arrow};

/// How many keys went, and their columns.
pub type GoneKeys = (usize, Vec<ArrayRef>);

/// The numbers that an image must name.
#[derive(Default)]
pub struct Dirty {
    /// In the order in which they were touched.
    groups: VecDeque<usize>,
    is_dirty: Vec<bool>,
    /// For each release how many were released, and their keys, column by column.
    gone: Vec<GoneKeys>,
}

impl Dirty {
    /// Groups changed; there are `total` numbers.
    pub fn mark(&mut self, groups: &[usize], total: usize) {
        self.is_dirty.resize(total.max(self.is_dirty.len()), false);
        for &group in groups {
            if !self.is_dirty[group] {
                self.is_dirty[group] = true;
                self.groups.push_back(group);
            }
        }
    }

    /// Groups with these keys are there no more.
    pub fn release(&mut self, groups: &[usize], keys: Vec<ArrayRef>) {
        let mut forgets = false;
        for &group in groups {
            if let Some(is_dirty) = self.is_dirty.get_mut(group) {
                forgets |= std::mem::take(is_dirty);
            }
        }
        if forgets {
            self.groups.retain(|group| self.is_dirty[*group]);
        }
        self.gone.push((groups.len(), keys));
    }

    /// Groups that changed, at most so many of them and those first that have waited longest, and how
    /// many went with their keys.
    ///
    /// # Errors
    /// When keys of one release are not of the same types as those of another.
    pub fn take(&mut self, at_most: usize) -> Result<(Vec<usize>, GoneKeys)> {
        let groups: Vec<usize> = self
            .groups
            .drain(..at_most.min(self.groups.len()))
            .collect();
        for &group in &groups {
            self.is_dirty[group] = false;
        }
        let gone = std::mem::take(&mut self.gone);
        let count = gone.iter().map(|(count, _)| count).sum();
        let columns = gone.first().map_or(0, |(_, keys)| keys.len());
        let keys = (0..columns)
            .map(|column| {
                let parts: Vec<&dyn Array> = gone.iter().map(|(_, keys)| &*keys[column]).collect();
                concat(&parts).map_err(from_arrow)
            })
            .collect::<Result<_>>()?;
        Ok((groups, (count, keys)))
    }

    /// True when the next image has nothing to say.
    pub fn is_clean(&self) -> bool {
        self.groups.is_empty() && self.gone.is_empty()
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<usize>() + self.is_dirty.capacity()
    }
}
