//! What of an answer is new, and how to ask for the next one. Pure.
//!
//! Invariant: going on at the position of any batch gives every item after it; none is passed over.

use std::collections::VecDeque;

use crate::feed::Batch;
use crate::feed::json_path::{self, JsonPath};
use crate::feed::mark::Mark;
use crate::feed::position::Position;

/// Items with one and the same value that are remembered as given; beyond it they may come again.
const GIVEN_MAX: usize = 10_000;

/// How an endpoint is asked for what was not given yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paging {
    /// It is not: each answer is taken as a whole.
    Whole,
    /// An answer has the cursor of the next one.
    Cursor {
        /// Where in the answer it is.
        path: JsonPath,
        /// The query parameter that it goes into.
        parameter: String,
    },
    /// It is asked for what is newer than the newest item.
    Since {
        /// Where in an item the value is that says how new it is.
        path: JsonPath,
        /// The query parameter that it goes into.
        parameter: String,
    },
}

/// What came of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// There is a next page, to be asked for at once.
    pub(super) more: bool,
    /// Why items cannot be used.
    pub(super) skipped: Vec<String>,
}

/// Items of answers, and the position.
#[derive(Debug)]
pub(super) struct Pages {
    paging: Paging,
    array_path: Option<JsonPath>,
    position: Option<Position>,
    waiting: VecDeque<Item>,
    /// The cursor that counts once nothing waits any more.
    next_cursor: Option<String>,
}

/// An item that was not given out yet.
#[derive(Debug)]
struct Item {
    text: String,
    /// Its value, where it is asked for by one.
    since: Option<String>,
}

impl Pages {
    /// Goes on at a position of an earlier run.
    pub(super) fn new(
        paging: Paging,
        array_path: Option<JsonPath>,
        position: Option<Position>,
    ) -> Self {
        let begin = match &paging {
            Paging::Whole => None,
            Paging::Cursor { .. } => Some(Position::Cursor {
                cursor: None,
                given: 0,
            }),
            Paging::Since { .. } => Some(Position::Since {
                since: None,
                given: Vec::new(),
            }),
        };
        let fits = match (&begin, &position) {
            (Some(begin), Some(position)) => {
                std::mem::discriminant(begin) == std::mem::discriminant(position)
            }
            _ => false,
        };
        Self {
            paging,
            array_path,
            position: if fits { position } else { begin },
            waiting: VecDeque::new(),
            next_cursor: None,
        }
    }

    /// The query parameter that asks for what comes next.
    pub(super) fn parameter(&self) -> Option<(&str, &str)> {
        let value = match self.position.as_ref()? {
            Position::Cursor { cursor, .. } => cursor.as_deref()?,
            Position::Since { since, .. } => since.as_deref()?,
            Position::File { .. } => return None,
        };
        match &self.paging {
            Paging::Whole => None,
            Paging::Cursor { parameter, .. } | Paging::Since { parameter, .. } => {
                Some((parameter, value))
            }
        }
    }

    /// True when nothing waits to be given out.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the new items of an answer.
    ///
    /// # Errors
    /// What is wrong with an answer that cannot be used at all.
    pub(super) fn take_in(&mut self, answer: &str) -> Result<Taken, String> {
        let whole = ".".parse::<JsonPath>()?;
        let items = match &self.array_path {
            None => whole.find(answer)?.into_iter().collect(),
            Some(path) => path
                .items(answer)?
                .ok_or("the answer has no --array-path")?,
        };
        match &self.paging {
            Paging::Whole => {
                self.waiting.extend(items.into_iter().map(|text| Item {
                    text: text.to_owned(),
                    since: None,
                }));
                Ok(Taken::default())
            }
            Paging::Cursor { path, .. } => {
                let cursor = path.find(answer)?.and_then(json_path::plain);
                Ok(self.take_page(&items, cursor))
            }
            Paging::Since { path, .. } => {
                let path = path.clone();
                Ok(self.take_newer(&items, &path))
            }
        }
    }

