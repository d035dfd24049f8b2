//! All keys of an alert, and the times at which something happens to them by itself.
//!
//! Invariants: what is due at a time happens before a row of that time is looked at, and in the order
//! of the times; a key that is as if it was never seen costs nothing; keys that are written down and
//! read again go on as these would have.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::key_state::{Event, KeyState, Phase, Rules, Transition};
use crate::error::{Error, Result};
use crate::types::EventTime;

/// What is known of the row that led to something.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// The row, a JSON object.
    pub values: String,
    /// The offsets of the messages among which it was made, a JSON object.
    pub offsets: String,
    /// Its window.
    pub window: Option<(EventTime, EventTime)>,
}

/// A row that may change how its key stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting<'a> {
    pub key: &'a str,
    pub event: &'a Event<'a>,
    /// When.
    pub at: EventTime,
}

/// Something that is to be told of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub key: String,
    pub transition: Transition,
    pub facts: Facts,
}

/// A key as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Key {
    /// Its machine.
    pub state: KeyState,
    /// The last row for which the condition held; of a key that is to report, its last row.
    pub facts: Facts,
}

/// All keys of an alert.
#[derive(Debug, Default)]
pub(super) struct Keys {
    all: BTreeMap<String, Key>,
    /// When time makes a key fire.
    timers: BTreeSet<(EventTime, String)>,
    /// When a window of a key closes.
    closings: BTreeSet<(EventTime, String)>,
    /// Keys that changed since they were last written down.
    unwritten: BTreeSet<String>,
    /// Keys that changed since they were last shown.
    unshown: BTreeSet<String>,
    /// How many are not at rest.
    awake: usize,
}

impl Keys {
    /// True if only a row for which the condition holds can change anything.
    pub(super) fn are_at_rest(&self) -> bool {
        self.awake == 0
    }

    /// Looks at a row; `facts` is asked for what is known of it if that is needed.
    ///
    /// # Errors
    /// What `facts` gives.
    pub(super) fn sight(
        &mut self,
        rules: &Rules,
        sighting: Sighting<'_>,
        facts: impl FnOnce() -> Result<Facts>,
        told: &mut Vec<Told>,
    ) -> Result<()> {
        let Sighting { key, event, at } = sighting;
        let holds = matches!(event, Event::Row { holds: true, .. }) || rules.no_data;
        let rests = |own: &Key| own.state.is_at_rest();
        if event.is_idle(rules) && self.all.get(key).is_none_or(rests) {
            return Ok(());
        }
        self.let_go(rules, key);
        let own = self.all.entry(key.to_owned()).or_default();
        let timed = own.state.due(rules).filter(|due| *due <= at);
        if let Some(transition) = timed.and_then(|due| own.state.step(rules, &Event::Timer, due)) {
            let facts = own.facts.clone();
            told.push(Told::new(key, transition, facts));
        }
        let transition = own.state.step(rules, event, at);
        if holds || transition.is_some() {
            let facts = facts()?;
            if let Some(transition) = transition {
                told.push(Told::new(key, transition, facts.clone()));
            }
            if holds {
                own.facts = facts;
            }
        }
        self.keep(rules, key);
        Ok(())
    }

    /// Lets time pass: up to `now`, and windows close up to the watermark.
    pub(super) fn pass(
        &mut self,
        rules: &Rules,
        now: EventTime,
        watermark: Option<EventTime>,
        told: &mut Vec<Told>,
    ) {
        loop {
            let timer = self.timers.first().filter(|(due, _)| *due <= now);
            let closing = self.closings.first();
            let closing = closing.filter(|(end, _)| watermark.is_some_and(|now| *end <= now));
            let (at, key, event) = match (timer, closing) {
                (Some((due, key)), Some((end, _))) if due <= end => (*due, key, Event::Timer),
                (Some((due, key)), None) => (*due, key, Event::Timer),
                (_, Some((end, key))) => (*end, key, Event::Closed { watermark: *end }),
                (None, None) => return,
            };
            let key = key.clone();
            self.let_go(rules, &key);
            let own = self.all.entry(key.clone()).or_default();
            if let Some(transition) = own.state.step(rules, &event, at) {
                told.push(Told::new(&key, transition, own.facts.clone()));
            }
            self.keep(rules, &key);
        }
    }

    /// When something happens next by itself, but for windows that close.
    pub(super) fn next(&self) -> Option<EventTime> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// The rules have changed.
    pub(super) fn follow(&mut self, rules: &Rules) {
        self.timers.clear();
        let due = |(key, own): (&String, &Key)| Some((own.state.due(rules)?, key.clone()));
        self.timers.extend(self.all.iter().filter_map(due));
    }

