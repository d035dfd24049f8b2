//! Messages that are read when they are wanted, by a reader for each partition.
//!
//! For a query that ends with what is there now, and takes partitions at the pace of their event times: none is read
//! far ahead of the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::begin::Begin;
use super::input::{Collect, Collected, Gather, options};
use super::shared_scan::UnionDecode;
use crate::error::Result;
use crate::plan::StreamPlan;
use crate::source::{Read, Reader};
use crate::types::InputPartition;

/// For more partitions than this a reader each would be too many.
pub(super) const PARTITIONS_MAX: usize = 64;
/// How long one partition is waited for before the next one is looked at.
const PATIENCE: Duration = Duration::from_millis(20);

/// Reads partitions one at a time.
pub(super) struct Pulled {
    readers: BTreeMap<InputPartition, Reader>,
    /// What decodes the messages of each input.
    decodes: Vec<UnionDecode>,
    wanted: Vec<InputPartition>,
}

impl Pulled {
    /// Begins to read. So many messages and bytes come of one read at the most.
    ///
    /// # Errors
    /// When the topics cannot be read, or a column cannot be decoded.
    pub(super) fn open(plan: &StreamPlan, begin: &Begin, read_max: (usize, usize)) -> Result<Self> {
        let decodes = plan.inputs.iter();
        let decodes = decodes.map(|input| UnionDecode::of([&input.source.scan].into_iter()));
        let readers = begin.partitions().map(|(place, range)| {
            let source = &plan.inputs[place.input].source;
            let assignment = vec![(range.partition, range.start)];
            let reader = Reader::open(options(source, assignment, read_max))?;
            Ok((place, reader))
        });
        Ok(Self {
            readers: readers.collect::<Result<_>>()?,
            decodes: decodes.collect::<Result<_>>()?,
            wanted: Vec::new(),
        })
    }
}

impl Collect for Pulled {
    fn collect(&mut self, timeout: Duration, _: Gather) -> Result<Collected> {
        let mut collected = Collected::nothing(1);
        for place in std::mem::take(&mut self.wanted) {
            let Some(reader) = self.readers.get_mut(&place) else {
                continue;
            };
            let Read {
                batch,
                ends,
                problems,
            } = reader.read(timeout.min(PATIENCE))?;
            if !batch.messages.is_empty() {
                let fetched = self.decodes[place.input].decode(batch)?;
                collected.lanes[0].push((place.input, Arc::new(fetched)));
            }
            let input = place.input;
            collected
                .ends
                .extend(ends.into_iter().map(|end| (input, end)));
            let problems = problems.into_iter();
            collected
                .problems
                .extend(problems.map(|problem| (input, problem)));
        }
        Ok(collected)
    }

    fn want(&mut self, partitions: &[InputPartition]) {
        self.wanted = partitions.to_vec();
    }
}
