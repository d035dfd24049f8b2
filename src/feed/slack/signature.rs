//! The signature by which Slack shows that a request is its own, and when it was made. Pure.

use ring::hmac;

/// How far a request's time may be from ours: an old one may have been overheard.
const AGE_SECONDS_MAX: u64 = 5 * 60;

/// What an app and Slack share.
#[derive(Debug)]
pub(super) struct SigningSecret(hmac::Key);

/// A request with what its headers say of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    /// `X-Slack-Request-Timestamp`: seconds since the Unix epoch.
    pub(super) timestamp: &'a str,
    /// `X-Slack-Signature`: `v0=` and the HMAC of `v0:TIMESTAMP:BODY` in hexadecimal.
    pub(super) signature: &'a str,
    pub(super) body: &'a [u8],
}

impl SigningSecret {
    /// Ready to check with.
    pub(super) fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// Checks that a request was signed with this secret, and lately. How long it takes does not tell
    /// how much of a signature is right.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(&self, signed: Signed<'_>, now_seconds: i64) -> Result<(), &'static str> {
        let Signed {
            timestamp,
            signature,
            body,
        } = signed;
        let given = signature.strip_prefix("v0=").and_then(bytes_of);
        let given = given.ok_or("it has no signature of Slack's")?;
        let mut text = format!("v0:{timestamp}:").into_bytes();
        text.extend_from_slice(body);
        hmac::verify(&self.0, &text, &given).map_err(|_| "its signature is wrong")?;
        let is_new = |seconds: i64| seconds.abs_diff(now_seconds) <= AGE_SECONDS_MAX;
        match timestamp.parse::<i64>().is_ok_and(is_new) {
            true => Ok(()),
            false => Err("its time is more than five minutes off"),
        }
    }
}

/// The bytes that a hexadecimal text stands for.
fn bytes_of(hexadecimal: &str) -> Option<Vec<u8>> {
    let (pairs, []) = hexadecimal.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8; 2]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::{Signed, SigningSecret};

    /// The example of Slack's documentation.
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const MADE_AT: i64 = 1_531_420_618;
    const EXAMPLE: Signed<'_> = Signed {
        timestamp: "1531420618",
        signature: "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        body: b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&\
            channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&\
            command=%2Fwebhook-collect&text=&\
            response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F\
            96rGlfmibIGlgcZRskXaIFfN&\
            trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
    };

    fn check(signed: Signed<'_>, now_seconds: i64) -> Result<(), &'static str> {
        SigningSecret::new(SECRET).check(signed, now_seconds)
    }

    #[test]
    fn slack_s_own_example_is_right_for_five_minutes() {
        for off in [0, 300, -300] {
            assert_eq!(check(EXAMPLE, MADE_AT + off), Ok(()), "{off} s");
        }
        for off in [301, -301, i64::MAX - MADE_AT] {
            let refused = check(EXAMPLE, MADE_AT + off);
            assert_eq!(
                refused,
                Err("its time is more than five minutes off"),
                "{off} s"
            );
        }
    }

    #[test]
    fn time_and_body_and_secret_are_all_signed() {
        let wrong = Err("its signature is wrong");
        let later = Signed {
            timestamp: "1531420619",
            ..EXAMPLE
        };
        assert_eq!(check(later, MADE_AT), wrong);
        let other = Signed {
            body: b"token=x",
            ..EXAMPLE
        };
        assert_eq!(check(other, MADE_AT), wrong);
        let stranger = SigningSecret::new("another");
        assert_eq!(stranger.check(EXAMPLE, MADE_AT), wrong);
        let cut = Signed {
            signature: "v0=a2114d57",
            ..EXAMPLE
        };
        assert_eq!(check(cut, MADE_AT), wrong);
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        let bare = EXAMPLE.signature.trim_start_matches("v0=");
        let odd = &EXAMPLE.signature[..EXAMPLE.signature.len() - 1];
        for signature in ["", "v0", bare, odd, "v0=\u{e4}", "v0=+f"] {
            let signed = Signed {
                signature,
                ..EXAMPLE
            };
            assert_eq!(
                check(signed, MADE_AT),
                Err("it has no signature of Slack's"),
                "{signature}"
            );
        }
    }
}
