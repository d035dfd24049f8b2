//! Who leads the topic's partitions: asked when it is not known, and after everything that may have
//! changed it.
//!
//! Invariant: only a denial that another answer confirms, or that lasts, means that the topic is gone.

use std::time::{Duration, Instant};

use super::Stop;
use super::backoff::Backoff;
use super::connection::{Broken, Came, Connection};
use super::protocol::{ANSWER_HEAD_BYTES, Metadata, ask_metadata};
use super::reader::DirectReader;
use crate::source::kafka::code::{Code, Meaning};
use crate::source::kafka::errors::{gone, not_authenticated, refused};
use crate::source::read::Problem;
use crate::types::PartitionId;

/// A topic that was just made may be unknown to a broker for so long.
const DENIED_MAX: Duration = Duration::from_secs(5);
/// An answer about one topic is shorter than this.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The connection for questions about leaders, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Leaders {
    pub(super) link: Option<Connection>,
    /// Whether there is something to ask.
    pub(super) wanted: bool,
    is_asked: bool,
    backoff: Backoff,
    /// How many servers have been tried.
    tried: usize,
    /// Answers so far, and the partitions in the last one.
    pub(super) answers: u64,
    pub(super) partitions: Option<Vec<PartitionId>>,
    /// Since when every answer has denied the topic, or a partition of it.
    denied_since: Option<Instant>,
}

impl Leaders {
    pub(super) fn new() -> Self {
        Self {
            wanted: true,
            ..Self::default()
        }
    }

    /// When there is something to do next.
    pub(super) fn timer(&self) -> Option<Instant> {
        match &self.link {
            Some(link) if link.deadline().is_some() => link.deadline(),
            _ if self.wanted => self.backoff.until(),
            _ => None,
        }
    }

    fn failed(&mut self, now: Instant) {
        self.link = None;
        self.is_asked = false;
        self.tried += 1;
        self.backoff.failed(now);
    }
}

impl DirectReader {
    /// Asks who leads, if that is to be known.
    pub(super) fn ask_leaders(&mut self, now: Instant) {
        if !self.leaders.wanted || self.leaders.is_asked || !self.leaders.backoff.is_over(now) {
            return;
        }
        if self
            .leaders
            .link
            .as_ref()
            .is_some_and(|link| link.has_expired(now))
        {
            self.leaders.link = None;
        }
        let link = match &mut self.leaders.link {
            Some(link) => link,
            empty => {
                let known = self
                    .nodes
                    .values()
                    .map(|node| (node.host.as_str(), node.port));
                let servers = self.setup.servers.iter();
                let servers = servers.map(|(host, port)| (host.as_str(), *port));
                let servers: Vec<_> = servers.chain(known).collect();
                let server = servers[self.leaders.tried % servers.len()];
                empty.insert(Connection::open(server, &self.setup, &self.signal, now))
            }
        };
        if let Some(versions) = link.ready() {
            let request = ask_metadata(versions, &self.options.topic);
            link.ask(request, Duration::ZERO, ANSWER_BYTES_MAX, now);
            self.leaders.is_asked = true;
        }
    }

    /// Takes the answer, if it is there.
    pub(super) fn hear_leaders(&mut self, now: Instant) -> Result<(), Stop> {
        let Some(link) = &mut self.leaders.link else {
            return Ok(());
        };
        let came = match link.go_on(now) {
            Ok(came) => came,
            Err(broken) => {
                let name = link.name();
                if !self.leaders.wanted {
                    // Servers close what is idle.
                    self.leaders.link = None;
                    return Ok(());
                }
                self.leaders.failed(now);
                return self.broke(&name, broken);
            }
        };
        let Came::Answer(answer) = came else {
            self.ask_leaders(now);
            return Ok(());
        };
        self.leaders.is_asked = false;
        let versions = link.versions().expect("it was asked in these");
        let body = &answer[ANSWER_HEAD_BYTES..];
        match Metadata::read(versions, &self.options.topic, body) {
            Ok(metadata) => self.learn(&metadata, now),
            Err(malformed) => {
                let name = link.name();
                self.leaders.failed(now);
                self.broke(&name, malformed.into())
            }
        }
    }