    /// The items of a page, without those that were given when it was shorter.
    fn take_page(&mut self, items: &[&str], cursor: Option<String>) -> Taken {
        let Some(Position::Cursor {
            cursor: asked,
            given,
        }) = &mut self.position
        else {
            return Taken::default();
        };
        *given = (*given).min(items.len());
        let fresh = items.iter().skip(*given).map(|text| Item {
            text: (*text).to_owned(),
            since: None,
        });
        self.waiting.extend(fresh);
        // No cursor, or the same one: this page is the last one, and is asked for again later.
        self.next_cursor = cursor.filter(|next| !next.is_empty() && asked.as_ref() != Some(next));
        let more = self.next_cursor.is_some() && !items.is_empty();
        self.turn_over();
        Taken {
            more,
            skipped: Vec::new(),
        }
    }

    /// Goes over to the next page when this one has been given out.
    fn turn_over(&mut self) {
        if self.waiting.is_empty()
            && let Some(cursor) = self.next_cursor.take()
        {
            self.position = Some(Position::Cursor {
                cursor: Some(cursor),
                given: 0,
            });
        }
    }

    /// The items that are newer than the newest one given, oldest first.
    fn take_newer(&mut self, items: &[&str], path: &JsonPath) -> Taken {
        let mut taken = Taken::default();
        let mut newer = Vec::new();
        for text in items {
            let value = path.find(text).ok().flatten().and_then(json_path::plain);
            match value {
                None => taken
                    .skipped
                    .push("it has no value at --since-path".to_owned()),
                Some(value) if self.was_given(&value, text) => {}
                Some(value) => newer.push((Mark::of(&value), (*text).to_owned(), value)),
            }
        }
        newer.sort_by(|(a, _, _), (b, _, _)| a.cmp(b));
        self.waiting = newer
            .into_iter()
            .map(|(_, text, since)| Item {
                text,
                since: Some(since),
            })
            .collect();
        taken
    }

    fn was_given(&self, value: &str, text: &str) -> bool {
        let Some(Position::Since {
            since: Some(since),
            given,
        }) = &self.position
        else {
            return false;
        };
        match Mark::of(value).cmp(&Mark::of(since)) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => given.contains(&digest(text)),
            std::cmp::Ordering::Greater => false,
        }
    }

    /// Gives out some items, and the position after them.
    pub(super) fn give(&mut self, items_max: usize) -> Batch {
        let mut batch = Batch::default();
        while batch.payloads.len() < items_max {
            let Some(item) = self.waiting.pop_front() else {
                break;
            };
            self.step(&item);
            batch.payloads.push(item.text.into_bytes());
        }
        self.turn_over();
        batch.position.clone_from(&self.position);
        batch
    }

    /// Moves the position behind an item.
    fn step(&mut self, item: &Item) {
        match &mut self.position {
            Some(Position::Cursor { given, .. }) => *given += 1,
            Some(Position::Since { since, given }) => {
                let mark = item.since.as_deref().map(Mark::of);
                if mark != since.as_deref().map(Mark::of) {
                    since.clone_from(&item.since);
                    given.clear();
                }
                if given.len() == GIVEN_MAX {
                    given.remove(0);
                }
                given.push(digest(&item.text));
            }
            Some(Position::File { .. }) | None => {}
        }
    }
}