    /// At most so many of the keys that changed since they were last written down, each with its text,
    /// or nothing if it is as if it was never seen.
    ///
    /// # Errors
    /// None that a state can give.
    pub(super) fn written(&mut self, at_most: usize) -> Result<Vec<(String, Option<String>)>> {
        let mut written = Vec::new();
        while written.len() < at_most
            && let Some(key) = self.unwritten.pop_first()
        {
            let text = self.all.get(&key).map(serde_json::to_string).transpose();
            let text = text.map_err(|error| odd(&key, &error))?;
            written.push((key, text));
        }
        Ok(written)
    }

    /// Every key is to be written down.
    pub(super) fn none_written(&mut self) {
        self.unwritten = self.all.keys().cloned().collect();
    }

    /// Takes in a key as it was written down.
    ///
    /// # Errors
    /// When that is no text of ours.
    pub(super) fn read(&mut self, rules: &Rules, key: &str, text: &str) -> Result<()> {
        let own = serde_json::from_str(text).map_err(|error| odd(key, &error))?;
        self.let_go(rules, key);
        self.all.insert(key.to_owned(), own);
        self.keep(rules, key);
        self.unwritten.remove(key);
        Ok(())
    }

    /// Keys that changed since this was last asked, as they stand.
    pub(super) fn shown(&mut self) -> impl Iterator<Item = (String, Option<&Key>)> {
        let unshown = std::mem::take(&mut self.unshown);
        unshown.into_iter().map(|key| {
            let own = self.all.get(&key);
            (key, own)
        })
    }

    /// About how many bytes they hold.
    pub(super) fn held_bytes(&self) -> u64 {
        let bytes = |(key, own): (&String, &Key)| {
            (256 + 3 * key.len() + own.facts.values.len() + own.facts.offsets.len()) as u64
        };
        self.all.iter().map(bytes).sum()
    }

    /// Before a key changes: forgets its times.
    fn let_go(&mut self, rules: &Rules, key: &str) {
        let Some(own) = self.all.get(key) else { return };
        self.awake -= usize::from(!own.state.is_at_rest());
        if let Some(due) = own.state.due(rules) {
            self.timers.remove(&(due, key.to_owned()));
        }
        if let Some(end) = own.state.closes() {
            self.closings.remove(&(end, key.to_owned()));
        }
    }

    /// After it has.
    fn keep(&mut self, rules: &Rules, key: &str) {
        self.unwritten.insert(key.to_owned());
        self.unshown.insert(key.to_owned());
        let Some(own) = self.all.get_mut(key) else {
            return;
        };
        if own.state.phase() == Phase::Ok {
            own.facts = Facts::default();
        }
        if own.state.is_blank() {
            self.all.remove(key);
            return;
        }
        self.awake += usize::from(!own.state.is_at_rest());
        if let Some(due) = own.state.due(rules) {
            self.timers.insert((due, key.to_owned()));
        }
        if let Some(end) = own.state.closes() {
            self.closings.insert((end, key.to_owned()));
        }
    }
}

impl Told {
    fn new(key: &str, transition: Transition, facts: Facts) -> Self {
        let key = key.to_owned();
        Self {
            key,
            transition,
            facts,
        }
    }
}