    /// A connection is over: what that means for the reader.
    pub(super) fn broke(&mut self, server: &str, broken: Broken) -> Result<(), Stop> {
        match broken {
            Broken::Lost(reason) => {
                self.tell(None, format!("{server}: {reason}"));
                Ok(())
            }
            Broken::NotAuthenticated(reason) => {
                let servers = &self.options.connection.bootstrap_servers;
                Err(Stop::Failed(not_authenticated(servers, Some(&reason))))
            }
            Broken::Unserved(why) => Err(Stop::Unserved(why)),
        }
    }

    pub(super) fn tell(&mut self, partition: Option<PartitionId>, message: String) {
        self.problems.push(Problem { partition, message });
    }

    fn learn(&mut self, metadata: &Metadata, now: Instant) -> Result<(), Stop> {
        self.leaders.answers += 1;
        self.leaders.partitions = None;
        let code = Code(metadata.code.into());
        match code.meaning() {
            _ if code.is_ok() => {}
            Meaning::Refused => return Err(Stop::Failed(refused(&self.options.topic))),
            Meaning::TopicGone => return self.denied(code, now),
            _ => {
                self.tell(None, code.to_string());
                self.leaders.backoff.failed(now);
                return Ok(());
            }
        }
        let mut partitions: Vec<_> = metadata
            .partitions
            .iter()
            .map(|p| PartitionId(p.1))
            .collect();
        partitions.sort_unstable();
        self.leaders.partitions = Some(partitions);
        self.learn_nodes(metadata);
        let mut all_led = true;
        let mut missing = false;
        for part in &mut self.parts {
            let found = metadata
                .partitions
                .iter()
                .find(|(_, id, _)| *id == part.id.0);
            let leader = found.map(|(_, _, leader)| *leader);
            part.leader = leader.filter(|node| self.nodes.contains_key(node));
            part.is_doubted &= found.is_none();
            missing |= found.is_none();
            all_led &= part.leader.is_some();
        }
        if missing {
            let code = Code::UNKNOWN_PARTITION;
            return self.denied(code, now);
        }
        self.leaders.denied_since = None;
        if all_led {
            self.leaders.wanted = false;
            self.leaders.backoff.succeeded();
        } else {
            self.leaders.backoff.failed(now);
            self.tell_leaderless();
        }
        self.hand_link_over();
        Ok(())
    }

    fn tell_leaderless(&mut self) {
        let leaderless = self.parts.iter().filter(|part| part.leader.is_none());
        let leaderless: Vec<_> = leaderless.map(|part| part.id).collect();
        for partition in leaderless {
            self.tell(Some(partition), "the partition has no leader".to_owned());
        }
    }

    fn denied(&mut self, code: Code, now: Instant) -> Result<(), Stop> {
        let since = *self.leaders.denied_since.get_or_insert(now);
        let confirmed = self.parts.iter().any(|part| part.is_doubted);
        if confirmed || now.duration_since(since) >= DENIED_MAX {
            return Err(Stop::Failed(gone(&self.options.topic)));
        }
        self.tell(None, code.to_string());
        // Another server is asked: this one may have just started.
        self.leaders.failed(now);
        Ok(())
    }

    fn learn_nodes(&mut self, metadata: &Metadata) {
        for (id, host, port) in &metadata.brokers {
            let node = self.nodes.entry(*id).or_default();
            if node.host != *host || node.port != *port {
                node.moved_to(host, *port);
            }
        }
    }

    /// The connection of the question serves a leader, if it leads to one.
    fn hand_link_over(&mut self) {
        let Some(link) = self.leaders.link.take() else {
            return;
        };
        let leads = |id: &i32| self.parts.iter().any(|part| part.leader == Some(*id));
        let node = self.nodes.iter_mut().find(|(id, node)| {
            leads(id) && node.link.is_none() && link.is_to(&node.host, node.port)
        });
        match node {
            Some((_, node)) => node.link = Some(link),
            None => self.leaders.link = Some(link),
        }
    }
}
