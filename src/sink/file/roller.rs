//! The thread that makes files of what waits.
//!
//! ```text
//! what has come ─► which is the next? ─ noted in the outbox ─► written ─► out of the outbox, with the note
//! ```
//! Invariant: what is noted is written under the same name with the same rows, however often it begins anew.

use std::sync::Arc;
use std::time::Duration;

use super::folders::{Decision, Folders, Next, Rules};
use super::partition;
use super::place::Place;
use super::write::FileWriter;
use crate::crash_point;
use crate::error::{Error, Result, SqlState};
use crate::sink::outbox::{Backoff, Outbox};
use crate::task::Shutdown;
use crate::types::ProcessingTime;

/// The name of the note of what is written next.
const NOTE: &str = "file";

/// Makes files of what waits in an outbox.
pub(super) struct Roller {
    outbox: Arc<Outbox>,
    shutdown: Shutdown,
    files: Files,
    rules: Rules,
    /// Its number at the outbox.
    number: u64,
    backoff: Backoff,
    folders: Folders,
    /// From here on nothing is known of the outbox.
    end: u64,
    is_full: bool,
    /// What is noted; `None`: nothing, or it was not looked at yet.
    decision: Option<Decision>,
    has_looked: bool,
    /// The last try has failed.
    is_failing: bool,
}

/// Where files go, and what is in them.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) place: Place,
    pub(super) writer: FileWriter,
}

impl Roller {
    pub(super) fn new(outbox: Arc<Outbox>, shutdown: Shutdown, files: Files, rules: Rules) -> Self {
        let ProcessingTime(seed) = outbox.now();
        Self {
            number: outbox.new_deliverer(),
            outbox,
            shutdown,
            files,
            rules,
            backoff: Backoff::new(seed.unsigned_abs()),
            folders: Folders::default(),
            end: 0,
            is_full: false,
            decision: None,
            has_looked: false,
            is_failing: false,
        }
    }

    /// Until the outbox is closed, or another one has it.
    pub(super) fn run(mut self) {
        loop {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) if self.shutdown.is_requested() => return,
                Err(error) => {
                    if !self.is_failing {
                        tracing::warn!(sink = %self.outbox.name(), error = %error, "a file cannot be written, retrying");
                    }
                    self.is_failing = true;
                    self.outbox.note_retry(&error.to_string());
                    let pause = self.backoff.pause(None);
                    if !self.outbox.pause(pause, self.number) {
                        return;
                    }
                }
            }
        }
    }

    /// Looks what has come, and writes a file if one is due; false when the outbox was closed.
    fn step(&mut self) -> Result<bool> {
        if !self.has_looked {
            let note = self.outbox.note(NOTE)?;
            let read = |text: String| serde_json::from_str(&text).map_err(|error| damaged(&error));
            self.decision = note.map(read).transpose()?;
            self.has_looked = true;
            if !self.look(Some(Duration::ZERO))? {
                return Ok(false);
            }
        }
        if let Some(decision) = self.decision.clone() {
            self.write(&decision)?;
            return Ok(true);
        }
        match self
            .folders
            .next(&self.rules, self.outbox.now(), self.is_full)
        {
            Next::Wait(wait) => self.look(wait),
            Next::Write(decision) => {
                let text = serde_json::to_string(&decision);
                let text = text.map_err(|error| Error::internal(error.to_string()))?;
                self.outbox.decide(NOTE, &text)?;
                crash_point::reach("a file is decided");
                self.decision = Some(decision);
                Ok(true)
            }
        }
    }

    /// Waits for what comes; false when the outbox was closed.
    fn look(&mut self, wait: Option<Duration>) -> Result<bool> {
        let Some(news) = self.outbox.news(self.end, wait, self.number)? else {
            return Ok(false);
        };
        let mut heads = Vec::with_capacity(news.heads.len());
        for head in news.heads {
            match partition::refused(&head.key) {
                Some(reason) => self.outbox.refuse(&head, reason)?,
                None => heads.push(head),
            }
        }
        self.folders.add(heads);
        (self.end, self.is_full) = (news.end, news.is_full);
        Ok(true)
    }

    /// Writes what is decided, and takes it out of the outbox.
    fn write(&mut self, decision: &Decision) -> Result<()> {
        let numbers = self.folders.numbers(decision);
        let name = self.name(decision);
        let (outbox, shutdown) = (&self.outbox, &self.shutdown);
        let writer = &self.files.writer;
        self.files.place.put(&name, &mut |to| {
            let mut left = numbers.iter();
            let mut next = || {
                if shutdown.is_requested() {
                    let text = "the sink was stopped while it wrote a file";
                    return Err(Error::external(SqlState::QueryCanceled, true, text));
                }
                let Some(number) = left.next() else {
                    return Ok(None);
                };
                let payload = outbox.payload(*number)?;
                payload
                    .map(Some)
                    .ok_or_else(|| Error::internal(format!("item {number} of the outbox is gone")))
            };
            writer.write(to, &mut next)
        })?;
        crash_point::reach("a file is there, and its rows in the outbox");
        self.outbox.done(NOTE, &numbers)?;
        crash_point::reach("a file's rows are out of the outbox");
        let file = self.files.place.full_name(&name);
        tracing::debug!(sink = %self.outbox.name(), file, "file written");
        self.folders.remove(decision);
        self.decision = None;
        self.is_full = false;
        self.is_failing = false;
        self.backoff.reset();
        Ok(())
    }

    /// No other sink gives this name, and no other rows of this one.
    fn name(&self, decision: &Decision) -> String {
        let Decision {
            folder,
            first,
            last,
        } = decision;
        let (id, ending) = (self.outbox.id(), self.files.writer.ending());
        let slash = if folder.is_empty() { "" } else { "/" };
        format!("{folder}{slash}part-{id}-{first:010}-{last:010}.{ending}")
    }
}

fn damaged(error: &serde_json::Error) -> Error {
    let text = format!("what the outbox has noted of the next file cannot be read: {error}");
    Error::external(SqlState::DataCorrupted, false, text)
}
