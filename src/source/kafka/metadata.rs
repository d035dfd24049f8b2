//! Asking which topics there are and which partitions they have.

#![expect(unsafe_code, reason = "the library answers in C structures")]

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::ptr;
use std::slice;
use std::time::Duration;

use rdkafka_sys as sys;

use super::client::{Client, c_string};
use super::code::Code;
use crate::error::Result;
use crate::types::PartitionId;

/// What the cluster says of one topic.
#[derive(Debug)]
pub(super) struct TopicMetadata {
    pub(super) name: String,
    /// Not [`Code::OK`] when the topic does not exist or may not be seen.
    pub(super) code: Code,
    /// In ascending order.
    pub(super) partitions: Vec<PartitionId>,
}

/// Asks for one topic, or for all. Blocks up to `timeout`; never creates a topic.
///
/// # Errors
/// The outer error is a topic name that cannot be one; the inner one is the library's code.
pub(super) fn fetch(
    client: &Client,
    topic: Option<&str>,
    timeout: Duration,
) -> Result<std::result::Result<Vec<TopicMetadata>, Code>> {
    let topic = match topic {
        Some(name) => {
            let name = c_string(name)?;
            // SAFETY: handle and name are valid; no topic configuration is passed on.
            Some(unsafe {
                sys::rd_kafka_topic_new(client.as_ptr(), name.as_ptr(), ptr::null_mut())
            })
        }
        None => None,
    };
    let mut answer: *const sys::rd_kafka_metadata = ptr::null();
    // SAFETY: handle and topic are valid; `answer` is written on success only.
    let failure = unsafe {
        sys::rd_kafka_metadata(
            client.as_ptr(),
            i32::from(topic.is_none()),
            topic.unwrap_or(ptr::null_mut()),
            &raw mut answer,
            milliseconds(timeout),
        )
    };
    if let Some(topic) = topic {
        // SAFETY: made above, and not used again.
        unsafe { sys::rd_kafka_topic_destroy(topic) };
    }
    let code = Code(failure as i32);
    if !code.is_ok() {
        return Ok(Err(code));
    }
    // SAFETY: on success `answer` is a valid structure, which lives until it is destroyed.
    let topics = unsafe {
        let topics = list(&*answer);
        sys::rd_kafka_metadata_destroy(answer);
        topics
    };
    Ok(Ok(topics))
}

/// Asks for the addresses by which the cluster's brokers want to be reached. Blocks up to `timeout`.
///
/// # Errors
/// The library's code.
pub(super) fn brokers(
    client: &Client,
    timeout: Duration,
) -> std::result::Result<BTreeSet<String>, Code> {
    let mut answer: *const sys::rd_kafka_metadata = ptr::null();
    // SAFETY: the handle is valid, no topic is asked for; `answer` is written on success only.
    let failure = unsafe {
        sys::rd_kafka_metadata(
            client.as_ptr(),
            1,
            ptr::null_mut(),
            &raw mut answer,
            milliseconds(timeout),
        )
    };
    let code = Code(failure as i32);
    if !code.is_ok() {
        return Err(code);
    }
    // SAFETY: on success `answer` is a valid structure, which lives until it is destroyed; a
    // broker's host is a C string.
    unsafe {
        let brokers = items((*answer).brokers, (*answer).broker_cnt).iter();
        let addresses = brokers
            .map(|broker| {
                let host = CStr::from_ptr(broker.host).to_string_lossy();
                format!("{host}:{}", broker.port)
            })
            .collect();
        sys::rd_kafka_metadata_destroy(answer);
        Ok(addresses)
    }
}

/// # Safety
/// The structure's pointers must be valid for its counts.
unsafe fn list(answer: &sys::rd_kafka_metadata) -> Vec<TopicMetadata> {
    // SAFETY: the caller's promise.
    let topics = unsafe { items(answer.topics, answer.topic_cnt) };
    topics
        .iter()
        .map(|topic| {
            // SAFETY: as above; the name is a C string.
            let (name, partitions, code) = unsafe {
                (
                    CStr::from_ptr(topic.topic),
                    items(topic.partitions, topic.partition_cnt),
                    Code::read(&raw const topic.err),
                )
            };
            let mut partitions: Vec<_> = partitions.iter().map(|p| PartitionId(p.id)).collect();
            partitions.sort_unstable();
            TopicMetadata {
                name: name.to_string_lossy().into_owned(),
                code,
                partitions,
            }
        })
        .collect()
}

/// # Safety
/// `first` must point to `count` items that live as long as the result, unless `count` is 0.
unsafe fn items<'a, T>(first: *const T, count: i32) -> &'a [T] {
    match usize::try_from(count) {
        // SAFETY: the caller's promise.
        Ok(count) if count > 0 => unsafe { slice::from_raw_parts(first, count) },
        _ => &[],
    }
}

/// A timeout for the library: at least 1 ms unless it is zero.
pub(super) fn milliseconds(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::milliseconds;

    #[test]
    fn a_short_timeout_is_not_rounded_to_none() {
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::from_micros(1)), 1);
        assert_eq!(milliseconds(Duration::from_millis(5000)), 5000);
        assert_eq!(milliseconds(Duration::MAX), i32::MAX);
    }
}