fn odd(key: &str, error: &serde_json::Error) -> Error {
    Error::internal(format!("the state of key {key} cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::arbitrary::any;
    use proptest::collection::vec;
    use proptest::strategy::{Just, Strategy};
    use proptest::{prop_assert_eq, prop_oneof, proptest};

    use super::*;

    /// What happens in a test: rows, time, a restart.
    #[derive(Debug, Clone)]
    enum Act {
        Row { key: u8, value: i64 },
        Passes(i64),
        Restart,
    }

    /// Fires above 10, is clear below 5 where that is asked.
    fn row_of(value: i64) -> Event<'static> {
        Event::Row {
            id: "",
            holds: value > 10,
            clear: value < 5,
            until: None,
            is_dated: false,
        }
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            6 => (0..3u8, 0..16i64).prop_map(|(key, value)| Act::Row { key, value }),
            4 => (0..6i64).prop_map(Act::Passes),
            1 => Just(Act::Restart),
        ];
        vec(act, 0..80)
    }

    fn any_rules() -> impl Strategy<Value = Rules> {
        let lengths = (
            prop_oneof![Just(0i64), 1..12i64],
            prop_oneof![Just(0i64), 1..25i64],
        );
        (lengths, any::<bool>(), any::<bool>()).prop_map(|((lasts, cooldown), clears, no_data)| {
            Rules {
                lasts,
                cooldown,
                clears,
                no_data,
            }
        })
    }

    /// The transitions of a key: true when it fires, and when.
    type Seen = BTreeMap<String, Vec<(bool, i64)>>;

    /// Time is let pass after every `cut`-th act only: that is the micro-batch.
    fn run(rules: &Rules, acts: &[Act], cut: usize) -> Seen {
        let (mut keys, mut now, mut seen) = (Keys::default(), 0, Seen::new());
        let mut disk: BTreeMap<String, String> = BTreeMap::new();
        let mut told = Vec::new();
        for (number, act) in acts.iter().enumerate() {
            match act {
                Act::Row { key, value } => {
                    let (key, event) = (format!("k{key}"), row_of(*value));
                    let sighting = Sighting {
                        key: &key,
                        event: &event,
                        at: EventTime(now),
                    };
                    let facts = || Ok(Facts::default());
                    keys.sight(rules, sighting, facts, &mut told).unwrap();
                }
                Act::Passes(time) => now += time,
                Act::Restart => {
                    for (key, text) in keys.written(usize::MAX).unwrap() {
                        match text {
                            Some(text) => disk.insert(key, text),
                            None => disk.remove(&key),
                        };
                    }
                    keys = Keys::default();
                    for (key, text) in &disk {
                        keys.read(rules, key, text).unwrap();
                    }
                }
            }
            if number % cut == 0 || number + 1 == acts.len() {
                keys.pass(rules, EventTime(now), None, &mut told);
            }
        }
        for told in told {
            let own = seen.entry(told.key).or_default();
            assert_eq!(
                own.len() as u64 + 1,
                told.transition.number,
                "none is left out"
            );
            own.push((told.transition.fires(), told.transition.at.0));
        }
        seen
    }

    /// The same as a plain loop over one key at a time, which looks at every tick of the clock.
    fn oracle(rules: &Rules, acts: &[Act]) -> Seen {
        let mut seen = Seen::new();
        for key in 0..3u8 {
            let (mut now, mut firing, mut last_fired) = (0, false, None::<i64>);
            let mut holds_since: Option<i64> = None;
            let mut own = Vec::new();
            let look = |now,
                        holds_since: Option<i64>,
                        firing: &mut bool,
                        last_fired: &mut Option<i64>,
                        own: &mut Vec<_>| {
                let lasted = holds_since.is_some_and(|since| now - since >= rules.lasts);
                let cooled = last_fired.is_none_or(|at| now - at >= rules.cooldown);
                if !*firing && lasted && cooled {
                    *firing = true;
                    *last_fired = Some(now);
                    own.push((true, now));
                }
            };
            for act in acts {
                match act {
                    Act::Passes(time) => {
                        for _ in 0..*time {
                            now += 1;
                            look(now, holds_since, &mut firing, &mut last_fired, &mut own);
                        }
                    }
                    Act::Row { key: other, value } if *other == key => {
                        if rules.no_data {
                            if firing {
                                own.push((false, now));
                            }
                            firing = false;
                            holds_since = Some(now);
                        } else {
                            let clear = if rules.clears {
                                *value < 5
                            } else {
                                *value <= 10
                            };
                            if firing {
                                if clear {
                                    firing = false;
                                    holds_since = None;
                                    own.push((false, now));
                                }
                            } else if *value <= 10 {
                                holds_since = None;
                            } else {
                                holds_since = holds_since.or(Some(now));
                            }
                        }
                        look(now, holds_since, &mut firing, &mut last_fired, &mut own);
                    }
                    Act::Row { .. } | Act::Restart => {}
                }
            }
            if !own.is_empty() {
                seen.insert(format!("k{key}"), own);
            }
        }
        seen
    }

    proptest! {
        #[test]
        fn any_rows_times_restarts_and_cuts_tell_what_a_plain_loop_tells(
            rules in any_rules(),
            acts in acts(),
            cut in 1..7usize,
        ) {
            prop_assert_eq!(run(&rules, &acts, cut), oracle(&rules, &acts));
        }
    }

    #[test]
    fn windows_close_and_timers_go_off_in_the_order_of_their_times() {
        let rules = Rules {
            lasts: 5,
            ..Rules::default()
        };
        let (mut keys, mut told) = (Keys::default(), Vec::new());
        for (key, until) in [("a", 4), ("b", 8)] {
            let event = Event::Row {
                id: "w",
                holds: true,
                clear: false,
                until: Some(EventTime(until)),
                is_dated: false,
            };
            let sighting = Sighting {
                key,
                event: &event,
                at: EventTime(0),
            };
            keys.sight(&rules, sighting, || Ok(Facts::default()), &mut told)
                .unwrap();
        }
        keys.pass(&rules, EventTime(9), Some(EventTime(9)), &mut told);
        let told: Vec<_> = told
            .iter()
            .map(|told| (told.key.as_str(), told.transition.at.0))
            .collect();
        assert_eq!(
            told,
            [("b", 5), ("b", 8)],
            "a's window closed before it had lasted"
        );
    }
}
