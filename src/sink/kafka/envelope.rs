//! Changes as Debezium writes them. Pure.
//!
//! ```text
//! {"before":null,"after":{..},"op":"c","ts_ms":1700000000000,"source":{..}}   a new row
//! {"before":{..},"after":{..},"op":"u",..}                                    a row that changed
//! {"before":{..},"after":null,"op":"d",..}                                    a row that went away
//! ```

use crate::types::{Op, ProcessingTime};

/// Makes envelopes; the old form of a row waits for its new one.
#[derive(Debug)]
pub(super) struct Envelopes {
    /// `"source":{..,"ts_ms":`
    source: Vec<u8>,
    before: Option<Vec<u8>>,
}

impl Envelopes {
    /// Of the sink of this name.
    pub(super) fn new(name: &str) -> Self {
        let name = serde_json::Value::from(name);
        let version = env!("CARGO_PKG_VERSION");
        let source = format!(
            r#""source":{{"version":"{version}","connector":"headwater","name":{name},"ts_ms":"#
        );
        Self {
            source: source.into_bytes(),
            before: None,
        }
    }

    /// What is written for a row, which is JSON; `None` for an old form.
    pub(super) fn of(&mut self, op: Op, row: &[u8], at: ProcessingTime) -> Option<Vec<u8>> {
        let old = self.before.take();
        let (before, after, letter) = match op {
            Op::Insert => (None, Some(row), "c"),
            Op::UpdateBefore => {
                self.before = Some(row.to_vec());
                return None;
            }
            Op::UpdateAfter => (old.as_deref(), Some(row), "u"),
            Op::Delete => (Some(row), None, "d"),
        };
        let ts_ms = at.0.div_euclid(1_000).to_string();
        let null: &[u8] = b"null";
        let parts: [&[u8]; 11] = [
            b"{\"before\":",
            before.unwrap_or(null),
            b",\"after\":",
            after.unwrap_or(null),
            b",\"op\":\"",
            letter.as_bytes(),
            b"\",\"ts_ms\":",
            ts_ms.as_bytes(),
            b",",
            &self.source,
            ts_ms.as_bytes(),
        ];
        let mut all = parts.concat();
        all.extend_from_slice(b"}}");
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_changed_row_is_one_message_with_both_forms() {
        let mut envelopes = Envelopes::new("a \"sink\"");
        let mut of = |op, row: &str| {
            let at = ProcessingTime(1_500_000);
            let bytes = envelopes.of(op, row.as_bytes(), at)?;
            Some(serde_json::from_slice::<Value>(&bytes).unwrap())
        };
        let source = json!({
            "version": env!("CARGO_PKG_VERSION"), "connector": "headwater",
            "name": "a \"sink\"", "ts_ms": 1_500,
        });
        let expected = |before: Value, after: Value, op: &str| {
            Some(json!({
                "before": before, "after": after, "op": op, "ts_ms": 1_500, "source": source,
            }))
        };
        let (one, two) = (json!({"n": 1}), json!({"n": 2}));
        assert_eq!(
            of(Op::Insert, r#"{"n":1}"#),
            expected(Value::Null, one.clone(), "c")
        );
        assert_eq!(of(Op::UpdateBefore, r#"{"n":1}"#), None);
        assert_eq!(
            of(Op::UpdateAfter, r#"{"n":2}"#),
            expected(one, two.clone(), "u")
        );
        assert_eq!(
            of(Op::Delete, r#"{"n":2}"#),
            expected(two, Value::Null, "d")
        );
    }
}
