//! The client library's error codes, and which of them end a reader.
//!
//! A code is kept as the number it is: a broker newer than the library may send one that the
//! library's own enumeration does not hold.

#![expect(unsafe_code, reason = "the library's texts are C strings")]

use std::ffi::CStr;
use std::fmt;

use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Resp;

/// An error code of the broker (positive) or of the library (negative).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) i32);

/// What a code means to one who reads or writes a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Passes by itself: the library tries again.
    Passing,
    /// A partition has no leader, or another one than was asked: passes in a moment.
    Moving,
    /// No broker answers; the library tries again.
    Unreachable,
    /// The partition's end was reached; not an error.
    End,
    /// The wanted offset is no longer, or not yet, in the partition.
    OffsetGone,
    /// The topic may be gone; the broker has to be asked.
    TopicGone,
    /// The broker refuses this user.
    Refused,
    /// The broker does not know this user.
    NotAuthenticated,
    /// What the broker sent cannot be read.
    Corrupt,
    /// The library has given up.
    Fatal,
}

impl Code {
    pub(crate) const OK: Self = Self(0);
    pub(crate) const UNKNOWN_PARTITION: Self =
        Self(Resp::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION as i32);

    /// The code at `place`, read as the number that it is.
    ///
    /// # Safety
    /// `place` must point to a readable code.
    pub(crate) unsafe fn read(place: *const Resp) -> Self {
        // SAFETY: the caller's promise; the enumeration is `repr(i32)`.
        Self(unsafe { place.cast::<i32>().read() })
    }

    pub(crate) fn is_ok(self) -> bool {
        self == Self::OK
    }

    pub(crate) fn is(self, code: Resp) -> bool {
        self.0 == code as i32
    }

    pub(crate) fn meaning(self) -> Meaning {
        let Ok(code) = Resp::try_from(self.0) else {
            return Meaning::Passing;
        };
        match code {
            Resp::RD_KAFKA_RESP_ERR__PARTITION_EOF => Meaning::End,
            // The library says of leaders that it looked for: there are none.
            Resp::RD_KAFKA_RESP_ERR__NOENT
            | Resp::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION
            | Resp::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
            | Resp::RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE
            | Resp::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR
            | Resp::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH
            | Resp::RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH
            | Resp::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE => Meaning::Moving,
            Resp::RD_KAFKA_RESP_ERR__TRANSPORT
            | Resp::RD_KAFKA_RESP_ERR__TIMED_OUT
            | Resp::RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE
            | Resp::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN
            | Resp::RD_KAFKA_RESP_ERR__RESOLVE
            | Resp::RD_KAFKA_RESP_ERR__SSL
            | Resp::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT => Meaning::Unreachable,
            Resp::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
            | Resp::RD_KAFKA_RESP_ERR__NO_OFFSET
            | Resp::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE => Meaning::OffsetGone,
            Resp::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | Resp::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
            | Resp::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID
            | Resp::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => Meaning::TopicGone,
            Resp::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
            | Resp::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED => Meaning::Refused,
            Resp::RD_KAFKA_RESP_ERR__AUTHENTICATION
            | Resp::RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED
            | Resp::RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM => Meaning::NotAuthenticated,
            // Not implemented is a format of batches or a compression; the library would go on behind them.
            Resp::RD_KAFKA_RESP_ERR__BAD_MSG
            | Resp::RD_KAFKA_RESP_ERR__BAD_COMPRESSION
            | Resp::RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED
            | Resp::RD_KAFKA_RESP_ERR_INVALID_MSG => Meaning::Corrupt,
            Resp::RD_KAFKA_RESP_ERR__FATAL
            | Resp::RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE
            | Resp::RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION => Meaning::Fatal,
            _ => Meaning::Passing,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(code) = Resp::try_from(self.0) else {
            return write!(f, "kafka error {}", self.0);
        };
        // SAFETY: the function takes every value of its enumeration and returns a static C string.
        let text = unsafe { CStr::from_ptr(sys::rd_kafka_err2str(code)) };
        f.write_str(&text.to_string_lossy())
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Meaning, Resp};

    #[test]
    fn a_code_that_the_library_does_not_know_passes_and_shows_its_number() {
        let code = Code(12_345);
        assert_eq!(code.meaning(), Meaning::Passing);
        assert_eq!(code.to_string(), "kafka error 12345");
    }

    #[test]
    fn a_lost_connection_and_a_moving_leader_are_told_apart() {
        let meaning = |code: Resp| Code(code as i32).meaning();
        for code in [
            Resp::RD_KAFKA_RESP_ERR__TRANSPORT,
            Resp::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
        ] {
            assert_eq!(meaning(code), Meaning::Unreachable);
        }
        assert_eq!(
            meaning(Resp::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
            Meaning::Moving
        );
    }
}
