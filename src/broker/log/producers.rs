//! Idempotent producers in one partition: which batch is new, which was written before.
//!
//! Owns the last few batches of each producer. Pure: no I/O, no clock.
//! Invariant: within one epoch a producer's batches are written in the order of their sequence
//! numbers, without a gap and each once.

use std::collections::{BTreeMap, VecDeque};

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};

use crate::broker::batch::BatchHeader;

/// A producer may have this many batches under way, so any of the last ones may be sent again.
const REMEMBERED: usize = 5;
/// Past it, those that wrote least recently are forgotten (they may then start at any number).
const PRODUCERS_MAX: usize = 5_000;

/// What is known of a partition's producers.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Producers {
    by_id: BTreeMap<i64, Producer>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Producer {
    epoch: i16,
    /// The last batches of this epoch, oldest first.
    recent: VecDeque<Written>,
    last_offset: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

/// Whether a batch is to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is the next one.
    New,
    /// It was written before, at this offset.
    Duplicate { base_offset: i64 },
}

impl Producers {
    /// Decides on a batch of records; remembers nothing yet.
    ///
    /// # Errors
    /// The epoch is an old one, or the sequence number is not the next.
    pub(crate) fn admit(&self, batch: &BatchHeader) -> Result<Admission, ResponseError> {
        let Some(producer) = self.by_id.get(&batch.producer_id) else {
            return Ok(Admission::New); // Also true for producers that are not idempotent.
        };
        if batch.producer_epoch < producer.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if batch.producer_epoch > producer.epoch {
            return match batch.base_sequence {
                0 => Ok(Admission::New),
                _ => Err(ResponseError::OutOfOrderSequenceNumber),
            };
        }
        let (first, last) = (batch.base_sequence, batch.last_sequence());
        let same = |w: &&Written| w.first_sequence == first && w.last_sequence == last;
        if let Some(written) = producer.recent.iter().find(same) {
            return Ok(Admission::Duplicate {
                base_offset: written.base_offset,
            });
        }
        match producer.recent.back() {
            Some(previous) if !follows(previous.last_sequence, first) => {
                Err(ResponseError::OutOfOrderSequenceNumber)
            }
            None if first != 0 => Err(ResponseError::OutOfOrderSequenceNumber),
            Some(_) | None => Ok(Admission::New),
        }
    }

    /// Remembers a batch that was written; `is_busy` tells producers inside a transaction.
    pub(crate) fn written(
        &mut self,
        batch: &BatchHeader,
        base_offset: i64,
        is_busy: impl Fn(i64) -> bool,
    ) {
        if batch.producer_id < 0 {
            return;
        }
        let producer = self.by_id.entry(batch.producer_id).or_default();
        if batch.producer_epoch > producer.epoch {
            producer.epoch = batch.producer_epoch;
            producer.recent.clear();
        }
        producer.last_offset = base_offset + i64::from(batch.last_offset_delta);
        if !batch.is_control() {
            if producer.recent.len() == REMEMBERED {
                producer.recent.pop_front();
            }
            producer.recent.push_back(Written {
                first_sequence: batch.base_sequence,
                last_sequence: batch.last_sequence(),
                base_offset,
            });
        }
        if self.by_id.len() > PRODUCERS_MAX {
            self.forget_oldest(is_busy);
        }
    }

    /// Forgets a tenth at once, so that the search is paid rarely.
    fn forget_oldest(&mut self, is_busy: impl Fn(i64) -> bool) {
        let mut last_offsets: Vec<i64> = self.by_id.values().map(|p| p.last_offset).collect();
        let (_, limit, _) = last_offsets.select_nth_unstable(PRODUCERS_MAX / 10);
        let limit = *limit;
        self.by_id
            .retain(|id, producer| producer.last_offset > limit || is_busy(*id));
    }
}

fn follows(last: i32, next: i32) -> bool {
    last.checked_add(1).unwrap_or(0) == next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::batch::control_batch;
    use crate::broker::batch::testing::{Spec, batch};

    fn header(id: i64, epoch: i16, sequence: i32, records: usize) -> BatchHeader {
        let timestamps = vec![1; records];
        let spec = Spec {
            producer: Some((id, epoch, sequence)),
            timestamps: &timestamps,
            ..Spec::default()
        };
        BatchHeader::parse(&batch(&spec)).unwrap()
    }

    fn write(producers: &mut Producers, batch: &BatchHeader, offset: i64) {
        assert_eq!(producers.admit(batch), Ok(Admission::New));
        producers.written(batch, offset, |_| false);
    }

    #[test]
    fn a_batch_that_is_sent_again_keeps_its_first_offset() {
        let mut producers = Producers::default();
        for n in 0..6 {
            write(&mut producers, &header(1, 0, n * 2, 2), i64::from(n) * 2);
        }
        for n in 1..6 {
            let again = producers.admit(&header(1, 0, n * 2, 2));
            assert_eq!(
                again,
                Ok(Admission::Duplicate {
                    base_offset: i64::from(n) * 2
                })
            );
        }
        let forgotten = producers.admit(&header(1, 0, 0, 2));
        assert_eq!(forgotten, Err(ResponseError::OutOfOrderSequenceNumber));
    }

    #[test]
    fn gaps_and_old_epochs_are_refused() {
        let mut producers = Producers::default();
        write(&mut producers, &header(1, 1, 7, 1), 0); // A producer that was forgotten.
        let refused = |batch| producers.admit(&batch).unwrap_err();
        assert_eq!(
            refused(header(1, 1, 9, 1)),
            ResponseError::OutOfOrderSequenceNumber
        );
        assert_eq!(
            refused(header(1, 0, 8, 1)),
            ResponseError::InvalidProducerEpoch
        );
        assert_eq!(
            refused(header(1, 2, 8, 1)),
            ResponseError::OutOfOrderSequenceNumber
        );
        write(&mut producers, &header(1, 2, 0, 1), 1);
    }

    #[test]
    fn sequence_numbers_go_on_after_the_greatest() {
        let mut producers = Producers::default();
        write(&mut producers, &header(1, 0, i32::MAX, 1), 0);
        write(&mut producers, &header(1, 0, 0, 1), 1);
    }

    #[test]
    fn a_marker_of_a_higher_epoch_fences_the_old_producer() {
        let mut producers = Producers::default();
        write(&mut producers, &header(1, 0, 0, 1), 0);
        let marker = BatchHeader::parse(&control_batch(1, 1, false, 0)).unwrap();
        producers.written(&marker, 1, |_| false);
        let fenced = producers.admit(&header(1, 0, 1, 1));
        assert_eq!(fenced, Err(ResponseError::InvalidProducerEpoch));
        write(&mut producers, &header(1, 1, 0, 1), 2);
    }

    #[test]
    fn the_oldest_producers_are_forgotten_but_not_one_in_a_transaction() {
        let mut producers = Producers::default();
        for n in 0..i64::try_from(PRODUCERS_MAX).unwrap() + 1 {
            let batch = header(n, 0, 0, 1);
            producers.written(&batch, n, |id| id == 3);
        }
        assert!(producers.by_id.len() <= PRODUCERS_MAX, "the limit holds");
        assert!(producers.by_id.contains_key(&3), "a busy one stays");
        assert!(!producers.by_id.contains_key(&4), "an idle old one goes");
    }
}
