//! A client of a database. Its calls block for a bounded time.

use std::time::Duration;

use postgres::config::{Config, SslMode};
use postgres::{Client, NoTls};

use super::errors::told;
use super::tls::MakeTls;
use crate::error::{Error, Result, SqlState};
use crate::types::{PostgresConnection, PostgresTls};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the other end may be silent while something is on its way to it.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A statement that takes longer is given up and comes again. A lock that somebody else holds for long
/// keeps the sink waiting no longer than this either.
const SETTINGS: &str = "SET statement_timeout = '120s'; SET lock_timeout = '30s'; \
    SET client_encoding = 'UTF8'; SET standard_conforming_strings = on; SET DateStyle = 'ISO'";

/// Connects.
///
/// # Errors
/// When the server does not answer, or refuses the user, the database or the way.
pub(super) fn connect(connection: &PostgresConnection) -> Result<Client> {
    let (config, tls) = config(connection)?;
    let opened = match tls {
        PostgresTls::Disable => config.connect(NoTls),
        checked => config.connect(MakeTls::try_new(checked, connection.roots.as_deref())?),
    };
    let mut client = opened.map_err(|error| told("cannot connect to PostgreSQL", &error))?;
    client
        .batch_execute(SETTINGS)
        .map_err(|error| told("cannot set up the session", &error))?;
    Ok(client)
}

fn config(connection: &PostgresConnection) -> Result<(Config, PostgresTls)> {
    let mut config = match &connection.url {
        None => Config::new(),
        Some(url) => url.parse::<Config>().map_err(|_| bad_url())?,
    };
    if let Some(host) = &connection.host {
        config.host(host);
    }
    if let Some(port) = connection.port {
        config.port(port);
    }
    if let Some(database) = &connection.database {
        config.dbname(database);
    }
    if let Some(user) = &connection.user {
        config.user(user);
    }
    if let Some(password) = &connection.password {
        config.password(password);
    }
    let tls = connection.tls.unwrap_or(match config.get_ssl_mode() {
        SslMode::Disable => PostgresTls::Disable,
        SslMode::Require => PostgresTls::Require,
        _ => PostgresTls::Prefer,
    });
    config
        .ssl_mode(match tls {
            PostgresTls::Disable => SslMode::Disable,
            PostgresTls::Prefer => SslMode::Prefer,
            PostgresTls::Require | PostgresTls::VerifyCa | PostgresTls::VerifyFull => {
                SslMode::Require
            }
        })
        .application_name("headwater")
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(SILENCE_MAX)
        .tcp_user_timeout(SILENCE_MAX);
    if config.get_hosts().is_empty() || config.get_user().is_none() {
        return Err(bad_url());
    }
    Ok((config, tls))
}

/// Without the URL, which may hold a password.
fn bad_url() -> Error {
    let text = "option \"url\" is no URL of a PostgreSQL database";
    Error::user(SqlState::InvalidParameterValue, text).hint(
        "Write postgres://user@host:5432/database, with the option password beside it. The ways to \
         check a certificate go into the option sslmode.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_beside_a_url_goes_before_it() {
        let connection = PostgresConnection {
            url: Some("postgres://ann@db/prices?sslmode=require".to_owned()),
            database: Some("trades".to_owned()),
            password: Some("secret".to_owned()),
            ..PostgresConnection::default()
        };
        let (config, tls) = config(&connection).unwrap();
        assert_eq!(config.get_user(), Some("ann"));
        assert_eq!(config.get_dbname(), Some("trades"));
        assert_eq!(config.get_password(), Some(b"secret".as_slice()));
        assert_eq!(tls, PostgresTls::Require);
        assert!(!format!("{connection:?}").contains("secret"), "it is shown");
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_being_shown() {
        for url in [
            "",
            "postgres://db",
            "hunter2",
            "postgres://ann:hunter2@db:x/",
        ] {
            let connection = PostgresConnection {
                url: Some(url.to_owned()),
                ..PostgresConnection::default()
            };
            let error = config(&connection).unwrap_err();
            assert_eq!(error.state(), SqlState::InvalidParameterValue, "{url}");
            assert!(!format!("{error:?}").contains("hunter2"), "it is shown");
        }
    }
}
