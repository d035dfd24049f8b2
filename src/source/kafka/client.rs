//! One client of the library: made from its properties, destroyed beside the caller.
//!
//! Owns the handle and the library's callbacks. Everything else in this room calls the library with
//! this handle.
//! Invariant: the handle outlives every object made from it, and [`Reports`] outlives the handle.

#![expect(
    unsafe_code,
    reason = "the batch queue and the callbacks exist only in the C interface"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

use rdkafka_sys as sys;

use super::code::Code;
use super::properties::Properties;
use super::report::Reports;
use crate::error::{Error, Result, SqlState};
use crate::task;

/// Room for the library's error texts.
const TEXT_BYTES: usize = 512;

/// A consuming client of the library. Its calls may be made from several threads at once.
#[derive(Debug)]
pub(crate) struct Client {
    /// `None` only while it is dropped.
    handle: Option<Handle>,
}

#[derive(Debug)]
struct Handle {
    client: NonNull<sys::rd_kafka_t>,
    reports: Arc<Reports>,
}

// SAFETY: the library promises that a handle may be used from every thread; `Reports` is Sync.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Client {
    /// Makes a client; no server is asked yet.
    ///
    /// # Errors
    /// When a property is unknown, has a value that the library refuses, or contradicts another.
    pub(crate) fn new(properties: &Properties) -> Result<Self> {
        let servers = properties
            .get("bootstrap.servers")
            .map_or("", String::as_str);
        let reports = Arc::new(Reports::new(servers));
        let conf = Conf::new(properties)?;
        // SAFETY: `conf` is valid; the callbacks match their declared types. The library keeps the
        // pointer to `reports` until the handle is destroyed, and `Handle` keeps `reports` longer.
        unsafe {
            sys::rd_kafka_conf_set_opaque(conf.0, Arc::as_ptr(&reports).cast_mut().cast());
            sys::rd_kafka_conf_set_log_cb(conf.0, Some(on_log));
            sys::rd_kafka_conf_set_error_cb(conf.0, Some(on_error));
        }
        let mut text = [0 as c_char; TEXT_BYTES];
        // SAFETY: `text` is writable for its length. On success the library owns `conf`.
        let client = unsafe {
            sys::rd_kafka_new(
                sys::rd_kafka_type_t::RD_KAFKA_CONSUMER,
                conf.0,
                text.as_mut_ptr(),
                text.len(),
            )
        };
        let Some(client) = NonNull::new(client) else {
            return Err(refused(&text_of(&text)));
        };
        std::mem::forget(conf);
        Ok(Self {
            handle: Some(Handle { client, reports }),
        })
    }

    /// The library's handle, valid as long as `self`.
    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_t {
        self.handle().client.as_ptr()
    }

    /// What the client told beside its answers.
    pub(super) fn reports(&self) -> &Reports {
        &self.handle().reports
    }

    /// Lets the library hand over the errors that belong to no call.
    pub(super) fn take_errors(&self) -> Vec<(Code, String)> {
        // SAFETY: the handle is valid; the call only runs `on_error` on this thread.
        unsafe { sys::rd_kafka_poll(self.as_ptr(), 0) };
        self.reports().take_errors()
    }

    fn handle(&self) -> &Handle {
        self.handle.as_ref().expect("taken only by drop")
    }
}

impl Drop for Client {
    /// Returns at once: the library joins its threads and frees what it fetched ahead on a thread of
    /// its own, which may take a while when a broker is gone.
    fn drop(&mut self) {
        let handle = self.handle.take();
        if let Err(error) = task::spawn_thread("kafka-drop", move || drop(handle)) {
            tracing::debug!(target: "kafka", %error, "no thread to destroy a client on");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: nothing made from the handle is left, by the invariant above; `reports` is dropped
        // after this call, in which the library joins all threads that may use it.
        unsafe {
            sys::rd_kafka_destroy_flags(
                self.client.as_ptr(),
                sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE,
            );
        }
    }
}

/// A configuration that no client has taken over yet.
struct Conf(*mut sys::rd_kafka_conf_t);

impl Conf {
    fn new(properties: &Properties) -> Result<Self> {
        // SAFETY: takes no argument and returns an owned configuration.
        let conf = Self(unsafe { sys::rd_kafka_conf_new() });
        for (name, value) in properties {
            conf.set(name, value)?;
        }
        Ok(conf)
    }

