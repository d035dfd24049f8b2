//! One key of an alert: what its rows and the time make of it.
//!
//! ```text
//!           holds                 FOR is over, and COOLDOWN
//!   ok ───────────────► pending ───────────────────────────► firing
//!   ▲ ▲                    │                                   │
//!   │ └── holds no more ───┘                                   │
//!   └──────────────────── CLEAR WHEN, or holds no more ────────┘  resolved
//! ```
//! A key may have several rows at once: open windows, groups of a finer key. Then it holds as long as
//! one of them does, and is clear when all are.
//! Invariant: transitions are counted from 1, the odd ones fire and the even ones resolve.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::EventTime;

/// What an alert waits for. Lengths are microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// `FOR`: how long a condition must hold, or a key be silent.
    pub lasts: i64,
    /// `COOLDOWN`: so long after it fired a key does not fire again.
    pub cooldown: i64,
    /// There is a `CLEAR WHEN`: that the condition holds no more resolves nothing.
    pub clears: bool,
    /// `WHEN no data`: each row says that the key is there, whatever is in it.
    pub no_data: bool,
}

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The condition does not hold.
    #[default]
    Ok,
    /// It holds, and has yet to last; a silent key is here from its last row on.
    Pending {
        /// Since when.
        since: EventTime,
    },
    /// It has been told.
    Firing {
        /// Since when.
        since: EventTime,
    },
}

/// What a key's row said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Standing {
    /// The condition holds for it.
    holds: bool,
    /// `CLEAR WHEN` holds for it.
    clear: bool,
    /// The end of its window: it is there no more when the watermark gets there.
    until: Option<EventTime>,
}

/// One key of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeyState {
    phase: Phase,
    transitions: u64,
    fired_at: Option<EventTime>,
    /// The rows that say something beside "all is well", by what tells them apart.
    rows: BTreeMap<String, Standing>,
    /// The time of the row on which it stands, where rows have times of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest: Option<EventTime>,
}

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A row came, or changed.
    Row {
        /// What tells the key's rows apart.
        id: &'a str,
        /// The condition holds for it.
        holds: bool,
        /// `CLEAR WHEN` holds for it.
        clear: bool,
        /// The end of its window.
        until: Option<EventTime>,
        /// The time is the row's own: it may come behind a newer one.
        is_dated: bool,
    },
    /// A row is there no more.
    Gone {
        /// Which.
        id: &'a str,
    },
    /// No more rows come of windows that end here or before.
    Closed {
        /// Up to when.
        watermark: EventTime,
    },
    /// Time has passed.
    Timer,
}

impl Event<'_> {
    /// True if it changes nothing of a key that is at rest.
    pub fn is_idle(&self, rules: &Rules) -> bool {
        match self {
            Self::Row { holds, clear, .. } => !rules.no_data && !holds && (*clear || !rules.clears),
            Self::Gone { .. } | Self::Closed { .. } | Self::Timer => true,
        }
    }
}

/// Something to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Which one of the key, from 1.
    pub number: u64,
    /// When it happened.
    pub at: EventTime,
}

impl Transition {
    /// True if the key fires, false if it is resolved.
    pub fn fires(self) -> bool {
        self.number % 2 == 1
    }
}

impl KeyState {
    /// What comes of an event at a time.
    pub fn step(&mut self, rules: &Rules, event: &Event<'_>, now: EventTime) -> Option<Transition> {
        match *event {
            Event::Timer => self.on_time(rules, now),
            Event::Row { .. } if rules.no_data => self.reported(now),
            Event::Gone { .. } | Event::Closed { .. } if rules.no_data => None,
            Event::Row {
                holds,
                is_dated: true,
                ..
            } if self.newest.is_some_and(|newest| now < newest) => {
                self.came_late(holds, now);
                None
            }
            Event::Row {
                id,
                holds,
                clear,
                until,
                is_dated,
            } => {
                let standing = Standing {
                    holds,
                    clear: if rules.clears { clear } else { !holds },
                    until,
                };
                match standing.holds || !standing.clear {
                    true => self.rows.insert(id.to_owned(), standing),
                    false => self.rows.remove(id),
                };
                self.newest = is_dated.then_some(now);
                self.judge(rules, now, true)
            }
            Event::Gone { id } => {
                self.rows.remove(id)?;
                self.judge(rules, now, false)
            }
            Event::Closed { watermark } => {
                let before = self.rows.len();
                let open = |row: &Standing| row.until.is_none_or(|until| until > watermark);
                self.rows.retain(|_, row| open(row));
                (self.rows.len() < before).then(|| self.judge(rules, now, false))?
            }
        }
    }

