//! Nexmark's events: of fifty one person, three auctions and 46 bids, in this order.
//!
//! The same events for the same seed, as long as they are written in order from the first on. Keys
//! follow the original generator: hot auctions and bidders, and otherwise the latest ones.

use std::io::Write;

use chrono::{DateTime, SecondsFormat};
use fastrand::Rng;

const PERSONS: u64 = 1;
const AUCTIONS: u64 = 3;
const EVENTS: u64 = 50;
/// Ids begin here.
const FIRST_ID: u64 = 1_000;
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;
/// Every so many ids one is hot.
const HOT_EVERY: u64 = 100;
/// Bids go to one of so many of the latest auctions, made by so many of the latest persons.
const AUCTIONS_OPEN: u64 = 100;
const PERSONS_ACTIVE: u64 = 1_000;
/// Channels beside the four hot ones.
const CHANNELS: u64 = 10_000;

const START_MS: i64 = 1_700_000_000_000;
const EVENTS_A_MILLISECOND: u64 = 10;

const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const FIRST_NAMES: [&str; 6] = ["Peter", "Paul", "Luke", "John", "Vicky", "Kate"];
const LAST_NAMES: [&str; 5] = ["Shultz", "Abrams", "Spencer", "White", "Bartels"];
const CITIES: [(&str, &str); 5] = [
    ("Phoenix", "AZ"),
    ("Los Angeles", "CA"),
    ("Boise", "ID"),
    ("Portland", "OR"),
    ("Seattle", "WA"),
];

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Person,
    Auction,
    Bid,
}

/// How many of the first events are of a kind.
pub(super) fn count(events: u64, kind: Kind) -> u64 {
    let of_block = |events: u64| match kind {
        Kind::Person => events.min(PERSONS),
        Kind::Auction => events.saturating_sub(PERSONS).min(AUCTIONS),
        Kind::Bid => events.saturating_sub(PERSONS + AUCTIONS),
    };
    events / EVENTS * of_block(EVENTS) + of_block(events % EVENTS)
}

/// Writes events, one after the other.
pub(super) struct Generator {
    rng: Rng,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
        }
    }

    /// Appends the event with this number as JSON; tells its kind and its time, in milliseconds since
    /// the Unix epoch.
    pub(super) fn write(&mut self, event: u64, payload: &mut Vec<u8>) -> (Kind, i64) {
        let time_ms = START_MS.saturating_add_unsigned(event / EVENTS_A_MILLISECOND);
        let (block, place) = (event / EVENTS, event % EVENTS);
        let written = match place {
            0 => (Kind::Person, self.person(block, time_ms, payload)),
            1..=AUCTIONS => {
                let number = block * AUCTIONS + place - PERSONS;
                (Kind::Auction, self.auction(number, block, time_ms, payload))
            }
            _ => (Kind::Bid, self.bid(block, time_ms, payload)),
        };
        written.1.expect("writing into memory does not fail");
        (written.0, time_ms)
    }

    fn person(&mut self, number: u64, time_ms: i64, out: &mut Vec<u8>) -> std::io::Result<()> {
        let (first, last) = (self.pick(&FIRST_NAMES), self.pick(&LAST_NAMES));
        let (city, state) = self.pick(&CITIES);
        let (id, time) = (FIRST_ID + number, text(time_ms));
        let (mail, host) = (self.letters(7), self.letters(5));
        let card: Vec<String> = (0..4)
            .map(|_| format!("{:04}", self.rng.u32(..10_000)))
            .collect();
        let (card, extra) = (card.join(" "), self.letters(60));
        write!(
            out,
            r#"{{"id":{id},"name":"{first} {last}","email_address":"{mail}@{host}.com","credit_card":"{card}","city":"{city}","state":"{state}","date_time":"{time}","extra":"{extra}"}}"#
        )
    }

    fn auction(
        &mut self,
        number: u64,
        persons: u64,
        time_ms: i64,
        out: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let (id, seller) = (FIRST_ID + number, self.person_id(persons));
        let category = FIRST_CATEGORY + self.rng.u64(..CATEGORIES);
        let (name, about) = (self.letters(20), self.letters(100));
        let initial = self.price();
        let (reserve, extra) = (initial + self.price(), self.letters(200));
        let (time, expires) = (text(time_ms), text(time_ms + self.rng.i64(1_000..20_000)));
        write!(
            out,
            r#"{{"id":{id},"item_name":"{name}","description":"{about}","initial_bid":{initial},"reserve":{reserve},"date_time":"{time}","expires":"{expires}","seller":{seller},"category":{category},"extra":"{extra}"}}"#
        )
    }

    fn bid(&mut self, block: u64, time_ms: i64, out: &mut Vec<u8>) -> std::io::Result<()> {
        let last = (block + 1) * AUCTIONS - 1;
        let auction = if self.rng.u32(..2) > 0 {
            last / HOT_EVERY * HOT_EVERY
        } else {
            last - self.rng.u64(..AUCTIONS_OPEN.min(last + 1))
        };
        let (auction, bidder) = (FIRST_ID + auction, self.person_id(block));
        let (price, time) = (self.price(), text(time_ms));
        let folders = [self.letters(5), self.letters(5), self.letters(5)].join("/");
        let url = format!("https://www.nexmark.com/{folders}/item.htm?query=1");
        let (channel, url) = if self.rng.bool() {
            (self.pick(&HOT_CHANNELS).to_owned(), url)
        } else {
            let channel = self.rng.u64(..CHANNELS);
            let id = channel.wrapping_mul(0x9E37_79B9) & 0x7FFF_FFFF;
            (
                format!("channel-{channel}"),
                format!("{url}&channel_id={id}"),
            )
        };
        let extra = self.letters(20);
        write!(
            out,
            r#"{{"auction":{auction},"bidder":{bidder},"price":{price},"channel":"{channel}","url":"{url}","date_time":"{time}","extra":"{extra}"}}"#
        )
    }

    /// A person who is there: a hot one three times of four.
    fn person_id(&mut self, last: u64) -> u64 {
        FIRST_ID
            + if self.rng.u32(..4) > 0 {
                last / HOT_EVERY * HOT_EVERY
            } else {
                last - self.rng.u64(..PERSONS_ACTIVE.min(last + 1))
            }
    }

    /// Cents, from one to a million dollars, as many of each order of magnitude.
    fn price(&mut self) -> u64 {
        let price = 10_f64.powf(self.rng.f64() * 6.0) * 100.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most a hundred million"
        )]
        let price = price as u64;
        price
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.usize(..from.len())]
    }

    fn letters(&mut self, count: usize) -> String {
        (0..count).map(|_| self.rng.lowercase()).collect()
    }
}

fn text(time_ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(time_ms).unwrap_or(DateTime::UNIX_EPOCH);
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
