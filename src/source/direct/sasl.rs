//! Authentication by PLAIN and by SCRAM (RFC 5802), without channel binding.
//!
//! Pure but for the nonce. Invariant: the password is shown to no log, and with SCRAM to no broker;
//! a broker that does not prove that it knows it is not believed.

use std::fmt;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};

use super::Stop;
use super::setup::text;
use crate::source::kafka::properties::Properties;
use crate::source::read::WhyLibrary;

/// More rounds than any broker has a reason to ask for: each costs time on this side.
const ROUNDS_MAX: u32 = 1_000_000;
const NONCE_BYTES: usize = 24;

/// Who to be.
#[derive(Clone)]
pub(super) struct Credentials {
    mechanism: Mechanism,
    user: String,
    password: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mechanism {
    Plain,
    Scram256,
    Scram512,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, {:?})", self.mechanism, self.user)
    }
}

impl Credentials {
    pub(super) fn of(properties: &Properties) -> Result<Self, Stop> {
        let name = text(properties, "sasl.mechanisms").or(text(properties, "sasl.mechanism"));
        let mechanism = match name {
            Some("PLAIN") => Mechanism::Plain,
            Some("SCRAM-SHA-256") => Mechanism::Scram256,
            Some("SCRAM-SHA-512") => Mechanism::Scram512,
            _ => return Err(Stop::Unserved(WhyLibrary::Mechanism)),
        };
        let user = text(properties, "sasl.username");
        let password = text(properties, "sasl.password");
        let (Some(user), Some(password)) = (user, password) else {
            return Err(Stop::Unserved(WhyLibrary::Mechanism));
        };
        // Other characters would have to be normalized first, which the library does not do either;
        // what brokers make of them is for it to find out.
        if mechanism != Mechanism::Plain && !(user.is_ascii() && password.is_ascii()) {
            return Err(Stop::Unserved(WhyLibrary::Mechanism));
        }
        Ok(Self {
            mechanism,
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    pub(super) fn mechanism(&self) -> &'static str {
        match self.mechanism {
            Mechanism::Plain => "PLAIN",
            Mechanism::Scram256 => "SCRAM-SHA-256",
            Mechanism::Scram512 => "SCRAM-SHA-512",
        }
    }

    /// The conversation and its first token.
    pub(super) fn begin(&self) -> Result<(Exchange, Vec<u8>), String> {
        if self.mechanism == Mechanism::Plain {
            let token = format!("\0{}\0{}", self.user, self.password).into_bytes();
            return Ok((Exchange::Done, token));
        }
        let mut nonce = [0; NONCE_BYTES];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| "there is no randomness".to_owned())?;
        Ok(self.begin_scram(STANDARD.encode(nonce)))
    }

    fn begin_scram(&self, nonce: String) -> (Exchange, Vec<u8>) {
        let user = self.user.replace('=', "=3D").replace(',', "=2C");
        let bare = format!("n={user},r={nonce}");
        let token = format!("n,,{bare}").into_bytes();
        let exchange = Exchange::First {
            algorithms: Algorithms::of(self.mechanism),
            password: self.password.clone(),
            bare,
            nonce,
        };
        (exchange, token)
    }
}

/// What the broker has to say next.
pub(super) enum Exchange {
    /// Salt and rounds.
    First {
        algorithms: Algorithms,
        password: String,
        bare: String,
        nonce: String,
    },
    /// The proof that it knows the password, which must be this.
    Final { proof: String },
    /// That is all.
    Done,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First { .. } => "First",
            Self::Final { .. } => "Final",
            Self::Done => "Done",
        })
    }
}

#[derive(Clone, Copy)]
pub(super) struct Algorithms {
    hmac: hmac::Algorithm,
    digest: &'static digest::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

impl Algorithms {
    fn of(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::Scram512 => Self {
                hmac: hmac::HMAC_SHA512,
                digest: &digest::SHA512,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512,
            },
            Mechanism::Plain | Mechanism::Scram256 => Self {
                hmac: hmac::HMAC_SHA256,
                digest: &digest::SHA256,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256,
            },
        }
    }

    fn sign(&self, key: &[u8], text: &str) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(self.hmac, key), text.as_bytes())
    }
}

