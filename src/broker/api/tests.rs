//! Every request in every version, well-formed and not: there is an answer or an error, never a
//! panic, and no count makes the broker allocate.

use std::time::Duration;

use tokio::sync::Notify;

use super::*;
use crate::broker::batch::testing::{Spec, batch};
use crate::broker::config::BrokerConfig;
use crate::broker::shape::testing::{Source, body};

/// A fixed sequence of made-up values (xorshift).
struct Random {
    state: u64,
    with_nulls: bool,
}

impl Source for Random {
    fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % limit as u64).unwrap()
    }

    fn number(&mut self) -> i64 {
        [0, 0, 1, 1, 2, -1, -2, 4, 1_000, i64::MAX, 0x0001_0000_0001][self.below(11)]
    }

    fn text(&mut self) -> Option<&'static str> {
        if self.with_nulls && self.below(4) == 0 {
            return None;
        }
        const TEXTS: [&str; 14] = [
            "t",
            "t",
            "t",
            "u",
            "g",
            "g",
            "tx",
            "",
            "consumer",
            "range",
            "retention.ms",
            "60000",
            "no such thing",
            "cleanup.policy",
        ];
        Some(TEXTS[self.below(TEXTS.len())])
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let producer = [None, Some((1, 0, 0)), Some((0, 0, 0))][self.below(3)];
        let transactional = producer.is_some() && self.below(2) == 0;
        let mut bytes = batch(&Spec {
            producer,
            transactional,
            ..Spec::default()
        })
        .to_vec();
        match self.below(5) {
            0 => bytes.truncate(self.below(70)),
            1 => bytes = Vec::new(),
            2 if self.with_nulls => return None,
            _ => {}
        }
        Some(bytes)
    }
}

fn server() -> Arc<Server> {
    let config = BrokerConfig {
        partitions_max: 20,
        groups_max: 50,
        ..BrokerConfig::default()
    };
    let server = Server::open(config).unwrap();
    server
        .topics
        .create("t", Some(2), Default::default(), false)
        .unwrap();
    Arc::new(server)
}

fn client() -> Client {
    let address = "127.0.0.1:9".parse().unwrap();
    Client {
        local: address,
        remote: address,
        more: Arc::new(Notify::new()),
    }
}

/// What the broker says; `None` while the client has to wait.
async fn ask(
    server: &Arc<Server>,
    key: ApiKey,
    version: i16,
    body: Vec<u8>,
) -> Option<Result<Answer>> {
    let mut out = BytesMut::new();
    let request = Request::new(key, version, body);
    let client = client();
    let answering = answer(server, &client, request, &mut out);
    let answered = tokio::time::timeout(Duration::from_millis(1), answering)
        .await
        .ok();
    server
        .groups
        .tick(crate::clock::instant() + Duration::from_secs(3600));
    answered
}

fn all_versions() -> impl Iterator<Item = (ApiKey, i16)> {
    SERVED
        .iter()
        .flat_map(|(key, first, last)| (*first..=*last).map(|version| (*key, version)))
}

#[tokio::test]
async fn every_well_formed_request_is_answered_in_every_version() {
    let server = server();
    let mut random = Random {
        state: 7,
        with_nulls: false,
    };
    for (key, version) in all_versions() {
        for _ in 0..60 {
            let body = body(key, version, &mut random);
            assert!(
                shape::fits(key, version, &body),
                "{key:?} {version}: {body:?}"
            );
            if let Some(Err(error)) = ask(&server, key, version, body.clone()).await {
                unreachable!("{key:?} {version}: {error}: {body:?}");
            }
            let _there_again = server
                .topics
                .create("t", Some(2), Default::default(), false);
        }
    }
}

#[tokio::test]
async fn requests_that_are_cut_off_are_refused() {
    let server = server();
    let mut random = Random {
        state: 11,
        with_nulls: false,
    };
    for (key, version) in all_versions() {
        for _ in 0..10 {
            let body = body(key, version, &mut random);
            for length in 0..body.len().min(200) {
                let cut = body[..length].to_vec();
                assert!(
                    !shape::fits(key, version, &cut),
                    "{key:?} {version}: {cut:?}"
                );
                let answered = ask(&server, key, version, cut).await;
                assert!(
                    answered.is_some_and(|answered| answered.is_err()),
                    "{key:?} {version}"
                );
            }
        }
    }
}

#[tokio::test]
async fn no_bytes_bring_the_broker_down() {
    let server = server();
    let mut random = Random {
        state: 13,
        with_nulls: true,
    };
    for (key, version) in all_versions() {
        for _ in 0..20 {
            let body = body(key, version, &mut random);
            for _ in 0..10 {
                let mut bytes = body.clone();
                let at = random.below(bytes.len().max(1));
                let hostile: &[u8] = match random.below(4) {
                    0 => &[0x7f, 0xff, 0xff, 0xff],
                    1 => &[0xff, 0xff, 0xff, 0xff, 0x0f],
                    2 => &[0x80],
                    _ => &[0xc0],
                };
                let end = (at + hostile.len()).min(bytes.len());
                bytes.splice(at.min(end)..end, hostile.iter().copied());
                let _answer_or_error = ask(&server, key, version, bytes).await;
            }
        }
    }
}

#[tokio::test]
async fn versions_that_are_not_served_are_refused_but_for_api_versions() {
    let server = server();
    for (key, first, last) in SERVED {
        for version in [first - 1, last + 1, i16::MAX, i16::MIN] {
            let answered = ask(&server, key, version, Vec::new())
                .await
                .expect("at once");
            assert_eq!(
                answered.is_ok(),
                key == ApiKey::ApiVersions,
                "{key:?} {version}"
            );
        }
    }
    let answered = ask(&server, ApiKey::SaslHandshake, 0, Vec::new())
        .await
        .expect("at once");
    assert!(answered.is_err(), "a request that is not served");
}
