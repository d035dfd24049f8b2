//! What is said of the outboxes that a query fills.

use crate::sink::outbox::{OutboxName, OutboxState};

/// Outboxes, each with how it stands.
pub(super) type Outboxed = [(OutboxName, OutboxState)];

/// That the query waits for room in one of them, if it does: a sentence.
pub(super) fn full(outboxes: &Outboxed) -> Option<String> {
    let mut full = outboxes
        .iter()
        .filter(|(_, state)| state.full_since.is_some());
    let (name, state) = full.next()?;
    let error = match &state.last_error {
        Some((error, _)) => format!("; its last error: {error}"),
        None => String::new(),
    };
    Some(format!(
        "The outbox of {} is full, and the query waits until its destination takes some of the {} rows ({} \
         bytes) in it{error}.",
        whose(name),
        state.waiting,
        state.waiting_bytes
    ))
}

/// That what waits in one of them is not taken, if that is so: a sentence.
pub(super) fn failing(outboxes: &Outboxed) -> Option<String> {
    let mut failing = outboxes
        .iter()
        .filter(|(_, state)| state.is_failing && state.waiting > 0);
    let (name, state) = failing.next()?;
    let (error, _) = state.last_error.as_ref()?;
    Some(format!(
        "{} rows wait in the outbox of {}, whose destination does not take them: {error}.",
        state.waiting,
        whose(name)
    ))
}

/// The facts of one of them.
pub(super) fn line(state: &OutboxState) -> String {
    let mut text = format!("{} rows wait, {} bytes", state.waiting, state.waiting_bytes);
    if state.full_since.is_some() {
        text.push_str(", full");
    }
    if let Some((error, _)) = &state.last_error {
        text.push_str(&format!(", last error: {error}"));
    }
    text
}

/// Whose an outbox is.
fn whose(name: &OutboxName) -> String {
    match &name.sink {
        Some(sink) => format!("sink \"{sink}\" for alert \"{}\"", name.query),
        None => format!("sink \"{}\"", name.query),
    }
}
