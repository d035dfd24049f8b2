//! The signature by which a receiver knows that a request is this server's, and when it was made. Pure.

use ring::hmac;

/// Signs a body at a time in seconds since the Unix epoch: `sha256=` and the HMAC of `SECONDS.BODY` in
/// hexadecimal.
pub(super) fn sign(secret: &str, seconds: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(seconds.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    let tag = context.sign();
    let hex: String = tag
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256={hex}")
}

#[cfg(test)]
mod tests {
    use super::sign;

    /// By `printf '1700000000.{"n":1}' | openssl dgst -sha256 -hmac key`.
    #[test]
    fn the_signature_is_what_openssl_computes() {
        assert_eq!(
            sign("key", 1_700_000_000, br#"{"n":1}"#),
            "sha256=fb65f9bd0a02faafbd7bb3a9fe9f62c2809b0ed738871c173e25db852f7ff138"
        );
    }

    #[test]
    fn time_and_body_and_secret_are_all_signed() {
        let all = [
            sign("key", 1, b"23"),
            sign("key", 12, b"3"),
            sign("key", 1, b"24"),
            sign("kex", 1, b"23"),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
