//! Which checkpoint a query goes on from.
//!
//! Does no I/O: the caller has looked, and will act. Invariant: a query never starts anew where a
//! checkpoint is or should be, and never goes on from another epoch than the committed one.

use super::Committed;
use super::manifest::{FORMAT, manifest_name};
use crate::error::{Error, SqlState};

/// A manifest that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub epoch: u64,
    pub condition: Condition,
}

/// What is known of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// It, or state that it names, is not what was written; why: whole sentences.
    Damaged(String),
    /// It has this format, which is newer than ours.
    Newer(u32),
    /// It is whole, but belongs to another statement.
    OfAnotherText,
    /// It is whole; its state was not read yet.
    Readable,
    /// It and its state are whole.
    Whole,
}

/// What recovery must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// The query is new.
    StartAnew,
    /// The state of this epoch must be read, to know whether it is whole; then decide again.
    ReadState(u64),
    /// Go on from this epoch.
    Take(u64),
    /// Stop, and leave everything as it is.
    Refuse(Refusal),
}

/// Why a query cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    Newer {
        epoch: u64,
        format: u32,
    },
    OfAnotherText {
        epoch: u64,
    },
    /// There is none, and the query has had one.
    Gone,
    /// The only right one is not there; these are.
    Missing {
        committed: Option<u64>,
        there: Vec<u64>,
    },
    /// The only right one, or each of them.
    Damaged {
        epoch: u64,
        why: String,
    },
}

/// Decides from the manifests that are there, in ascending order, and from what is committed. A query
/// that `is_new` has yet to write its first: what its sink says, and what is there of another statement,
/// is of an earlier one.
pub(super) fn decide(found: &[Found], committed: Committed, is_new: bool) -> Decision {
    let is_of_another = |found: &Found| found.condition == Condition::OfAnotherText;
    if is_new && found.iter().all(is_of_another) {
        return Decision::StartAnew;
    }
    for Found { epoch, condition } in found.iter().rev() {
        if let Condition::Newer(format) = condition {
            return Decision::Refuse(Refusal::Newer {
                epoch: *epoch,
                format: *format,
            });
        }
    }
    match committed {
        Committed::Epoch(None) | Committed::Latest if found.is_empty() => {
            Decision::Refuse(Refusal::Gone)
        }
        // The sink was made ready for a new one of the same statement.
        Committed::Epoch(None) if is_new && found.iter().all(|found| found.epoch > 0) => {
            Decision::StartAnew
        }
        Committed::Epoch(committed) => exactly(found, committed),
        Committed::Latest => newest(found),
    }
}

/// The one before would double rows, the one after would lose some.
fn exactly(found: &[Found], committed: Option<u64>) -> Decision {
    let epoch = committed.unwrap_or(0);
    match found.iter().find(|found| found.epoch == epoch) {
        Some(found) => one(found),
        None => Decision::Refuse(Refusal::Missing {
            committed,
            there: found.iter().map(|found| found.epoch).collect(),
        }),
    }
}

fn newest(found: &[Found]) -> Decision {
    let usable = |found: &&Found| !matches!(found.condition, Condition::Damaged(_));
    match found.iter().rev().find(usable).or(found.last()) {
        Some(found) => one(found),
        None => Decision::Refuse(Refusal::Gone),
    }
}

fn one(Found { epoch, condition }: &Found) -> Decision {
    let epoch = *epoch;
    match condition {
        Condition::Whole => Decision::Take(epoch),
        Condition::Readable => Decision::ReadState(epoch),
        Condition::OfAnotherText => Decision::Refuse(Refusal::OfAnotherText { epoch }),
        Condition::Newer(format) => Decision::Refuse(Refusal::Newer {
            epoch,
            format: *format,
        }),
        Condition::Damaged(why) => Decision::Refuse(Refusal::Damaged {
            epoch,
            why: why.clone(),
        }),
    }
}

/// What is to be told of the others when an epoch is taken: whole sentences.
pub(super) fn refused(found: &[Found], taken: u64) -> Vec<String> {
    let told = found.iter().rev().filter_map(|Found { epoch, condition }| {
        let name = manifest_name(*epoch);
        match condition {
            Condition::Damaged(why) => Some(format!(
                "The checkpoint {name} cannot be used; the query goes on from epoch {taken}. {why}"
            )),
            _ if *epoch > taken => Some(format!(
                "The checkpoint {name} was never committed; the query goes on from epoch {taken}."
            )),
            _ => None,
        }
    });
    told.collect()
}

