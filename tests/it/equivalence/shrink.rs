//! The smallest case that still fails in the same way.
//!
//! Invariant: it ends, at the latest when its time is over; what it gives back has failed.

use std::time::{Duration, Instant};

use super::case::{Case, Emit, Grouping, Shape, Spelling, Step};
use super::play::{Fault, Player};
use super::windows::Window;

const TIME: Duration = Duration::from_secs(60);

/// Drops rows, aggregates and clauses while the case still fails alike.
pub(super) async fn smallest(player: &Player, case: Case, fault: Fault) -> (Case, Fault) {
    let mut search = Search {
        player,
        best: case,
        fault,
        until: Instant::now() + TIME,
    };
    loop {
        let before = search.best.clone();
        search.simpler_question().await;
        search.fewer_steps().await;
        if search.best == before || search.is_over() {
            return (search.best, search.fault);
        }
    }
}

struct Search<'a> {
    player: &'a Player,
    best: Case,
    fault: Fault,
    until: Instant,
}

impl Search<'_> {
    fn is_over(&self) -> bool {
        Instant::now() > self.until
    }

    /// Keeps the candidate if it fails alike.
    async fn offer(&mut self, candidate: Case) -> bool {
        if candidate == self.best || self.is_over() {
            return false;
        }
        match Box::pin(self.player.play(&candidate)).await {
            Err(fault) if fault.is_like(&self.fault) => {
                (self.best, self.fault) = (candidate, fault);
                true
            }
            _ => false,
        }
    }

    async fn simpler_question(&mut self) {
        let changes: &[fn(&mut Case)] = &[
            |case| case.filter = "true".to_owned(),
            |case| case.having = "true".to_owned(),
            |case| case.grouping = Grouping::Keys,
            |case| case.spelling = Spelling::Positional,
            |case| case.zoned = false,
            |case| case.idle = false,
            |case| case.emit = Emit::Final,
            |case| {
                if matches!(case.shape, Shape::View | Shape::Top) {
                    case.shape = Shape::Plain;
                }
            },
            one_partition,
            without_offset,
        ];
        for change in changes {
            let mut candidate = self.best.clone();
            change(&mut candidate);
            self.offer(candidate).await;
        }
        for place in (0..self.best.keys.len()).rev() {
            let mut candidate = self.best.clone();
            candidate.keys.remove(place);
            self.offer(candidate).await;
        }
        for place in (0..self.best.aggregates.len()).rev() {
            let mut candidate = self.best.clone();
            candidate.aggregates.remove(place);
            if !candidate.aggregates.is_empty() {
                self.offer(candidate).await;
            }
        }
    }

    /// Leaves out ever smaller stretches of steps.
    async fn fewer_steps(&mut self) {
        let mut length = self.best.steps.len().div_ceil(2);
        while length > 0 {
            let mut from = 0;
            while from < self.best.steps.len() {
                let to = (from + length).min(self.best.steps.len());
                let mut candidate = self.best.clone();
                candidate.steps.drain(from..to);
                if !self.offer(candidate).await {
                    from = to;
                }
            }
            length /= 2;
        }
    }
}

fn one_partition(case: &mut Case) {
    case.partitions = 1;
    for step in &mut case.steps {
        match step {
            Step::Row(event) => event.partition = 0,
            Step::Broken(partition) => *partition = 0,
            Step::Cut | Step::Flush => {}
        }
    }
}

fn without_offset(case: &mut Case) {
    match &mut case.window {
        Window::Tumble { offset, .. }
        | Window::Hop { offset, .. }
        | Window::Cumulate { offset, .. } => {
            *offset = 0;
        }
        Window::Session { .. } | Window::None => {}
    }
}