    /// When time alone makes it fire.
    pub fn due(&self, rules: &Rules) -> Option<EventTime> {
        let Phase::Pending { since } = self.phase else {
            return None;
        };
        let lasted = since.0.saturating_add(rules.lasts);
        let cooled = self.fired_at.map(|at| at.0.saturating_add(rules.cooldown));
        Some(EventTime(cooled.map_or(lasted, |at| at.max(lasted))))
    }

    /// The end of the window that closes first of those that count.
    pub fn closes(&self) -> Option<EventTime> {
        self.rows.values().filter_map(|row| row.until).min()
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How many transitions there were.
    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// True if nothing happens to it before a row comes for which the condition holds.
    pub fn is_at_rest(&self) -> bool {
        self.phase == Phase::Ok && self.rows.is_empty()
    }

    /// True if nothing of it need be remembered.
    pub fn is_blank(&self) -> bool {
        self.is_at_rest() && self.transitions == 0 && self.fired_at.is_none()
    }

    /// A row came that is older than the one on which the key stands: it changes nothing, unless it tells that
    /// the condition did not hold all the while.
    fn came_late(&mut self, holds: bool, at: EventTime) {
        if let (Phase::Pending { since }, Some(newest)) = (self.phase, self.newest)
            && !holds
            && at >= since
        {
            self.phase = Phase::Pending { since: newest };
        }
    }

    /// A row of a key that is to report came.
    fn reported(&mut self, now: EventTime) -> Option<Transition> {
        let (since, resolved) = match self.phase {
            // Rows may come out of order.
            Phase::Pending { since } => (since.max(now), None),
            Phase::Ok => (now, None),
            // What has fired is not resolved before.
            Phase::Firing { since } => (now, Some(now.max(since))),
        };
        self.phase = Phase::Pending { since };
        resolved.map(|at| self.transition(at))
    }

    /// What the rows say together; `told`: one of them just now.
    fn judge(&mut self, rules: &Rules, now: EventTime, told: bool) -> Option<Transition> {
        let holds = self.rows.values().any(|row| row.holds);
        let clear = match rules.clears {
            true => self.rows.values().all(|row| row.clear) && (told || !self.rows.is_empty()),
            false => !holds,
        };
        match self.phase {
            Phase::Ok if holds => {
                self.phase = Phase::Pending { since: now };
                self.on_time(rules, now)
            }
            Phase::Pending { .. } if holds => self.on_time(rules, now),
            Phase::Pending { .. } => {
                self.phase = Phase::Ok;
                None
            }
            Phase::Firing { since } if clear => {
                self.phase = Phase::Ok;
                Some(self.transition(now.max(since)))
            }
            Phase::Ok | Phase::Firing { .. } => None,
        }
    }

    fn on_time(&mut self, rules: &Rules, now: EventTime) -> Option<Transition> {
        let at = self.due(rules).filter(|due| *due <= now)?;
        self.phase = Phase::Firing { since: at };
        self.fired_at = Some(at);
        Some(self.transition(at))
    }

    fn transition(&mut self, at: EventTime) -> Transition {
        self.transitions += 1;
        let number = self.transitions;
        Transition { number, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules in one line: `for 10 cooldown 20 clears` or `no-data for 10`; `dated`: rows have times of their own.
    fn rules(text: &str) -> Rules {
        let words: Vec<&str> = text.split_whitespace().collect();
        let length = |name: &str| {
            let at = words.iter().position(|word| *word == name);
            at.map_or(0, |at| words[at + 1].parse().expect("a number"))
        };
        Rules {
            lasts: length("for"),
            cooldown: length("cooldown"),
            clears: words.contains(&"clears"),
            no_data: words.contains(&"no-data"),
        }
    }

    /// Events in one line: `5 +` (holds), `5 -`, `5 ~` (neither holds nor clear), `5 +w1<60` (a row of a
    /// window that ends at 60), `5 gone w1`, `60 closed`, `9 timer`.
    #[track_caller]
    fn check(rule: &str, events: &str, expected: &str) {
        let rules = rules(rule);
        let mut key = KeyState::default();
        let mut told = Vec::new();
        for event in events.split(',') {
            let words: Vec<&str> = event.split_whitespace().collect();
            let now = EventTime(words[0].parse().expect("a time"));
            let event = match words[1] {
                "timer" => Event::Timer,
                "closed" => Event::Closed { watermark: now },
                "gone" => Event::Gone { id: words[2] },
                row => {
                    let (sign, rest) = row.split_at(1);
                    let (id, until) = rest.split_once('<').unwrap_or((rest, ""));
                    Event::Row {
                        id,
                        holds: sign == "+",
                        clear: sign == "-",
                        until: until.parse().ok().map(EventTime),
                        is_dated: rule.contains("dated"),
                    }
                }
            };
            if let Some(transition) = key.step(&rules, &event, now) {
                let word = if transition.fires() {
                    "fires"
                } else {
                    "resolved"
                };
                told.push(format!("{word} {}", transition.at.0));
            }
        }
        assert_eq!(told.join(", "), expected, "{rule}: {events}");
    }

    #[test]
    fn without_for_it_fires_on_the_row_that_crosses_the_line_and_once() {
        check("", "1 -, 2 +, 3 +, 4 -, 5 -", "fires 2, resolved 4");
        check(
            "",
            "1 +, 2 -, 3 +, 4 -",
            "fires 1, resolved 2, fires 3, resolved 4",
        );
    }

    #[test]
    fn with_for_it_fires_when_the_condition_has_lasted() {
        check(
            "for 10",
            "1 +, 5 timer, 10 timer, 11 timer, 12 timer",
            "fires 11",
        );
        check("for 10", "1 +, 5 -, 12 timer, 13 +, 22 +, 23 +", "fires 23");
        check("for 10", "1 +, 30 +", "fires 11");
    }

    #[test]
    fn what_lies_between_the_two_lines_changes_nothing() {
        check(
            "clears",
            "1 +, 2 ~, 3 +, 4 ~, 5 -, 6 ~, 7 +",
            "fires 1, resolved 5, fires 7",
        );
        check("clears for 10", "1 +, 2 ~, 3 +, 13 timer", "fires 13");
    }

    #[test]
    fn after_it_fired_it_is_silent_for_the_cooldown() {
        check("cooldown 10", "1 +, 2 -, 3 +, 4 -", "fires 1, resolved 2");
        check(
            "cooldown 10",
            "1 +, 2 -, 3 +, 11 timer, 12 -",
            "fires 1, resolved 2, fires 11, resolved 12",
        );
        check(
            "cooldown 10 for 4",
            "1 +, 5 timer, 6 -, 13 +, 15 timer, 17 timer",
            "fires 5, resolved 6, fires 17",
        );
    }

    #[test]
    fn a_key_of_several_windows_holds_as_long_as_one_of_them_does() {
        check(
            "",
            "1 +a<10, 2 -b<20, 3 +a<10, 10 closed",
            "fires 1, resolved 10",
        );
        check(
            "",
            "1 +a<10, 2 +b<20, 10 closed, 15 -b<20",
            "fires 1, resolved 15",
        );
        check("", "1 +a, 2 gone b, 3 gone a", "fires 1, resolved 3");
        check("for 5", "1 +a<4, 4 closed, 6 timer", "");
    }

    #[test]
    fn a_row_that_is_older_than_the_newest_decides_nothing() {
        check("dated", "1 +, 5 -, 3 +, 6 -", "fires 1, resolved 5");
        check("dated", "5 +, 3 -, 6 -", "fires 5, resolved 6");
        check(
            "dated clears",
            "5 +, 3 -, 6 ~, 4 -, 7 -",
            "fires 5, resolved 7",
        );
        check("dated for 10", "1 +, 8 +, 0 -, 11 timer", "fires 11");
        // It did not hold all the while.
        check(
            "dated for 10",
            "1 +, 8 +, 4 -, 11 timer, 18 timer",
            "fires 18",
        );
        check("dated", "5 +, 5 -, 5 +", "fires 5, resolved 5, fires 5");
        check("", "5 +, 3 -", "fires 5, resolved 5");
    }

    #[test]
    fn a_closed_window_clears_nothing_where_a_condition_says_what_does() {
        check(
            "clears",
            "1 +a<10, 10 closed, 11 ~b<20, 12 -b<20",
            "fires 1, resolved 12",
        );
        check(
            "clears",
            "1 +a<10, 2 ~b<20, 3 -a<10, 10 closed, 12 -b<20",
            "fires 1, resolved 12",
        );
    }

    #[test]
    fn a_key_that_stops_reporting_fires_and_its_next_row_resolves_it() {
        check(
            "no-data for 5",
            "1 -, 5 timer, 6 timer, 7 timer, 9 -, 13 timer, 14 timer",
            "fires 6, resolved 9, fires 14",
        );
        check("no-data for 5", "3 -, 1 -, 7 timer, 8 timer", "fires 8");
        check(
            "no-data for 5",
            "1 -, 6 timer, 4 -, 8 timer, 9 timer",
            "fires 6, resolved 6, fires 9",
        );
        check(
            "no-data for 5 cooldown 20",
            "1 -, 6 timer, 7 -, 12 timer, 26 timer",
            "fires 6, resolved 7, fires 26",
        );
        check(
            "no-data for 5",
            "1 -, 2 gone a, 3 closed, 6 timer",
            "fires 6",
        );
    }
}
