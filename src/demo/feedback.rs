//! What customers write: short, of every mood, from several channels.

use chrono::{DateTime, SecondsFormat};

use super::dice::{Dice, mix};
use super::{MessageHead, Schedule};

const CHANNELS: [&str; 5] = ["app store", "chat", "email", "forum", "twitter"];

const PRAISE: [&str; 8] = [
    "I love the new {thing}",
    "The {thing} is fantastic now",
    "Great work on the {thing}, thank you so much",
    "Wow, the {thing} got really fast",
    "Your support fixed my {thing} within minutes, excellent",
    "Best {thing} I have ever used",
    "So happy with the {thing}, five stars",
    "The {thing} just works, beautiful",
];

const COMPLAINTS: [&str; 8] = [
    "The {thing} is terrible since the last update",
    "I hate how slow the {thing} is",
    "Worst {thing} ever, I want my money back",
    "The {thing} crashed again and I lost everything",
    "Very disappointed with the {thing}",
    "Your {thing} is broken and nobody answers",
    "Awful {thing}, it never works when I need it",
    "I am angry: the {thing} charged me twice",
];

const REMARKS: [&str; 8] = [
    "How do I change the {thing}?",
    "Where can I find the {thing}?",
    "I use the {thing} on Mondays",
    "The {thing} moved to another page",
    "Is the {thing} available in Canada?",
    "I opened a ticket about the {thing}",
    "Please tell me when the {thing} changes",
    "I compared the {thing} with the old one",
];

const THINGS: [&str; 10] = [
    "app",
    "billing page",
    "checkout",
    "dashboard",
    "export",
    "login",
    "mobile version",
    "order history",
    "price alert",
    "search",
];

const ENDINGS: [&str; 6] = [
    "",
    ".",
    "!",
    "!!",
    " \u{1F642}",
    " \u{2014} just so you know",
];

/// Users who write.
const USERS: u64 = 500;

/// Writes any message of an endless feed of customers' words.
#[derive(Debug, Clone, Copy)]
pub struct FeedbackGenerator {
    seed: u64,
    schedule: Schedule,
}

/// One message, in the order in which its members are written.
#[derive(serde::Serialize)]
struct Feedback {
    id: String,
    user: String,
    channel: &'static str,
    text: String,
    timestamp: String,
}

impl FeedbackGenerator {
    /// The feed of this seed, at these times.
    pub fn new(seed: u64, schedule: Schedule) -> Self {
        Self { seed, schedule }
    }

    /// Replaces what is in `payload` by the message with this index. The key is the channel.
    pub fn write(&self, index: u64, payload: &mut Vec<u8>) -> MessageHead {
        let record_time_ms = self.schedule.time_ms(index);
        let mut dice = Dice::new(self.seed, 0x4645_4544, index);
        let channel = dice.pick(&CHANNELS);
        let feedback = Feedback {
            id: format!("{:016x}", mix(mix(self.seed) ^ index)),
            user: format!("user-{}", dice.below(USERS)),
            channel,
            text: words(&mut dice),
            timestamp: DateTime::from_timestamp_millis(record_time_ms)
                .unwrap_or(DateTime::UNIX_EPOCH)
                .to_rfc3339_opts(SecondsFormat::Millis, true),
        };
        payload.clear();
        serde_json::to_writer(payload, &feedback).expect("text always becomes JSON");
        MessageHead {
            key: channel,
            record_time_ms,
        }
    }
}

fn words(dice: &mut Dice) -> String {
    let mood = match dice.below(3) {
        0 => &PRAISE,
        1 => &COMPLAINTS,
        _ => &REMARKS,
    };
    let sentence = dice.pick(mood).replace("{thing}", dice.pick(&THINGS));
    let ending = dice.pick(&ENDINGS);
    if sentence.ends_with('?') {
        return sentence;
    }
    sentence + ending
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{FeedbackGenerator, Schedule};

    #[test]
    fn words_vary_and_are_the_same_for_the_same_seed() {
        let feed = FeedbackGenerator::new(
            1,
            Schedule {
                start_ms: 0,
                rate: 5.0,
            },
        );
        let mut texts = BTreeSet::new();
        let (mut payload, mut again) = (Vec::new(), Vec::new());
        for index in 0..1_000 {
            let head = feed.write(index, &mut payload);
            assert_eq!(head, feed.write(index, &mut again));
            assert_eq!(payload, again);
            let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(value["channel"], head.key);
            texts.insert(value["text"].as_str().unwrap().to_owned());
        }
        assert!(texts.len() > 400, "{} different texts", texts.len());
        assert!(
            texts.iter().all(|text| !text.contains('{')),
            "a template was left open"
        );
    }
}
