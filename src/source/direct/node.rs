//! One broker that leads partitions: fetched from over one connection, one fetch at a time, the next
//! one sent as soon as the last is there.
//!
//! ```text
//! fetch n+1 in flight │ answer n waits │ answer n-1 is handed out      at most, for each broker
//! ```
//! Invariant: a partition's offset moves on only with whole batches that are on their way out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Stop;
use super::backoff::Backoff;
use super::batch::{self, Fault};
use super::connection::{Came, Connection};
use super::delivery::{Delivery, Section};
use super::protocol::{ANSWER_HEAD_BYTES, FetchTerms, Fetched, FetchedPart, Wanted, ask_fetch};
use super::reader::{DirectReader, Part};
use crate::source::kafka::code::{Code, Meaning};
use crate::source::kafka::errors::{corrupt, offset_gone, refused, unreadable};
use crate::source::read::{PartitionEnd, WhyLibrary};
use crate::types::{MessageBatch, Offset};

/// Answers of one broker that wait to be handed out before it is asked again.
const WAITING_MAX: usize = 1;

/// A broker.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) link: Option<Connection>,
    backoff: Backoff,
    /// The broker wants to be left alone until then.
    throttled: Option<Instant>,
    /// Answers that wait to be handed out.
    pub(super) waiting: usize,
    /// What the fetch in flight wants.
    asked: Vec<Wanted>,
    /// Where the next fetch begins in the list of partitions: each comes first in its turn.
    turn: usize,
}

impl Node {
    pub(super) fn moved_to(&mut self, host: &str, port: u16) {
        host.clone_into(&mut self.host);
        self.port = port;
        self.link = None;
        self.backoff.succeeded();
    }

    /// When there is something to do next.
    pub(super) fn timer(&self) -> Option<Instant> {
        match &self.link {
            Some(link) if link.deadline().is_some() => link.deadline(),
            Some(_) => self.throttled,
            None => self.backoff.until(),
        }
    }

    fn failed(&mut self, now: Instant) {
        self.link = None;
        self.asked.clear();
        self.backoff.failed(now);
    }
}

impl DirectReader {
    /// Sends what can be sent to a broker.
    pub(super) fn ask_node(&mut self, id: i32, now: Instant) {
        let node = self
            .nodes
            .get_mut(&id)
            .expect("its caller has it from there");
        let is_due = |part: &&Part| part.leader == Some(id) && part.is_due(now);
        if node.waiting > WAITING_MAX || !self.parts.iter().any(|part| is_due(&part)) {
            return;
        }
        let throttled = node.throttled.is_some_and(|until| now < until);
        if throttled || !node.backoff.is_over(now) {
            return;
        }
        node.throttled = None;
        if node
            .link
            .as_ref()
            .is_some_and(|link| link.ready().is_some() && link.has_expired(now))
        {
            node.link = None;
        }
        let link = node.link.get_or_insert_with(|| {
            let server = (node.host.as_str(), node.port);
            Connection::open(server, &self.setup, &self.signal, now)
        });
        let Some(versions) = link.ready() else { return };
        let wanted = self.parts.iter().filter(is_due);
        let mut wanted: Vec<_> = wanted
            .map(|part| Wanted {
                partition: part.id.0,
                offset: part.next,
                bytes_max: part.bytes_max.unwrap_or(self.setup.partition_bytes),
            })
            .collect();
        let turn = node.turn % wanted.len();
        wanted.rotate_left(turn);
        node.turn = node.turn.wrapping_add(1);
        let largest = wanted.iter().map(|part| part.bytes_max).max().unwrap_or(0);
        let terms = FetchTerms {
            wait_ms: i32::try_from(self.setup.wait.as_millis()).unwrap_or(i32::MAX),
            bytes_min: self.setup.bytes_min,
            bytes_max: self.setup.answer_bytes.max(largest),
            read_committed: self.options.read_committed,
        };
        let request = ask_fetch(versions, &self.options.topic, terms, &wanted);
        node.asked = wanted;
        link.ask(request, self.setup.wait, self.setup.answer_bytes_max, now);
    }