/// What tells an item from others with the same value.
fn digest(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let first = digest.as_ref().iter().take(16);
    first.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{Pages, Paging, Taken};
    use crate::feed::position::Position;

    fn cursor() -> Paging {
        Paging::Cursor {
            path: "next".parse().unwrap(),
            parameter: "cursor".to_owned(),
        }
    }

    fn since() -> Paging {
        Paging::Since {
            path: "id".parse().unwrap(),
            parameter: "since".to_owned(),
        }
    }

    fn pages(paging: Paging, position: Option<Position>) -> Pages {
        Pages::new(paging, Some("items".parse().unwrap()), position)
    }

    fn given(pages: &mut Pages, items_max: usize) -> Vec<String> {
        let batch = pages.give(items_max);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        batch.payloads.into_iter().map(text).collect()
    }

    fn more(pages: &mut Pages, answer: &str) -> bool {
        pages.take_in(answer).unwrap().more
    }

    #[test]
    fn pages_follow_one_another_by_their_cursors() {
        let mut pages = pages(cursor(), None);
        assert_eq!(pages.parameter(), None);
        assert!(more(&mut pages, r#"{"items":[1,2],"next":"b"}"#));
        assert_eq!(given(&mut pages, 9), ["1", "2"]);
        assert_eq!(pages.parameter(), Some(("cursor", "b")));
        assert!(!more(&mut pages, r#"{"items":[3],"next":null}"#));
        assert_eq!(given(&mut pages, 9), ["3"]);
    }

    #[test]
    fn the_last_page_is_asked_for_again_and_gives_what_it_has_more() {
        let mut pages = pages(cursor(), None);
        more(&mut pages, r#"{"items":[1],"next":"b"}"#);
        given(&mut pages, 9);
        assert!(!more(&mut pages, r#"{"items":[2,3],"next":""}"#));
        assert_eq!(given(&mut pages, 9), ["2", "3"]);
        assert_eq!(pages.parameter(), Some(("cursor", "b")));
        assert!(!more(&mut pages, r#"{"items":[2,3,4],"next":"b"}"#));
        assert_eq!(given(&mut pages, 9), ["4"]);
        assert!(more(&mut pages, r#"{"items":[2,3,4],"next":"c"}"#));
        assert!(pages.is_empty());
        assert_eq!(pages.parameter(), Some(("cursor", "c")));
    }

    #[test]
    fn an_empty_answer_with_a_new_cursor_is_no_reason_to_ask_at_once() {
        let mut pages = pages(cursor(), None);
        assert!(!more(&mut pages, r#"{"items":[],"next":7}"#));
        assert_eq!(pages.parameter(), Some(("cursor", "7")));
    }

    #[test]
    fn a_page_that_was_given_in_part_goes_on_after_that_part() {
        let answer = r#"{"items":[1,2,3],"next":"b"}"#;
        let mut first = pages(cursor(), None);
        more(&mut first, answer);
        let position = first.give(2).position;
        let mut second = pages(cursor(), position);
        assert_eq!(second.parameter(), None);
        assert!(more(&mut second, answer));
        assert_eq!(given(&mut second, 9), ["3"]);
        assert_eq!(second.parameter(), Some(("cursor", "b")));
    }

    #[test]
    fn newer_items_come_oldest_first_and_each_once() {
        let mut pages = pages(since(), None);
        more(&mut pages, r#"{"items":[{"id":11},{"id":9},{"id":10}]}"#);
        assert_eq!(
            given(&mut pages, 9),
            [r#"{"id":9}"#, r#"{"id":10}"#, r#"{"id":11}"#]
        );
        assert_eq!(pages.parameter(), Some(("since", "11")));
        // An endpoint that gives the newest again, others as new as it, and old ones.
        more(
            &mut pages,
            r#"{"items":[{"id":11},{"id":11,"b":1},{"id":12},{"id":3}]}"#,
        );
        assert_eq!(given(&mut pages, 9), [r#"{"id":11,"b":1}"#, r#"{"id":12}"#]);
    }

    #[test]
    fn newer_items_go_on_after_any_of_them() {
        let answer = r#"{"items":[{"id":3},{"id":2,"b":1},{"id":2},{"id":1}]}"#;
        let mut all = Vec::new();
        let mut position = None;
        for _ in 0..4 {
            let mut pages = pages(since(), position.clone());
            more(&mut pages, answer);
            let batch = pages.give(1);
            all.extend(batch.payloads);
            position = batch.position;
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 4, "each once");
    }

    #[test]
    fn an_item_without_the_value_is_skipped() {
        let mut pages = pages(since(), None);
        let taken = pages
            .take_in(r#"{"items":[{"id":null},{"id":1},5]}"#)
            .unwrap();
        assert_eq!(taken.skipped.len(), 2);
        assert_eq!(given(&mut pages, 9), [r#"{"id":1}"#]);
    }

    #[test]
    fn an_answer_is_one_message_without_an_array_path() {
        let mut pages = Pages::new(Paging::Whole, None, None);
        assert_eq!(pages.take_in(" {\"a\": 1.0}\n"), Ok(Taken::default()));
        assert_eq!(given(&mut pages, 9), ["{\"a\": 1.0}"]);
        assert_eq!(pages.parameter(), None);
        assert!(pages.take_in("<html>").is_err());
    }

    #[test]
    fn an_answer_without_the_array_is_an_error() {
        let mut pages = pages(cursor(), None);
        assert!(pages.take_in(r#"{"error":"busy"}"#).is_err());
        assert_eq!(pages.take_in(r#"{"items":null}"#), Ok(Taken::default()));
    }
}
