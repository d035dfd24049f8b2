//! Consumer groups: whether one is there, and its end.

use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Resp;

use super::{Answer, Client, Code, Duration, Failure, Request, array, c_string};
use crate::error::Result;

/// Whether the cluster keeps a group of that name, with members or only with offsets. Blocks up to
/// `timeout`.
///
/// # Errors
/// The outer error is a name that cannot be one; the inner one is the cluster's.
pub(in super::super) fn group_is_there(
    client: &Client,
    group: &str,
    timeout: Duration,
) -> Result<std::result::Result<bool, Failure>> {
    let name = c_string(group)?;
    let request = Request::new(
        client,
        sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
        timeout,
    )?;
    // SAFETY: all pointers are valid for the call; the library copies names and options.
    unsafe {
        let mut names = [name.as_ptr()];
        sys::rd_kafka_DescribeConsumerGroups(
            client.as_ptr(),
            names.as_mut_ptr(),
            names.len(),
            request.options,
            request.queue,
        );
    }
    let answer = request.answer(timeout);
    Ok(answer.and_then(|answer| answer.has_group()))
}

/// Deletes a group without members; one that is not there is deleted. Blocks up to `timeout`.
///
/// # Errors
/// The outer error is a name that cannot be one; the inner one is the cluster's.
pub(in super::super) fn delete_group(
    client: &Client,
    group: &str,
    timeout: Duration,
) -> Result<std::result::Result<(), Failure>> {
    let name = c_string(group)?;
    let request = Request::new(
        client,
        sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEGROUPS,
        timeout,
    )?;
    // SAFETY: all pointers are valid for the calls; the library copies group and options.
    unsafe {
        let mut wanted = sys::rd_kafka_DeleteGroup_new(name.as_ptr());
        sys::rd_kafka_DeleteGroups(
            client.as_ptr(),
            &raw mut wanted,
            1,
            request.options,
            request.queue,
        );
        sys::rd_kafka_DeleteGroup_destroy(wanted);
    }
    let answer = request.answer(timeout);
    Ok(answer.and_then(|answer| answer.group_deleted()))
}

/// What an answer about one group means; `None`: there is no such group.
fn outcome(code: Code) -> std::result::Result<Option<()>, Failure> {
    if code.is_ok() {
        return Ok(Some(()));
    }
    match code.is(Resp::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) {
        true => Ok(None),
        false => Err(code.into()),
    }
}

impl Answer {
    fn has_group(&self) -> std::result::Result<bool, Failure> {
        // SAFETY: the event is valid and holds groups; its arrays live as long as it does.
        let found = unsafe {
            let result = sys::rd_kafka_event_DescribeConsumerGroups_result(self.0);
            assert!(
                !result.is_null(),
                "the queue holds only the answer to its own request"
            );
            let mut count = 0;
            let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
            let group = array(groups.cast_const(), count).first();
            group.map(|group| {
                let error = sys::rd_kafka_ConsumerGroupDescription_error(*group);
                let state = sys::rd_kafka_ConsumerGroupDescription_state(*group);
                (Code(sys::rd_kafka_error_code(error) as i32), state)
            })
        };
        let Some((code, state)) = found else {
            return Ok(false);
        };
        let dead = sys::rd_kafka_consumer_group_state_t::RD_KAFKA_CONSUMER_GROUP_STATE_DEAD;
        Ok(outcome(code)?.is_some() && state != dead)
    }

    fn group_deleted(&self) -> std::result::Result<(), Failure> {
        // SAFETY: the event is valid and holds groups; its arrays live as long as it does.
        let codes = unsafe {
            let result = sys::rd_kafka_event_DeleteGroups_result(self.0);
            assert!(
                !result.is_null(),
                "the queue holds only the answer to its own request"
            );
            let mut count = 0;
            let groups = sys::rd_kafka_DeleteGroups_result_groups(result, &raw mut count);
            let groups = array(groups.cast_const(), count).iter();
            groups
                .map(|group| {
                    let error = sys::rd_kafka_group_result_error(*group);
                    Code(sys::rd_kafka_error_code(error) as i32)
                })
                .collect::<Vec<_>>()
        };
        codes
            .into_iter()
            .try_for_each(|code| outcome(code).map(drop))
    }
}