impl Refusal {
    /// The error that the user sees; `full_name` says where an object lies.
    pub(super) fn error(&self, full_name: impl Fn(&str) -> String) -> Error {
        let name = |epoch: &u64| full_name(&manifest_name(*epoch));
        match self {
            Self::Newer { epoch, format } => Error::external(
                SqlState::FeatureNotSupported,
                false,
                format!(
                    "the checkpoint {} was written by a newer version",
                    name(epoch)
                ),
            )
            .detail(format!(
                "It has the format {format}, and this server knows {FORMAT}."
            ))
            .hint(format!("Run the newer version, or {ANEW}")),
            Self::OfAnotherText { epoch } => Error::external(
                SqlState::ObjectNotInPrerequisiteState,
                false,
                "the query's definition changed under its state",
            )
            .detail(format!(
                "The checkpoint {} belongs to another statement.",
                name(epoch)
            ))
            .hint(format!("Give the query its former definition, or {ANEW}")),
            Self::Gone => Error::external(
                SqlState::DataCorrupted,
                false,
                "the query's checkpoints are missing",
            )
            .detail(format!(
                "There is none in {}, and the query has had one: starting anew by itself could double \
                 rows.",
                full_name("")
            ))
            .hint(format!("Put back the files, or {ANEW}")),
            Self::Missing { committed, there } => {
                let there: Vec<String> = there.iter().map(u64::to_string).collect();
                let there = match there.as_slice() {
                    [] => "There is no checkpoint.".to_owned(),
                    there => format!("There are those of the epochs {}.", there.join(", ")),
                };
                let sink = match committed {
                    Some(epoch) => {
                        format!("The sink has committed the results up to epoch {epoch}.")
                    }
                    None => "The sink knows of no committed results: they were never, or what it \
                             remembered has expired."
                        .to_owned(),
                };
                let name = name(&committed.unwrap_or(0));
                Error::external(
                    SqlState::DataCorrupted,
                    false,
                    format!("the checkpoint {name} is missing"),
                )
                .detail(format!(
                    "{sink} Going on from another epoch would lose or double rows. {there}"
                ))
                .hint(format!("Put back the file, or {ANEW}"))
            }
            Self::Damaged { epoch, why } => Error::external(
                SqlState::DataCorrupted,
                false,
                format!("the checkpoint {} cannot be used", name(epoch)),
            )
            .detail(why.clone())
            .hint(format!("Put back the file, or {ANEW}")),
        }
    }
}

const ANEW: &str =
    "drop the query and create it again: it then starts anew, and gives all its rows again.";

#[cfg(test)]
mod tests {
    use super::*;

    const LATEST: Committed = Committed::Latest;
    const NONE: Committed = Committed::Epoch(None);

    fn at(epoch: u64) -> Committed {
        Committed::Epoch(Some(epoch))
    }

    /// One letter a manifest, from epoch `first` on: damaged, newer, another text, readable, whole.
    fn found(first: u64, letters: &str) -> Vec<Found> {
        let condition = |letter| match letter {
            'd' => Condition::Damaged("It is torn.".to_owned()),
            'n' => Condition::Newer(9),
            't' => Condition::OfAnotherText,
            'r' => Condition::Readable,
            'w' => Condition::Whole,
            other => panic!("{other} says nothing"),
        };
        let conditions = letters.chars().map(condition);
        (first..)
            .zip(conditions)
            .map(|(epoch, condition)| Found { epoch, condition })
            .collect()
    }

    fn newer(epoch: u64) -> Decision {
        Decision::Refuse(Refusal::Newer { epoch, format: 9 })
    }

    fn another(epoch: u64) -> Decision {
        Decision::Refuse(Refusal::OfAnotherText { epoch })
    }

    fn missing(committed: impl Into<Option<u64>>, there: &[u64]) -> Decision {
        let (committed, there) = (committed.into(), there.to_vec());
        Decision::Refuse(Refusal::Missing { committed, there })
    }

    fn damaged(epoch: u64) -> Decision {
        let why = "It is torn.".to_owned();
        Decision::Refuse(Refusal::Damaged { epoch, why })
    }