    /// Takes a broker's answer, if it is there, and asks the next question.
    pub(super) fn hear_node(&mut self, id: i32, now: Instant) -> Result<(), Stop> {
        let node = self
            .nodes
            .get_mut(&id)
            .expect("its caller has it from there");
        let Some(link) = &mut node.link else {
            return Ok(());
        };
        let outcome = match link.go_on(now) {
            Ok(Came::Nothing) => Ok(()),
            Ok(Came::Answer(answer)) => {
                let versions = link.versions().expect("it was asked in these");
                let body = &answer[ANSWER_HEAD_BYTES..];
                let topic = &self.options.topic;
                match Fetched::read(versions, topic, body, ANSWER_HEAD_BYTES) {
                    Ok(fetched) => {
                        self.take_fetched(id, fetched, answer, now)?;
                        Ok(())
                    }
                    Err(malformed) => Err(malformed.into()),
                }
            }
            Err(broken) => Err(broken),
        };
        if let Err(broken) = outcome {
            let name = self.drop_link(id, now);
            return self.broke(&name, broken);
        }
        self.ask_node(id, now);
        Ok(())
    }

    /// Gives a connection up; whoever leads its partitions now has to be asked.
    fn drop_link(&mut self, id: i32, now: Instant) -> String {
        let node = self
            .nodes
            .get_mut(&id)
            .expect("its caller has it from there");
        node.failed(now);
        self.leaders.wanted = true;
        for part in self.parts.iter_mut().filter(|part| part.leader == Some(id)) {
            part.end_told = None;
        }
        format!("{}:{}", node.host, node.port)
    }

    fn take_fetched(
        &mut self,
        id: i32,
        fetched: Fetched,
        mut answer: Vec<u8>,
        now: Instant,
    ) -> Result<(), Stop> {
        let node = self
            .nodes
            .get_mut(&id)
            .expect("its caller has it from there");
        let asked = std::mem::take(&mut node.asked);
        if let Ok(throttle @ 1..) = u64::try_from(fetched.throttle_ms) {
            node.throttled = Some(now + Duration::from_millis(throttle));
        }
        if fetched.code != 0 {
            let code = Code(fetched.code.into());
            let name = self.drop_link(id, now);
            self.tell(None, format!("{name}: {code}"));
            return Ok(());
        }
        node.backoff.succeeded();
        let mut sections = VecDeque::new();
        let mut ends = Vec::new();
        let mut outcome = Ok(());
        for found in fetched.parts {
            let Some(wanted) = asked.iter().find(|part| part.partition == found.partition) else {
                continue;
            };
            let out = (&mut sections, &mut ends);
            outcome = self.take_part((found, wanted), &answer, out, now);
            if outcome.is_err() {
                // What was taken before it waits all the same: who reads on begins with that.
                break;
            }
        }
        if sections.is_empty() && ends.is_empty() {
            return outcome;
        }
        answer.resize(answer.len() + MessageBatch::PADDING, 0);
        let buffer = self.setup.spares.lend(answer);
        let mut delivery = Delivery::new(id, buffer, sections);
        delivery.ends = ends;
        self.ready.push_back(delivery);
        self.nodes.entry(id).or_default().waiting += 1;
        outcome
    }

