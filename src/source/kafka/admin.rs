//! Asking for offsets and making topics: requests whose answer comes through a queue.

#![expect(unsafe_code, reason = "the library answers in C structures")]

mod groups;

use std::ffi::{CStr, c_char};
use std::slice;
use std::time::Duration;

use rdkafka_sys as sys;

use super::client::{Client, c_string};
use super::code::Code;
use super::metadata::milliseconds;
use crate::error::{Error, Result};
use crate::types::{Offset, PartitionId};
pub(super) use groups::{delete_group, group_is_there};

/// Which offset of a partition is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    /// The first that is still there.
    Earliest,
    /// The one after the last; of committed records, if only those are read.
    Latest,
    /// The first whose record's timestamp (milliseconds since the Unix epoch) is not earlier.
    AtOrAfter(i64),
}

/// A code and, if the broker gave one, its text.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) text: String,
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self {
            code,
            text: code.to_string(),
        }
    }
}

/// The answers in the order of `partitions`; `None` where no record is so late.
pub(super) type Offsets = Vec<(PartitionId, Option<Offset>)>;

/// Asks the leaders of all partitions at once. Blocks up to `timeout`.
///
/// # Errors
/// The outer error is a topic name that cannot be one; the inner one is the cluster's.
pub(super) fn offsets(
    client: &Client,
    topic: &str,
    partitions: &[PartitionId],
    which: Which,
    (read_committed, timeout): (bool, Duration),
) -> Result<std::result::Result<Offsets, Failure>> {
    let topic = c_string(topic)?;
    let request = Request::new(
        client,
        sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
        timeout,
    )?;
    let wanted = match which {
        Which::Earliest => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST as i64,
        Which::Latest => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST as i64,
        Which::AtOrAfter(time_ms) => time_ms.max(0),
    };
    // SAFETY: all pointers are valid for the calls; the library copies list and options.
    unsafe {
        if read_committed {
            let refused = sys::rd_kafka_AdminOptions_set_isolation_level(
                request.options,
                sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
            );
            assert!(
                refused.is_null(),
                "a request for offsets takes an isolation level"
            );
        }
        let list = sys::rd_kafka_topic_partition_list_new(
            i32::try_from(partitions.len()).unwrap_or(i32::MAX),
        );
        for partition in partitions {
            let item = sys::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), partition.0);
            (*item).offset = wanted;
        }
        sys::rd_kafka_ListOffsets(client.as_ptr(), list, request.options, request.queue);
        sys::rd_kafka_topic_partition_list_destroy(list);
    }
    Ok(request
        .answer(timeout)
        .and_then(|answer| answer.offsets(partitions)))
}

/// Makes a topic. Blocks up to `timeout`. A replication of -1 is the broker's default.
///
/// # Errors
/// The outer error is a topic name or number that cannot be one; the inner one is the cluster's.
pub(super) fn create_topic(
    client: &Client,
    topic: &str,
    partitions: i32,
    replication: i32,
    timeout: Duration,
) -> Result<std::result::Result<(), Failure>> {
    let name = c_string(topic)?;
    let request = Request::new(
        client,
        sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS,
        timeout,
    )?;
    let mut text = [0 as c_char; 512];
    // SAFETY: all pointers are valid for the calls; the library copies topic and options.
    unsafe {
        let mut wanted = sys::rd_kafka_NewTopic_new(
            name.as_ptr(),
            partitions,
            replication,
            text.as_mut_ptr(),
            text.len(),
        );
        if wanted.is_null() {
            let text = CStr::from_ptr(text.as_ptr()).to_string_lossy();
            return Err(Error::user(
                crate::error::SqlState::InvalidParameterValue,
                format!("topic \"{topic}\" cannot be created"),
            )
            .detail(super::client::sentence(&text)));
        }
        sys::rd_kafka_CreateTopics(
            client.as_ptr(),
            &raw mut wanted,
            1,
            request.options,
            request.queue,
        );
        sys::rd_kafka_NewTopic_destroy(wanted);
    }
    Ok(request.answer(timeout).and_then(|answer| answer.created()))
}

/// Asks what tells the topic from every other one, also from an earlier one of its name; `None` when
/// the cluster does not know. Blocks up to `timeout`.
///
/// # Errors
/// The outer error is a topic name that cannot be one; the inner one is the cluster's.
pub(super) fn topic_id(
    client: &Client,
    topic: &str,
    timeout: Duration,
) -> Result<std::result::Result<Option<String>, Failure>> {
    let name = c_string(topic)?;
    let request = Request::new(
        client,
        sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        timeout,
    )?;
    // SAFETY: all pointers are valid for the calls; the library copies names and options.
    unsafe {
        let mut names = [name.as_ptr()];
        let wanted = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        sys::rd_kafka_DescribeTopics(client.as_ptr(), wanted, request.options, request.queue);
        sys::rd_kafka_TopicCollection_destroy(wanted);
    }
    Ok(request.answer(timeout).and_then(|answer| answer.topic_id()))
}

/// One request's options and the queue on which its answer arrives.
struct Request {
    options: *mut sys::rd_kafka_AdminOptions_t,
    queue: *mut sys::rd_kafka_queue_t,
}

