//! The ways to show a real Kafka who one is, and what is refused.

use std::time::Duration;

use headwater::error::SqlState;
use headwater::source::{FetchedBy, WhyLibrary};
use headwater::types::FetchMode;

use super::{fails, numbers, read_to_end};
use crate::support::broker::{RealKafka, real_kafka};
use crate::support::topic::Topic;
use crate::support::wait;

const READERS: [FetchMode; 2] = [FetchMode::Direct, FetchMode::Librdkafka];
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// A broker of its own, a topic of ten messages on it, and what is needed to come by its other doors.
struct Doors {
    kafka: RealKafka,
    topic: Topic,
}

impl Doors {
    fn open() -> Option<Self> {
        real_kafka()?;
        let kafka = RealKafka::start();
        let topic = Topic::create(kafka.bootstrap(), "secure", 1, FetchMode::Direct);
        topic.fill(0, 10);
        Some(Self { kafka, topic })
    }

    fn file(&self, name: &str) -> String {
        self.kafka.folder().join(name).display().to_string()
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.kafka.folder().join(name))
            .expect("the broker's start wrote it")
    }

    /// The topic by the door so many ports above the open one.
    fn by(&self, door: u16, fetch: FetchMode, properties: &[(&str, &str)]) -> Topic {
        let (_, port) = self.kafka.bootstrap().rsplit_once(':').expect("host:port");
        let servers = format!("localhost:{}", port.parse::<u16>().unwrap() + door);
        self.topic.read_by(fetch).reached_at(&servers, properties)
    }

    fn with_password(&self, fetch: FetchMode, mechanism: &str, password: &str) -> Topic {
        let authority = self.file("ca.pem");
        let properties = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanisms", mechanism),
            ("sasl.username", "headwater"),
            ("sasl.password", password),
            ("ssl.ca.location", authority.as_str()),
        ];
        self.by(2, fetch, &properties)
    }

    fn with_certificate(&self, fetch: FetchMode, properties: &[(&str, &str)]) -> Topic {
        let all = [&[("security.protocol", "SSL")], properties].concat();
        self.by(3, fetch, &all)
    }
}

fn reads(topic: &Topic) {
    let mut reader = topic.open(&[(0, 0)]);
    let seen = read_to_end(&mut reader, 1);
    assert_eq!(seen.payloads[&0], numbers(0..10), "{:?}", topic.fetch);
    topic.check_reader(&reader);
}

/// What is told when no message comes.
fn problem(topic: &Topic) -> String {
    let mut reader = topic.open(&[(0, 0)]);
    wait::until("problem", || {
        let read = reader.read(Duration::from_millis(200)).unwrap();
        assert!(read.batch.messages.is_empty(), "nobody let it in");
        read.problems.first().map(|problem| problem.message.clone())
    })
}

#[test]
fn both_readers_come_in_by_password_and_by_certificate() {
    let Some(doors) = Doors::open() else {
        return;
    };
    let (certificate, key) = (doors.file("client.pem"), doors.file("client.key"));
    let authority = doors.file("ca.pem");
    let texts = ["client.pem", "client.key", "ca.pem"].map(|name| doors.text(name));
    for fetch in READERS {
        for mechanism in MECHANISMS {
            reads(&doors.with_password(fetch, mechanism, "headwater-secret"));
        }
        let files: [(&str, &str); 3] = [
            ("ssl.certificate.location", certificate.as_str()),
            ("ssl.key.location", &key),
            ("ssl.ca.location", &authority),
        ];
        reads(&doors.with_certificate(fetch, &files));
        let texts: [(&str, &str); 3] = [
            ("ssl.certificate.pem", texts[0].as_str()),
            ("ssl.key.pem", &texts[1]),
            ("ssl.ca.pem", &texts[2]),
        ];
        reads(&doors.with_certificate(fetch, &texts));
    }
}

#[test]
fn neither_reader_comes_in_with_the_wrong_password_or_without_a_certificate() {
    let Some(doors) = Doors::open() else {
        return;
    };
    let authority = doors.file("ca.pem");
    for fetch in READERS {
        for mechanism in MECHANISMS {
            let topic = doors.with_password(fetch, mechanism, "wrong");
            let error = fails(&mut topic.open(&[(0, 0)]));
            assert_eq!(error.state(), SqlState::ConnectionUnable, "{error:?}");
            let shown = format!("{error:?}");
            assert!(
                !shown.contains("wrong"),
                "a password is never shown: {shown}"
            );
        }
        let nobody = [("ssl.ca.location", authority.as_str())];
        problem(&doors.with_certificate(fetch, &nobody));
    }
}

#[test]
fn what_the_direct_fetch_does_not_take_is_for_the_library_to_judge() {
    let Some(doors) = Doors::open() else {
        return;
    };
    // What SCRAM makes of such letters is for the library to find out; the broker knows no such password.
    let topic = doors.with_password(FetchMode::Auto, "SCRAM-SHA-256", "gehe\u{ef}m");
    let mut reader = topic.open(&[(0, 0)]);
    let by = |why| FetchedBy::Librdkafka(why);
    assert_eq!(reader.fetched_by(), by(WhyLibrary::Mechanism));
    let error = fails(&mut reader);
    assert_eq!(error.state(), SqlState::ConnectionUnable, "{error:?}");
    // An authority that vouches for nobody here. It shows in the first answer, so that the library goes on.
    let (certificate, key) = (doors.file("client.pem"), doors.file("client.key"));
    let strange: [(&str, &str); 3] = [
        ("ssl.ca.location", certificate.as_str()),
        ("ssl.certificate.location", &certificate),
        ("ssl.key.location", &key),
    ];
    let topic = doors.with_certificate(FetchMode::Auto, &strange);
    let mut reader = topic.open(&[(0, 0)]);
    assert_eq!(reader.fetched_by(), FetchedBy::Direct);
    let told = wait::until("problem", || {
        let read = reader.read(Duration::from_millis(200)).unwrap();
        assert!(
            read.batch.messages.is_empty(),
            "nobody vouches for the broker"
        );
        read.problems.first().map(|problem| problem.message.clone())
    });
    assert_eq!(reader.fetched_by(), by(WhyLibrary::Certificate), "{told}");
    let error = fails(&mut topic.read_by(FetchMode::Direct).open(&[(0, 0)]));
    assert_eq!(error.state(), SqlState::FeatureNotSupported, "{error:?}");
}
