//! The thread that sends what waits in an outbox: again and again until it is taken, or given up.
//!
//! Knows nothing of how something is sent: that is a [`Courier`].
//! Invariant: a message leaves the outbox only when the courier has told what became of it.

use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::message::{Message, Refusal};
use super::queue::{Outbox, Settled};
use crate::error::Result;
use crate::types::ProcessingTime;

/// The pause after trouble with the outbox's own file.
const TROUBLE: Duration = Duration::from_secs(1);

/// Brings messages to a destination. Its calls block and come from one thread.
pub trait Courier: Send {
    /// How many waiting messages it wants to see at once.
    fn look_ahead(&self) -> usize;

    /// Which of the waiting messages go next, together; the oldest comes first. There is at least one.
    fn pick(&mut self, waiting: &[Message], outbox: &Outbox) -> Result<Pick>;

    /// Sends messages that go together.
    ///
    /// # Errors
    /// Only trouble with the outbox.
    fn deliver(&mut self, messages: &[Message], outbox: &Outbox) -> Result<Verdict>;
}

/// What goes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// The waiting messages at these places, in rising order.
    Go(Vec<usize>),
    /// None before so long.
    Wait(Duration),
}

/// What became of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// They were taken.
    Taken {
        /// What is noted under names for later messages, or forgotten.
        notes: Vec<(String, Option<String>)>,
    },
    /// They were not taken, and may be later.
    Again {
        /// What went wrong.
        reason: String,
        /// When the destination wants to hear of them again.
        after: Option<Duration>,
    },
    /// They were not taken together, since one of them will never be: each is to go alone.
    Apart,
    /// They will never be taken.
    Refused {
        /// What the destination answered, if that was an HTTP status.
        status: Option<u16>,
        /// Why.
        reason: String,
    },
    /// The courier was told to stop.
    Stopped,
}

/// Sends what waits.
pub(super) struct Delivery {
    outbox: Arc<Outbox>,
    courier: Box<dyn Courier>,
    /// Its number at the outbox.
    number: u64,
    /// After so many attempts a message is given up; `None`: never.
    attempts_max: Option<u32>,
    backoff: Backoff,
    /// The first message that failed last, and how often it was sent.
    failing: Option<(u64, u32)>,
    /// So many messages go alone.
    apart: usize,
}

impl Delivery {
    pub(super) fn new(
        outbox: Arc<Outbox>,
        courier: Box<dyn Courier>,
        attempts_max: Option<u32>,
    ) -> Self {
        let ProcessingTime(seed) = outbox.now();
        Self {
            number: outbox.new_deliverer(),
            outbox,
            courier,
            attempts_max,
            backoff: Backoff::new(seed.unsigned_abs()),
            failing: None,
            apart: 0,
        }
    }

    /// Until the outbox is closed, or another one delivers.
    pub(super) fn run(mut self) {
        loop {
            match self.one() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(sink = %self.outbox.name(), error = %error, "outbox in trouble, retrying");
                    self.outbox.note_retry(&error.to_string());
                    if !self.outbox.pause(TROUBLE, self.number) {
                        return;
                    }
                }
            }
        }
    }

    /// The next messages that go together; false when the outbox was closed.
    fn one(&mut self) -> Result<bool> {
        let Some(waiting) = self.outbox.look(self.courier.look_ahead(), self.number)? else {
            return Ok(false);
        };
        if waiting.is_empty() {
            return Ok(true);
        }
        let mut places = match self.courier.pick(&waiting, &self.outbox)? {
            Pick::Go(places) => places,
            Pick::Wait(duration) => return Ok(self.outbox.pause(duration, self.number)),
        };
        if self.apart > 0 {
            places.truncate(1);
        }
        let messages = chosen(waiting, &places);
        match self.courier.deliver(&messages, &self.outbox)? {
            Verdict::Stopped => return Ok(false),
            Verdict::Apart => self.apart = messages.len(),
            Verdict::Taken { notes } => self.settle(&messages, None, notes)?,
            Verdict::Refused { status, reason } => {
                let attempts = self.attempts(&messages);
                self.give_up(&messages, (status, attempts, reason))?;
            }
            Verdict::Again { reason, after } => return self.again(&messages, reason, after),
        }
        Ok(true)
    }

    /// Waits, or gives up; false when the outbox was closed.
    fn again(
        &mut self,
        messages: &[Message],
        reason: String,
        after: Option<Duration>,
    ) -> Result<bool> {
        let attempts = self.attempts(messages);
        if self.attempts_max.is_some_and(|max| attempts >= max) {
            self.give_up(messages, (None, attempts, reason))?;
            return Ok(true);
        }
        if attempts == 1 {
            tracing::warn!(sink = %self.outbox.name(), reason, "delivery failed, retrying");
        }
        self.outbox.note_retry(&reason);
        self.failing = messages.first().map(|first| (first.number, attempts));
        let pause = self.backoff.pause(after);
        Ok(self.outbox.pause(pause, self.number))
    }

    /// How often these were sent, the last time too.
    fn attempts(&self, messages: &[Message]) -> u32 {
        let before = match (self.failing, messages.first()) {
            (Some((number, attempts)), Some(first)) if number == first.number => attempts,
            _ => 0,
        };
        before.saturating_add(1)
    }

    fn give_up(
        &mut self,
        messages: &[Message],
        (status, attempts, reason): (Option<u16>, u32, String),
    ) -> Result<()> {
        tracing::warn!(
            sink = %self.outbox.name(),
            messages = messages.len(),
            attempts,
            reason,
            "messages given up, kept as dead letters"
        );
        let refusal = Refusal {
            status,
            attempts,
            reason,
        };
        self.settle(messages, Some(refusal), Vec::new())
    }

    fn settle(
        &mut self,
        messages: &[Message],
        refusal: Option<Refusal>,
        notes: Vec<(String, Option<String>)>,
    ) -> Result<()> {
        self.failing = None;
        self.apart = self.apart.saturating_sub(messages.len());
        self.backoff.reset();
        self.outbox.settle(&Settled {
            messages,
            refusal,
            notes,
        })
    }
}

/// The messages at these places.
fn chosen(waiting: Vec<Message>, places: &[usize]) -> Vec<Message> {
    let mut places = places.iter().copied().peekable();
    let chosen = waiting.into_iter().enumerate();
    let chosen = chosen.filter(|(place, _)| places.next_if_eq(place).is_some());
    chosen.map(|(_, message)| message).collect()
}