impl Request {
    fn new(client: &Client, kind: sys::rd_kafka_admin_op_t, timeout: Duration) -> Result<Self> {
        let mut text = [0 as c_char; 512];
        // SAFETY: the handle is valid; both objects are owned by the request.
        let (request, code) = unsafe {
            let options = sys::rd_kafka_AdminOptions_new(client.as_ptr(), kind);
            let queue = sys::rd_kafka_queue_new(client.as_ptr());
            let code = sys::rd_kafka_AdminOptions_set_request_timeout(
                options,
                milliseconds(timeout).clamp(1, 3_600_000),
                text.as_mut_ptr(),
                text.len(),
            );
            (Self { options, queue }, Code(code as i32))
        };
        if code.is_ok() {
            Ok(request)
        } else {
            Err(Error::internal(format!("request time-out: {code}")))
        }
    }

    fn answer(&self, timeout: Duration) -> std::result::Result<Answer, Failure> {
        // A little longer than the request itself may take, so that its own reason is heard.
        let patience = milliseconds(timeout).saturating_add(200);
        // SAFETY: the queue is valid; the event is owned by the answer.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue, patience) };
        if event.is_null() {
            let late = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT;
            return Err(Code(late as i32).into());
        }
        let answer = Answer(event);
        // SAFETY: the event is valid; its text, if there is one, is a C string.
        let (code, text) = unsafe {
            let code = Code(sys::rd_kafka_event_error(event) as i32);
            (code, text_or(sys::rd_kafka_event_error_string(event), code))
        };
        if code.is_ok() {
            Ok(answer)
        } else {
            Err(Failure { code, text })
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // SAFETY: both are owned here and not used again.
        unsafe {
            sys::rd_kafka_AdminOptions_destroy(self.options);
            sys::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// An event that holds the result of a request.
struct Answer(*mut sys::rd_kafka_event_t);

impl Answer {
    fn offsets(&self, partitions: &[PartitionId]) -> std::result::Result<Offsets, Failure> {
        // SAFETY: the event is valid and holds offsets; its arrays live as long as it does.
        let found = unsafe {
            let result = sys::rd_kafka_event_ListOffsets_result(self.0);
            assert!(
                !result.is_null(),
                "the queue holds only the answer to its own request"
            );
            let mut count = 0;
            let infos = sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
            array(infos, count)
                .iter()
                .map(|info| {
                    let item = sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*info);
                    let code = Code::read(&raw const (*item).err);
                    (PartitionId((*item).partition), (*item).offset, code)
                })
                .collect::<Vec<_>>()
        };
        if let Some((_, _, code)) = found.iter().find(|(_, _, code)| !code.is_ok()) {
            return Err((*code).into());
        }
        partitions
            .iter()
            .map(|wanted| {
                let (_, offset, _) = found
                    .iter()
                    .find(|(partition, _, _)| partition == wanted)
                    .ok_or_else(|| {
                        let missing =
                            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
                        Failure::from(Code(missing as i32))
                    })?;
                Ok((*wanted, (*offset >= 0).then_some(Offset(*offset))))
            })
            .collect()
    }

    fn topic_id(&self) -> std::result::Result<Option<String>, Failure> {
        // SAFETY: the event is valid and holds topics; its arrays and texts live as long as it does.
        unsafe {
            let result = sys::rd_kafka_event_DescribeTopics_result(self.0);
            assert!(
                !result.is_null(),
                "the queue holds only the answer to its own request"
            );
            let mut count = 0;
            let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            let Some(&topic) = array(topics.cast_const(), count).first() else {
                return Ok(None);
            };
            let code = sys::rd_kafka_error_code(sys::rd_kafka_TopicDescription_error(topic));
            let code = Code(code as i32);
            if !code.is_ok() {
                return Err(code.into());
            }
            let id = sys::rd_kafka_TopicDescription_topic_id(topic);
            if id.is_null() || bits_of(id) == (0, 0) {
                return Ok(None);
            }
            Ok(Some(text_or(sys::rd_kafka_Uuid_base64str(id), code)))
        }
    }

    fn created(&self) -> std::result::Result<(), Failure> {
        // SAFETY: the event is valid and holds topics; its arrays live as long as it does.
        unsafe {
            let result = sys::rd_kafka_event_CreateTopics_result(self.0);
            assert!(
                !result.is_null(),
                "the queue holds only the answer to its own request"
            );
            let mut count = 0;
            let topics = sys::rd_kafka_CreateTopics_result_topics(result, &raw mut count);
            for topic in array(topics, count) {
                let code = Code(sys::rd_kafka_topic_result_error(*topic) as i32);
                if !code.is_ok() {
                    let text = text_or(sys::rd_kafka_topic_result_error_string(*topic), code);
                    return Err(Failure { code, text });
                }
            }
        }
        Ok(())
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: owned here and not used again.
        unsafe { sys::rd_kafka_event_destroy(self.0) };
    }
}

/// # Safety
/// `first` must point to `count` items, unless `count` is 0.
unsafe fn array<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if count == 0 || first.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(first, count) }
}

/// # Safety
/// `id` must be valid.
unsafe fn bits_of(id: *const sys::rd_kafka_Uuid_t) -> (i64, i64) {
    // SAFETY: the caller's promise.
    unsafe {
        let high = sys::rd_kafka_Uuid_most_significant_bits(id);
        (high, sys::rd_kafka_Uuid_least_significant_bits(id))
    }
}

/// # Safety
/// `text` must be null or a C string.
unsafe fn text_or(text: *const c_char, code: Code) -> String {
    if text.is_null() {
        return code.to_string();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}
