//! Nexmark's queries over bids, as far as Headwater's SQL has them: one file a query.
//!
//! A query that the server refuses is listed with its reason, so that it is measured as soon as it is
//! taken. Rows are bids; q20, which reads auctions too, counts these as well.

mod generate;

use generate::Generator;

use crate::Context;
use crate::fill::{Place, fill};
use crate::table::{Case, Work, compare, print};
use crate::topic::Topic;

const QUERIES: [(&str, &str); 16] = [
    ("q0", include_str!("q0.sql")),
    ("q1", include_str!("q1.sql")),
    ("q2", include_str!("q2.sql")),
    ("q5", include_str!("q5.sql")),
    ("q7", include_str!("q7.sql")),
    ("q11", include_str!("q11.sql")),
    ("q12", include_str!("q12.sql")),
    ("q14", include_str!("q14.sql")),
    ("q15", include_str!("q15.sql")),
    ("q16", include_str!("q16.sql")),
    ("q17", include_str!("q17.sql")),
    ("q18", include_str!("q18.sql")),
    ("q19", include_str!("q19.sql")),
    ("q20", include_str!("q20.sql")),
    ("q21", include_str!("q21.sql")),
    ("q22", include_str!("q22.sql")),
];
/// The one that reads two topics.
const JOINED: &str = "q20";

const PARTITIONS: i32 = 4;
const SEED: u64 = 7;

/// The topics of one run.
struct Topics {
    bid: Topic,
    auction: Topic,
    person: Topic,
}

/// Measures and prints the section; `--rows` are events of all three kinds.
pub(crate) fn run(context: &Context) {
    let topics = filled(&context.servers, context.arguments.rows());
    let cases = QUERIES.map(|(name, text)| {
        let joined = if name == JOINED {
            topics.auction.rows
        } else {
            0
        };
        Case {
            name: name.to_owned(),
            rows: topics.bid.rows + joined,
            work: Work::Live(text.to_owned()),
        }
    });
    let report = compare(context, &topics.bid, &tables(&topics), &cases);
    let title = format!(
        "nexmark over {} bids, {} auctions, {} persons",
        topics.bid.rows, topics.auction.rows, topics.person.rows
    );
    print(&title, &report, "not expressible");
}

fn filled(servers: &str, events: u64) -> Topics {
    let count = |kind| generate::count(events, kind);
    let topic = |name: &str, kind| Topic::create(servers, name, PARTITIONS, count(kind));
    let topics = Topics {
        bid: topic("bid", generate::Kind::Bid),
        auction: topic("auction", generate::Kind::Auction),
        person: topic("person", generate::Kind::Person),
    };
    let mut generator = Generator::new(SEED);
    fill(servers, events, |event, payload| {
        let (kind, time_ms) = generator.write(event, payload);
        let topic = match kind {
            generate::Kind::Bid => &topics.bid,
            generate::Kind::Auction => &topics.auction,
            generate::Kind::Person => &topics.person,
        };
        Place {
            topic: &topic.name,
            partition: i32::try_from(event % u64::from(PARTITIONS.unsigned_abs())).ok(),
            time_ms: Some(time_ms),
            ..Place::default()
        }
    });
    topics
}

fn tables(topics: &Topics) -> [String; 3] {
    let table = |name: &str, columns: &str, topic: &Topic| {
        format!(
            "CREATE TABLE {name} ({columns}, date_time timestamptz, extra text, \
             WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds') WITH ({})",
            topic.options()
        )
    };
    let bid = "auction bigint, bidder bigint, price bigint, channel text, url text";
    let auction = "id bigint, item_name text, description text, initial_bid bigint, \
                   reserve bigint, expires timestamptz, seller bigint, category bigint";
    let person =
        "id bigint, name text, email_address text, credit_card text, city text, state text";
    [
        table("bid", bid, &topics.bid),
        table("auction", auction, &topics.auction),
        table("person", person, &topics.person),
    ]
}