    #[test]
    fn every_case_is_decided() {
        use Decision::{ReadState, Take};
        let gone = || Decision::Refuse(Refusal::Gone);
        let cases = [
            // Nothing is there.
            (0, "", LATEST, gone()),
            (0, "", NONE, gone()),
            (0, "", at(0), missing(0, &[])),
            (0, "", at(7), missing(7, &[])),
            // The rename is the commit: the newest, else the one before.
            (6, "rr", LATEST, ReadState(7)),
            (6, "rw", LATEST, Take(7)),
            (6, "rd", LATEST, ReadState(6)),
            (6, "wd", LATEST, Take(6)),
            (6, "dw", LATEST, Take(7)),
            (6, "dd", LATEST, damaged(7)),
            (0, "d", LATEST, damaged(0)),
            (6, "rt", LATEST, another(7)),
            (6, "td", LATEST, another(6)),
            (6, "tr", LATEST, ReadState(7)),
            // The sink says which: that one and no other.
            (6, "rr", at(7), ReadState(7)),
            (6, "rr", at(6), ReadState(6)),
            (6, "wr", at(6), Take(6)),
            (6, "wd", at(6), Take(6)),
            (6, "wd", at(7), damaged(7)),
            (6, "dw", at(6), damaged(6)),
            (6, "rr", at(5), missing(5, &[6, 7])),
            (6, "rr", at(8), missing(8, &[6, 7])),
            (6, "rt", at(7), another(7)),
            (6, "rt", at(6), ReadState(6)),
            // It has never committed one.
            (0, "rr", NONE, ReadState(0)),
            (0, "wr", NONE, Take(0)),
            (0, "dw", NONE, damaged(0)),
            (6, "rr", NONE, missing(None, &[6, 7])),
            // A newer server was here.
            (6, "rn", LATEST, newer(7)),
            (6, "nr", LATEST, newer(6)),
            (6, "nd", LATEST, newer(6)),
            (6, "wn", at(6), newer(7)),
            (0, "n", NONE, newer(0)),
        ];
        for (first, letters, committed, decision) in cases {
            let found = found(first, letters);
            assert_eq!(
                decide(&found, committed, false),
                decision,
                "{letters} from epoch {first}, {committed:?}"
            );
        }
    }

    #[test]
    fn what_is_passed_over_is_told() {
        let told = refused(&found(6, "wd"), 6);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("cannot be used"), "{told:?}");
        assert!(told[0].contains("It is torn."), "{told:?}");
        let told = refused(&found(6, "wr"), 6);
        assert!(told[0].contains("never committed"), "{told:?}");
        assert!(refused(&found(6, "rw"), 7).is_empty());
        assert_eq!(refused(&found(6, "dw"), 7).len(), 1);
    }

    #[test]
    fn an_error_says_what_is_wrong_and_what_to_do() {
        let cases = [
            (newer(7), SqlState::FeatureNotSupported, "newer version"),
            (
                another(7),
                SqlState::ObjectNotInPrerequisiteState,
                "definition changed",
            ),
            (missing(7, &[5]), SqlState::DataCorrupted, "is missing"),
            (missing(None, &[]), SqlState::DataCorrupted, "is missing"),
            (damaged(7), SqlState::DataCorrupted, "cannot be used"),
            (
                Decision::Refuse(Refusal::Gone),
                SqlState::DataCorrupted,
                "are missing",
            ),
        ];
        for (decision, state, words) in cases {
            let Decision::Refuse(refusal) = decision else {
                panic!("{decision:?} refuses nothing");
            };
            let error = refusal.error(|name| format!("here/{name}"));
            assert_eq!(error.state(), state);
            assert!(error.message().contains(words), "{error}");
            assert!(format!("{error}").contains("here/"), "{error}");
            assert!(
                error
                    .hint_text()
                    .is_some_and(|hint| hint.contains("drop the query"))
            );
        }
    }
    #[test]
    fn a_query_without_a_first_checkpoint_starts_anew_only_if_it_is_new() {
        for committed in [LATEST, NONE, at(0), at(7)] {
            assert_eq!(decide(&[], committed, true), Decision::StartAnew);
        }
        let one = found(6, "r");
        assert_eq!(decide(&one, at(7), true), missing(7, &[6]));
        assert_eq!(decide(&one, NONE, true), Decision::StartAnew);
        assert_eq!(
            decide(&found(0, "r"), NONE, true),
            Decision::ReadState(0),
            "its first is there, the mark was not deleted yet"
        );
        let of_another = found(6, "tt");
        assert_eq!(decide(&of_another, at(7), true), Decision::StartAnew);
        let refused = decide(&of_another, LATEST, false);
        assert_eq!(
            refused,
            Decision::Refuse(Refusal::OfAnotherText { epoch: 7 })
        );
    }
}
