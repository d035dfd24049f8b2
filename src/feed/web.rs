//! Asking an HTTP endpoint: time-outs, a limit on the answer, and which failures pass by themselves.
//!
//! Invariant: no address, header or token is in an error's text: any of them may be secret.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use crate::error::{Error, Result, SqlState};

/// How long it may take to connect, and to have the whole answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer at the most.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// So many redirects are followed.
const REDIRECTS_MAX: usize = 5;
/// What an endpoint may ask for as a wait at the most.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A header that is sent with each request.
pub(super) type Header = (String, String);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It passes by itself, after a time that the endpoint may have named.
    Passing {
        what: String,
        retry_after: Option<Duration>,
    },
    /// Asking again does not help.
    Final(Error),
}

impl Trouble {
    /// Passes by itself.
    pub(super) fn passing(what: impl fmt::Display) -> Self {
        Self::Passing {
            what: what.to_string(),
            retry_after: None,
        }
    }
}

/// A client whose connections are kept.
///
/// # Errors
/// When the system's certificates cannot be used.
pub(super) fn client() -> Result<Client> {
    let client = Client::builder()
        .use_rustls_tls()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ANSWER_TIMEOUT)
        .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
        // An address may hold a token.
        .referer(false)
        .redirect(Policy::custom(redirected))
        .build();
    client.map_err(|error| {
        let message = "could not set up HTTP";
        Error::external(SqlState::ConnectionUnable, false, message).detail(cause(error))
    })
}

/// Follows a redirect within the endpoint's own origin: another one is not to be sent its headers. Else the
/// redirect is the answer.
fn redirected(attempt: Attempt<'_>) -> Action {
    let before = attempt.previous().last();
    let is_own = before.is_some_and(|before| before.origin() == attempt.url().origin());
    match is_own && attempt.previous().len() <= REDIRECTS_MAX {
        true => attempt.follow(),
        false => attempt.stop(),
    }
}

/// Reads an address of one of these schemes.
///
/// # Errors
/// When it is none.
pub(super) fn url(text: &str, schemes: &[&str]) -> Result<Url> {
    let url = Url::parse(text).ok();
    url.filter(|url| schemes.contains(&url.scheme()) && url.has_host())
        .ok_or_else(|| {
            let wanted = schemes.join(":// or ");
            Error::user(SqlState::InvalidParameterValue, "invalid URL")
                .hint(format!("Write a whole URL that begins with {wanted}://."))
        })
}

/// The headers as they are sent.
///
/// # Errors
/// When one cannot be one.
pub(super) fn headers(headers: &[Header]) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let invalid = || {
            let message = format!("invalid header \"{name}\"");
            Error::user(SqlState::InvalidParameterValue, message)
                .hint("Names are letters, digits and hyphens; values have no line breaks.")
        };
        let key: HeaderName = name.parse().map_err(|_| invalid())?;
        let mut value: HeaderValue = value.parse().map_err(|_| invalid())?;
        value.set_sensitive(true);
        map.append(key, value);
    }
    Ok(map)
}

/// Sends a request and reads the answer as text.
pub(super) async fn ask(request: RequestBuilder) -> Result<String, Trouble> {
    let sent = request.send().await;
    let mut answer = sent.map_err(|error| Trouble::passing(cause(error)))?;
    if !answer.status().is_success() {
        return Err(refused(&answer));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| Trouble::passing(cause(error)))?
    {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            let limit = ANSWER_BYTES_MAX >> 20;
            let message = format!("the answer is larger than {limit} MiB");
            let error = Error::external(SqlState::ProgramLimitExceeded, false, message);
            return Err(Trouble::Final(error.hint("Ask for smaller pages.")));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| Trouble::passing("the answer is not UTF-8"))
}

fn refused(answer: &Response) -> Trouble {
    let status = answer.status();
    let what = format!("the endpoint answered {status}");
    if is_final(status) {
        return Trouble::Final(final_error(status));
    }
    let asked = answer.headers().get(RETRY_AFTER);
    let seconds = asked.and_then(|asked| asked.to_str().ok()?.trim().parse().ok());
    Trouble::Passing {
        what,
        retry_after: seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
    }
}

/// The error of a status that does not pass.
pub(super) fn final_error(status: StatusCode) -> Error {
    let state = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            SqlState::InvalidAuthorizationSpecification
        }
        _ => SqlState::ConnectionFailure,
    };
    let error = Error::external(state, false, format!("the endpoint answered {status}"));
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            error.hint("Check the token: --token-env names the variable that holds it.")
        }
        _ => error.hint("Check the URL and its parameters."),
    }
}

/// True when the same request will be refused again.
pub(super) fn is_final(status: StatusCode) -> bool {
    let passing = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    status.is_client_error() && !passing.contains(&status)
}

/// What lies at the bottom of an error, without the address.
fn cause(error: reqwest::Error) -> String {
    let timed_out = error.is_timeout();
    let error = error.without_url();
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(inner) = below {
        text = inner.to_string();
        below = inner.source();
    }
    if timed_out {
        return format!("the endpoint did not answer in time ({text})");
    }
    format!("the endpoint could not be asked ({text})")
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::{headers, is_final, url};

    #[test]
    fn an_outage_passes_and_a_refusal_does_not() {
        for (code, expected) in [
            (400, true),
            (401, true),
            (404, true),
            (408, false),
            (429, false),
            (500, false),
            (503, false),
        ] {
            let status = StatusCode::from_u16(code).unwrap();
            assert_eq!(is_final(status), expected, "{code}");
        }
    }

    #[test]
    fn an_address_is_whole_and_of_a_known_scheme() {
        assert!(url("https://example.org/a?b=c", &["http", "https"]).is_ok());
        for text in [
            "example.org",
            "file:///etc/passwd",
            "ws://example.org",
            "https://",
        ] {
            assert!(url(text, &["http", "https"]).is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_s_value_is_not_shown_in_errors() {
        let error = headers(&[("X-Key".to_owned(), "secret\n".to_owned())]).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
