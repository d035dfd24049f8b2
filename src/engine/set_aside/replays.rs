//! Replays under way: messages that are handed to queries once more, through crashes.
//!
//! ```text
//! begin ──► given to each query that has met the message, durable
//!           query: takes it in one micro-batch ──► what came of each, durable ──► its checkpoint, with
//!                  the replay's number ──► committed: this query has done with it
//!           the last one has ──► the messages that became rows leave, the others have a new reason
//! ```
//! Invariant: a query takes a replay once: the greatest number that it has taken is in its checkpoint,
//! and what was given to it goes when that lasts.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use super::marks::Mark;
use super::rows::{LetterRow, letter, letter_row, there};
use crate::engine::rejected::DeadLetter;
use crate::redb_file::Fault;

/// Replay and message number: the message, and why it is still no row of the whole table, if it is not.
const REPLAYED: TableDefinition<'static, (u64, u64), (LetterRow<'static>, Option<&str>)> =
    TableDefinition::new("replayed");
/// Replay, query, message number and the query's input: why it was rejected again, once it was.
const GIVEN: TableDefinition<'static, (u64, &str, u64, u32), Option<&str>> =
    TableDefinition::new("given");

/// The number of the newest replay.
const NEWEST: TableDefinition<'static, &str, u64> = TableDefinition::new("newest");

/// A message that is run again.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Again {
    /// Its number.
    pub number: u64,
    /// The message.
    pub letter: DeadLetter,
    /// Why it is still no row of the whole table; `None`: it is one.
    pub still: Option<String>,
}

/// What a query is given: a message, and for which of its inputs.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Given {
    /// The message's number.
    pub number: u64,
    /// The query's input that has met it.
    pub input: u32,
    /// The message.
    pub letter: DeadLetter,
}

/// What came of one: why it was rejected again, if it was.
pub(in crate::engine) type Outcome = (u64, u32, Option<String>);

/// The replays that some query has not done with.
#[derive(Debug, Default)]
pub(super) struct Replays {
    /// By number: the queries that have not committed it.
    pub open: BTreeMap<u64, BTreeSet<String>>,
    /// The number of the newest.
    pub latest: u64,
}

impl Replays {
    /// What the disk has.
    pub(super) fn load(read: &ReadTransaction) -> Result<Self, Fault> {
        let mut replays = Self::default();
        if let Some(table) = there(read.open_table(NEWEST))? {
            replays.latest = table.get("replay")?.map_or(0, |latest| latest.value());
        }
        if let Some(table) = there(read.open_table(GIVEN))? {
            for entry in table.iter()? {
                let (key, _) = entry?;
                let (id, query, ..) = key.value();
                replays.open.entry(id).or_default().insert(query.to_owned());
            }
        }
        Ok(replays)
    }

    /// The next replay after `after` that a query has to take.
    pub(super) fn next_of(&self, query: &str, after: u64) -> Option<u64> {
        let mut open = self.open.range(after + 1..);
        open.find(|(_, queries)| queries.contains(query))
            .map(|(id, _)| *id)
    }
}

/// Writes a new replay.
pub(super) fn write_new(
    write: &WriteTransaction,
    id: u64,
    messages: &[Again],
    given: &[Mark],
) -> Result<(), Fault> {
    write.open_table(NEWEST)?.insert("replay", id)?;
    let mut table = write.open_table(REPLAYED)?;
    for Again {
        number,
        letter,
        still,
    } in messages
    {
        table.insert((id, *number), (letter_row(letter), still.as_deref()))?;
    }
    let mut table = write.open_table(GIVEN)?;
    for (number, query, input) in given {
        table.insert((id, query.as_str(), *number, *input), None)?;
    }
    Ok(())
}

/// What is given to all queries by all replays.
pub(super) fn given(read: &ReadTransaction) -> Result<BTreeSet<Mark>, Fault> {
    let mut all = BTreeSet::new();
    if let Some(table) = there(read.open_table(GIVEN))? {
        for entry in table.iter()? {
            let (key, _) = entry?;
            let (_, query, number, input) = key.value();
            all.insert((number, query.to_owned(), input));
        }
    }
    Ok(all)
}

/// What a query is given by a replay.
pub(super) fn given_to(read: &ReadTransaction, id: u64, query: &str) -> Result<Vec<Given>, Fault> {
    let (Some(given), Some(messages)) = (
        there(read.open_table(GIVEN))?,
        there(read.open_table(REPLAYED))?,
    ) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in given.range((id, query, 0, 0)..=(id, query, u64::MAX, u32::MAX))? {
        let (key, _) = entry?;
        let (_, _, number, input) = key.value();
        let Some(row) = messages.get((id, number))? else {
            continue;
        };
        found.push(Given {
            number,
            input,
            letter: letter(row.value().0),
        });
    }
    Ok(found)
}

/// Notes what came of what a query was given.
pub(super) fn note(
    write: &WriteTransaction,
    id: u64,
    query: &str,
    outcomes: &[Outcome],
) -> Result<(), Fault> {
    let mut table = write.open_table(GIVEN)?;
    for (number, input, reason) in outcomes {
        table.insert((id, query, *number, *input), reason.as_deref())?;
    }
    Ok(())
}

/// What was noted.
pub(super) fn noted(read: &ReadTransaction, id: u64, query: &str) -> Result<Vec<Outcome>, Fault> {
    let Some(given) = there(read.open_table(GIVEN))? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in given.range((id, query, 0, 0)..=(id, query, u64::MAX, u32::MAX))? {
        let (key, reason) = entry?;
        let (_, _, number, input) = key.value();
        found.push((number, input, reason.value().map(str::to_owned)));
    }
    Ok(found)
}

/// The messages of a replay.
pub(super) fn messages(read: &ReadTransaction, id: u64) -> Result<Vec<Again>, Fault> {
    let Some(table) = there(read.open_table(REPLAYED))? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in table.range((id, 0)..=(id, u64::MAX))? {
        let (key, row) = entry?;
        let (row, still) = row.value();
        found.push(Again {
            number: key.value().1,
            letter: letter(row),
            still: still.map(str::to_owned),
        });
    }
    Ok(found)
}

/// Takes back what a query was given, all of it or those messages.
pub(super) fn take_back(
    write: &WriteTransaction,
    id: u64,
    query: &str,
    unwanted: impl Fn(u64, u32) -> bool,
) -> Result<(), Fault> {
    let mut table = write.open_table(GIVEN)?;
    let range = (id, query, 0, 0)..=(id, query, u64::MAX, u32::MAX);
    table.retain_in(range, |(_, _, number, input), _| !unwanted(number, input))?;
    Ok(())
}

/// Forgets a replay that every query has done with.
pub(super) fn forget(write: &WriteTransaction, id: u64) -> Result<(), Fault> {
    let mut table = write.open_table(REPLAYED)?;
    table.retain_in((id, 0)..=(id, u64::MAX), |_, _| false)?;
    Ok(())
}
