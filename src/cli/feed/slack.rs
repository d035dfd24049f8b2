//! The arguments of `headwater feed slack`: Socket Mode, or with `--listen` the Events API.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::secret::{Secret, TOKEN};
use crate::config::address;
use crate::error::Result;
use crate::feed::{EventsApiOptions, SlackOptions, SocketModeOptions};

/// What an app and Slack share.
const SIGNING_SECRET: Secret = Secret {
    noun: "signing secret",
    flag: "--signing-secret-env",
};

#[derive(Debug, clap::Args)]
pub(super) struct SlackArguments {
    /// Socket Mode: the environment variable that holds the app-level token (xapp-..)
    #[arg(long, value_name = "NAME", default_value = "SLACK_APP_TOKEN")]
    #[arg(conflicts_with = "listen")]
    token_env: String,

    /// Socket Mode: a file that holds the token instead
    #[arg(long, value_name = "FILE", conflicts_with = "listen")]
    token_file: Option<PathBuf>,

    /// Only messages of this channel, by its id; may be repeated
    #[arg(long = "channel", value_name = "ID")]
    channels: Vec<String>,

    /// Socket Mode: where Slack's API is
    #[arg(long, value_name = "URL", default_value = "https://slack.com/api")]
    #[arg(conflicts_with = "listen")]
    api_url: String,

    #[command(flatten)]
    events: EventsArguments,
}

#[derive(Debug, clap::Args)]
struct EventsArguments {
    /// Events API: where to listen for Slack; port 0 takes any free one
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    listen: Option<SocketAddr>,

    /// Events API: the path of the request URL that the app names
    #[arg(long, value_name = "PATH", default_value = "/slack/events", value_parser = path)]
    #[arg(requires = "listen")]
    path: String,

    /// Events API: the environment variable that holds the app's signing secret
    #[arg(long, value_name = "NAME", default_value = "SLACK_SIGNING_SECRET")]
    #[arg(requires = "listen")]
    signing_secret_env: String,

    /// Events API: a file that holds the signing secret instead
    #[arg(long, value_name = "FILE", requires = "listen")]
    signing_secret_file: Option<PathBuf>,
}

impl SlackArguments {
    /// What was asked for, with its token or secret.
    ///
    /// # Errors
    /// When that is not where it is said to be.
    pub(super) fn options(self) -> Result<SlackOptions> {
        let Some(listen) = self.events.listen else {
            return Ok(SlackOptions::SocketMode(SocketModeOptions {
                token: TOKEN.read(&self.token_env, self.token_file.as_deref())?,
                api_url: self.api_url,
                channels: self.channels,
            }));
        };
        let EventsArguments {
            path,
            signing_secret_env: variable,
            signing_secret_file: file,
            ..
        } = self.events;
        Ok(SlackOptions::EventsApi(EventsApiOptions {
            listen,
            path,
            signing_secret: SIGNING_SECRET.read(&variable, file.as_deref())?,
            channels: self.channels,
        }))
    }
}

/// Reads a path without anything that has a meaning of its own in one.
fn path(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if text.starts_with('/') && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(format!("\"{text}\" is no path like /slack/events"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{SlackArguments, path};
    use crate::feed::SlackOptions;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        slack: SlackArguments,
    }

    fn parsed(arguments: &[&str]) -> Result<SlackArguments, clap::Error> {
        let all = std::iter::once("slack").chain(arguments.iter().copied());
        Line::try_parse_from(all).map(|line| line.slack)
    }

    #[test]
    fn listening_is_the_events_api_and_takes_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "s3cret\n").unwrap();
        let file = file.to_str().unwrap();
        let socket_mode = parsed(&["--token-file", file]).unwrap().options().unwrap();
        let SlackOptions::SocketMode(socket_mode) = socket_mode else {
            panic!("nothing is to be listened on");
        };
        assert_eq!(socket_mode.token, "s3cret");
        let events = ["--listen", "127.0.0.1:0", "--signing-secret-file", file];
        let SlackOptions::EventsApi(events) = parsed(&events).unwrap().options().unwrap() else {
            panic!("it is to listen");
        };
        assert_eq!(
            (events.path.as_str(), events.signing_secret.as_str()),
            ("/slack/events", "s3cret")
        );
        let wrong: [&[&str]; 4] = [
            &["--listen", "127.0.0.1:0", "--token-env", "T"],
            &["--listen", "127.0.0.1:0", "--api-url", "http://a"],
            &["--signing-secret-env", "S"],
            &["--path", "/events"],
        ];
        for arguments in wrong {
            assert!(parsed(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn a_signing_secret_that_is_not_there_is_told() {
        let arguments = ["--listen", "127.0.0.1:0"];
        let variable = ["--signing-secret-env", "HEADWATER_NO_SUCH_SECRET"];
        let error = parsed(&[arguments, variable].concat()).unwrap().options();
        let error = error.unwrap_err();
        assert!(
            error.message().contains("HEADWATER_NO_SUCH_SECRET"),
            "{error}"
        );
        assert!(
            error.hint_text().unwrap().contains("signing secret"),
            "{error}"
        );
    }

    #[test]
    fn paths_are_plain() {
        assert_eq!(path("/"), Ok("/".to_owned()));
        assert_eq!(path("/a/b-c"), Ok("/a/b-c".to_owned()));
        for text in ["", "slack", "/{id}", "/a?b", "/a b"] {
            assert!(path(text).is_err(), "{text}");
        }
    }
}
