//! The consumer groups that hear how far a query has read its topics, for monitoring.

use std::collections::BTreeMap;

use super::status::PartitionStatus;
use crate::error::Result;
use crate::plan::SourcePlan;
use crate::source::GroupOffsets;
use crate::types::InputPartition;

/// One group an input, where its table names one.
pub(super) struct Groups(Vec<Option<GroupOffsets>>);

impl Groups {
    /// The groups of a query that is created; those of others hear nothing.
    pub(super) fn open<'a>(
        sources: impl IntoIterator<Item = &'a SourcePlan>,
        created: bool,
    ) -> Result<Self> {
        let group = |source: &SourcePlan| match &source.group_id {
            Some(group) if created => {
                let scan = &source.scan;
                GroupOffsets::open(&scan.connection, &scan.topic, group).map(Some)
            }
            _ => Ok(None),
        };
        let groups = sources.into_iter().map(group);
        Ok(Self(groups.collect::<Result<_>>()?))
    }

    /// An epoch lasts: what was read before its end is done with.
    pub(super) fn tell(&mut self, partitions: &BTreeMap<InputPartition, PartitionStatus>) {
        for (input, group) in self.0.iter_mut().enumerate() {
            let Some(group) = group else { continue };
            let own = partitions.iter().filter(|(place, _)| place.input == input);
            let next = own.filter_map(|(place, status)| Some((place.partition, status.committed?)));
            group.commit(next.collect());
        }
    }

    /// Sends what was held back, if it is time to.
    pub(super) fn tick(&mut self) {
        self.0.iter_mut().flatten().for_each(GroupOffsets::tick);
    }
}