    fn set(&self, name: &str, value: &str) -> Result<()> {
        let mut text = [0 as c_char; TEXT_BYTES];
        let c_name = c_string(name)?;
        let c_value = c_string(value)?;
        // SAFETY: all pointers are valid for the call.
        let outcome = unsafe {
            sys::rd_kafka_conf_set(
                self.0,
                c_name.as_ptr(),
                c_value.as_ptr(),
                text.as_mut_ptr(),
                text.len(),
            )
        };
        match outcome {
            sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK => Ok(()),
            sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_UNKNOWN => Err(Error::user(
                SqlState::UndefinedObject,
                format!("property \"kafka.{name}\" does not exist"),
            )
            .hint("The part after \"kafka.\" is a property of librdkafka.")),
            sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_INVALID => Err(Error::user(
                SqlState::InvalidParameterValue,
                format!("invalid value for property \"kafka.{name}\""),
            )
            .detail(sentence(&text_of(&text)))),
        }
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: still owned here; a client that took it over made us forget it.
        unsafe { sys::rd_kafka_conf_destroy(self.0) };
    }
}

/// A name or value for the library.
///
/// # Errors
/// When it holds a zero byte.
pub(super) fn c_string(text: &str) -> Result<CString> {
    CString::new(text)
        .map_err(|_| Error::user(SqlState::InvalidParameterValue, "a name holds a zero byte"))
}

fn refused(text: &str) -> Error {
    Error::user(
        SqlState::InvalidParameterValue,
        "the kafka properties contradict each other",
    )
    .detail(sentence(text))
}

/// The library's text as the sentence that a detail is.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}

fn text_of(text: &[c_char; TEXT_BYTES]) -> String {
    // SAFETY: the library ends the text with a zero within the array; it began as zeros.
    unsafe { CStr::from_ptr(text.as_ptr()) }
        .to_string_lossy()
        .into_owned()
}

/// Runs on a thread of the library.
unsafe extern "C" fn on_log(
    client: *const sys::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    text: *const c_char,
) {
    // SAFETY: the library gives valid C strings; the opaque pointer is the client's `Reports`, which
    // outlives the client.
    unsafe {
        if let Some(reports) = sys::rd_kafka_opaque(client).cast::<Reports>().as_ref() {
            let facility = CStr::from_ptr(facility).to_string_lossy();
            reports.log(level, &facility, &CStr::from_ptr(text).to_string_lossy());
        }
    }
}

/// Runs on the thread that polls.
unsafe extern "C" fn on_error(
    _client: *mut sys::rd_kafka_t,
    code: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: as for `on_log`.
    unsafe {
        if let Some(reports) = opaque.cast::<Reports>().as_ref() {
            reports.error(Code(code), &CStr::from_ptr(reason).to_string_lossy());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Client, sentence};
    use crate::error::SqlState;
    use crate::source::kafka::properties::for_metadata;
    use crate::types::KafkaConnection;

    fn connect(name: &str, value: &str) -> crate::error::Result<Client> {
        let connection = KafkaConnection {
            bootstrap_servers: "127.0.0.1:1".to_owned(),
            properties: [(name.to_owned(), value.to_owned())].into(),
        };
        Client::new(&for_metadata(&connection)?)
    }

    #[test]
    fn an_unknown_property_is_an_error_that_names_it() {
        let error = connect("linger.mss", "1").unwrap_err();
        assert_eq!(error.state(), SqlState::UndefinedObject);
        assert_eq!(
            error.message(),
            "property \"kafka.linger.mss\" does not exist"
        );
    }

    #[test]
    fn an_invalid_value_is_an_error_that_says_which() {
        let error = connect("socket.timeout.ms", "soon").unwrap_err();
        assert_eq!(error.state(), SqlState::InvalidParameterValue);
        assert!(error.detail_text().unwrap().contains("socket.timeout.ms"));
    }

    #[test]
    fn a_detail_is_a_sentence() {
        assert_eq!(sentence("no such host"), "No such host.");
        assert_eq!(sentence(""), "");
    }
}