    fn take_part(
        &mut self,
        (found, wanted): (FetchedPart, &Wanted),
        answer: &[u8],
        (sections, ends): (&mut VecDeque<Section>, &mut Vec<PartitionEnd>),
        now: Instant,
    ) -> Result<(), Stop> {
        let committed = self.options.read_committed;
        let Some(part) = self
            .parts
            .iter_mut()
            .find(|part| part.id.0 == found.partition)
        else {
            return Ok(());
        };
        if part.next != wanted.offset {
            return Ok(());
        }
        if found.code != 0 {
            return self.partition_failed(found.partition, Code(found.code.into()), now);
        }
        let bytes = &answer[found.records.clone()];
        let id = part.id;
        let reach = match batch::reach(bytes, part.next) {
            Ok(reach) => reach,
            Err(Fault::OldFormat) => return Err(Stop::Unserved(WhyLibrary::OldFormat)),
            Err(Fault::Corrupt(reason)) => {
                return Err(Stop::Failed(corrupt(
                    &self.options.topic,
                    Some(id),
                    &reason,
                )));
            }
        };
        let limit = if committed && found.last_stable >= 0 {
            found.last_stable
        } else {
            found.high_watermark
        };
        part.known_end = Some(limit);
        if bytes.is_empty() {
            part.answered();
            ends.extend(part.end(limit));
            return Ok(());
        }
        if reach.whole == 0 {
            let is_first = sections.is_empty();
            return self.take_fragment((bytes, is_first), wanted, now);
        }
        if reach.next == part.next {
            // Asking again at once would give the same again.
            part.backoff.failed(now);
            let before = format!("the broker sent only records before offset {}", part.next);
            self.tell(Some(id), before);
            return Ok(());
        }
        let batches = found.records.start..found.records.start + reach.whole;
        sections.push_back(Section::new(id, batches, part.next, found.aborted));
        part.next = reach.next;
        part.answered();
        part.bytes_max = None;
        part.end_told = None;
        // After a transaction the end lies beyond the last message: that this was all is told with it.
        ends.extend(part.end(limit));
        Ok(())
    }

    /// A partition's next batch is not all there: more is asked for, as far as that can help.
    fn take_fragment(
        &mut self,
        (bytes, is_first): (&[u8], bool),
        wanted: &Wanted,
        now: Instant,
    ) -> Result<(), Stop> {
        let bytes_max = self.setup.answer_bytes_max;
        let announced = batch::announced(bytes);
        let mut parts = self.parts.iter_mut();
        let part = parts.find(|part| part.id.0 == wanted.partition);
        let part = part.expect("its caller has found it");
        let id = part.id;
        if let Some(found) = announced.filter(|found| *found > bytes_max) {
            let reason = format!(
                "a batch of {found} bytes is announced, and kafka.receive.message.max.bytes is {bytes_max}"
            );
            return Err(Stop::Failed(corrupt(
                &self.options.topic,
                Some(id),
                &reason,
            )));
        }
        let asked = usize::try_from(wanted.bytes_max).unwrap_or(0);
        if is_first && announced.is_none_or(|found| found <= asked) {
            // The first batch of an answer comes whole, whatever the limits are. Asking again at once would give the
            // same again.
            part.backoff.failed(now);
            let cut = format!(
                "the broker sent a part only of the batch at offset {}",
                part.next
            );
            self.tell(Some(id), cut);
            return Ok(());
        }
        part.answered();
        part.grow(announced, wanted, bytes_max);
        Ok(())
    }

    /// What a partition's code means: a problem that passes, or an error.
    fn partition_failed(&mut self, partition: i32, code: Code, now: Instant) -> Result<(), Stop> {
        let topic = &self.options.topic;
        let found = self.parts.iter_mut().find(|part| part.id.0 == partition);
        let part = found.expect("its caller has found it");
        let (id, next) = (part.id, Offset(part.next));
        let error = match code.meaning() {
            Meaning::OffsetGone if part.is_gone(now) => {
                offset_gone(topic, Some(id), next, &code.to_string())
            }
            Meaning::Refused => refused(topic),
            Meaning::Corrupt => corrupt(topic, Some(id), &code.to_string()),
            Meaning::Fatal | Meaning::NotAuthenticated => unreadable(topic, &code.to_string()),
            meaning => {
                part.is_doubted |= meaning == Meaning::TopicGone;
                part.backoff.failed(now);
                part.end_told = None;
                self.leaders.wanted = true;
                self.tell(Some(id), code.to_string());
                return Ok(());
            }
        };
        Err(Stop::Failed(error))
    }
}
