//! What a request must not have told of it: an answer may echo its headers and its URL.

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use super::webhook::{IDEMPOTENCY_KEY, SIGNATURE, TIMESTAMP};

/// Stands for what is not told.
const MASK: &str = "***";
/// A shorter text is no secret, and would mask much else.
const CHARS_MIN: usize = 4;
/// A path like `/hook` is no secret either, and stands in many a reason.
const PATH_BYTES_MIN: usize = 16;

/// The texts of a request that may be secret.
#[derive(Debug, Clone, Default)]
pub(super) struct Mask(Vec<String>);

impl Mask {
    pub(super) fn of(url: &Url, headers: &HeaderMap) -> Self {
        let public = [CONTENT_TYPE, IDEMPOTENCY_KEY, SIGNATURE, TIMESTAMP];
        let given = headers.iter().filter(|(name, _)| !public.contains(name));
        let values: Vec<&str> = given.filter_map(|(_, value)| value.to_str().ok()).collect();
        // `Bearer TOKEN`: also the token alone.
        let words = values.iter().flat_map(|value| value.split_whitespace());
        let all = values.iter().copied().chain(words);
        let mut all: Vec<String> = all.map(str::to_owned).collect();
        all.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
        all.extend(url.query().map(str::to_owned));
        all.extend(url.password().map(str::to_owned));
        let path = Some(url.path().trim_matches('/')).filter(|path| path.len() >= PATH_BYTES_MIN);
        all.extend(path.map(str::to_owned));
        all.retain(|text| text.chars().count() >= CHARS_MIN);
        // The whole goes before its parts.
        all.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self(all)
    }

    /// The text without them.
    pub(super) fn applied(&self, text: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(text).into_owned();
        let masked = self
            .0
            .iter()
            .fold(text, |text, secret| text.replace(secret, MASK));
        masked.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{AUTHORIZATION, HeaderValue};

    use super::*;

    #[test]
    fn an_answer_that_echoes_the_request_tells_nothing_of_it() {
        let url = Url::parse("https://u:pass1234@h/services/T0/secretpath?key=querysecret&n=1");
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer xoxb-token"));
        headers.insert("x-key", HeaderValue::from_static("headersecret"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("idempotency-key", HeaderValue::from_static("public-1"));
        let mask = Mask::of(&url.unwrap(), &headers);
        let echo = "no: Bearer xoxb-token, token xoxb-token, headersecret, /services/T0/secretpath \
            ?key=querysecret&n=1 querysecret pass1234; application/json public-1";
        let told = String::from_utf8(mask.applied(echo.as_bytes())).unwrap();
        assert_eq!(
            told,
            "no: ***, token ***, ***, /*** ?*** *** ***; application/json public-1"
        );
    }
}