impl Exchange {
    /// Takes the broker's token and gives the next one, if there is one.
    ///
    /// # Errors
    /// Why this broker is not to be trusted.
    pub(super) fn next(self, token: &[u8]) -> Result<(Self, Option<Vec<u8>>), String> {
        let told = std::str::from_utf8(token).map_err(|_| "its answer is no text".to_owned())?;
        match self {
            Self::Done => Ok((Self::Done, None)),
            Self::Final { proof } => {
                if field(told, "v=") == Some(&proof) {
                    return Ok((Self::Done, None));
                }
                Err("the broker does not know the password".to_owned())
            }
            Self::First {
                algorithms,
                password,
                bare,
                nonce,
            } => {
                let salted = Salted::read(told, &nonce)?;
                let (answer, proof) = salted.answer(algorithms, &password, &bare, told);
                Ok((Self::Final { proof }, Some(answer)))
            }
        }
    }
}

/// The broker's part of the key.
struct Salted<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    rounds: NonZeroU32,
}

impl<'a> Salted<'a> {
    fn read(told: &'a str, own_nonce: &str) -> Result<Self, String> {
        let missing = || "its first answer is malformed".to_owned();
        let nonce = field(told, "r=").ok_or_else(missing)?;
        if !nonce.starts_with(own_nonce) || nonce.len() == own_nonce.len() {
            return Err("it answers to another nonce".to_owned());
        }
        let salt = field(told, "s=").ok_or_else(missing)?;
        let salt = STANDARD.decode(salt).map_err(|_| missing())?;
        let rounds = field(told, "i=").and_then(|rounds| rounds.parse::<NonZeroU32>().ok());
        let rounds = rounds.ok_or_else(missing)?;
        if rounds.get() > ROUNDS_MAX {
            return Err(format!("it asks for {rounds} rounds"));
        }
        Ok(Self {
            nonce,
            salt,
            rounds,
        })
    }

    /// The answer, and what the broker must prove itself with.
    fn answer(
        &self,
        algorithms: Algorithms,
        password: &str,
        bare: &str,
        told: &str,
    ) -> (Vec<u8>, String) {
        let mut salted = vec![0; algorithms.digest.output_len()];
        let password = password.as_bytes();
        pbkdf2::derive(
            algorithms.pbkdf2,
            self.rounds,
            &self.salt,
            password,
            &mut salted,
        );
        let without_proof = format!("c=biws,r={}", self.nonce);
        let all = format!("{bare},{told},{without_proof}");
        let client_key = algorithms.sign(&salted, "Client Key");
        let stored_key = digest::digest(algorithms.digest, client_key.as_ref());
        let signature = algorithms.sign(stored_key.as_ref(), &all);
        let both = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = both.map(|(key, signature)| key ^ signature).collect();
        let server_key = algorithms.sign(&salted, "Server Key");
        let expected = algorithms.sign(server_key.as_ref(), &all);
        let answer = format!("{without_proof},p={}", STANDARD.encode(proof));
        (answer.into_bytes(), STANDARD.encode(expected))
    }
}

fn field<'a>(told: &'a str, name: &str) -> Option<&'a str> {
    told.split(',').find_map(|field| field.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::{Credentials, Exchange, Mechanism};

    /// The example of RFC 7677.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const ANSWER: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                          p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const LAST: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn begin() -> (Exchange, Vec<u8>) {
        let credentials = Credentials {
            mechanism: Mechanism::Scram256,
            user: "user".to_owned(),
            password: "pencil".to_owned(),
        };
        credentials.begin_scram(NONCE.to_owned())
    }

    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let (exchange, token) = begin();
        assert_eq!(token, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (exchange, answer) = exchange.next(FIRST.as_bytes()).unwrap();
        assert_eq!(answer.unwrap(), ANSWER.as_bytes());
        let (exchange, answer) = exchange.next(LAST.as_bytes()).unwrap();
        assert!(matches!(exchange, Exchange::Done) && answer.is_none());
    }

    #[test]
    fn a_broker_that_does_not_know_the_password_is_not_believed() {
        let (exchange, _) = begin();
        let (exchange, _) = exchange.next(FIRST.as_bytes()).unwrap();
        exchange.next(b"v=AAAA").unwrap_err();
        for first in [
            "r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
            "r=rOprNGfwEbeRWgbNEkqO1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4000000000",
            "e=other-error",
        ] {
            begin().0.next(first.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let credentials = Credentials {
            mechanism: Mechanism::Plain,
            user: "me".to_owned(),
            password: "secret".to_owned(),
        };
        assert!(!format!("{credentials:?}").contains("secret"));
        let (_, token) = credentials.begin().unwrap();
        assert_eq!(token, b"\0me\0secret");
    }
}
