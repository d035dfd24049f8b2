//! A micro-batch cut into smaller ones, for a query that is to look at its groups more often.
//!
//! Invariant: what the parts hold together, and in this order, is what was collected.

use std::sync::Arc;

use super::input::Collected;

/// What was collected, in parts of so many messages at the most. That of several lanes stays whole.
pub(super) fn parts(mut input: Collected, rows_max: Option<usize>) -> Vec<Collected> {
    let Some(rows_max) = rows_max.filter(|_| input.lanes.len() == 1) else {
        return vec![input];
    };
    let mut parts = Vec::new();
    for (place, fetched) in std::mem::take(&mut input.lanes[0]) {
        let messages = fetched.messages.messages.len();
        if messages <= rows_max {
            parts.push((place, fetched));
            continue;
        }
        for first in (0..messages).step_by(rows_max) {
            let part = fetched.part(first..messages.min(first + rows_max));
            parts.push((place, Arc::new(part)));
        }
    }
    let Some(last) = parts.pop() else {
        return vec![input];
    };
    let mut all: Vec<Collected> = parts
        .into_iter()
        .map(|part| {
            let mut one = Collected::nothing(1);
            one.lanes[0].push(part);
            one
        })
        .collect();
    if let Some(first) = all.first_mut() {
        first.added = std::mem::take(&mut input.added);
    }
    input.lanes[0].push(last);
    all.push(input);
    all
}
