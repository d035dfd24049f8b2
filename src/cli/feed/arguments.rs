//! The arguments of `headwater feed`, and what they mean.

use std::path::PathBuf;
use std::time::Duration;

use super::secret::TOKEN;
use super::slack::SlackArguments;
use crate::config::CommonSettings;
use crate::error::Result;
use crate::feed::{
    FileOptions, HttpOptions, JsonPath, Paging, ReplayOptions, SourceOptions, WebsocketOptions,
};

/// What stands for the token in a URL, a header or a message to subscribe.
const TOKEN_PLACE: &str = "{token}";
/// Partitions of a topic at the most.
const PARTITIONS_MAX: i64 = 10_000;

/// The arguments of `headwater feed`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(super) source: Source,
}

/// Where messages come from.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Source {
    /// Standard input, a message a line.
    Stdin {
        #[command(flatten)]
        target: Target,
    },
    /// A file, a message a line; as fast as it goes, or at the pace of a time in the lines.
    File {
        #[command(flatten)]
        file: FileArguments,
        #[command(flatten)]
        target: Target,
    },
    /// A JSON endpoint, polled.
    Http {
        #[command(flatten)]
        http: HttpArguments,
        #[command(flatten)]
        target: Target,
    },
    /// A websocket: connects again when it is lost.
    Websocket {
        #[command(flatten)]
        websocket: WebsocketArguments,
        #[command(flatten)]
        target: Target,
    },
    /// Messages of Slack's channels, by Socket Mode or the Events API.
    ///
    /// Socket Mode connects to Slack and needs an app-level token (--token-env or --token-file). With
    /// --listen Slack sends its events here instead: the Events API, which needs the app's signing
    /// secret (--signing-secret-env or --signing-secret-file) and an https address that leads here.
    Slack {
        #[command(flatten)]
        slack: SlackArguments,
        #[command(flatten)]
        target: Target,
    },
}

/// Where messages go to, and how fast.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The topic
    #[arg(long, value_name = "TOPIC")]
    pub(super) topic: String,

    /// Make the topic if it is not there
    #[arg(long)]
    pub(super) create_topic: bool,

    /// Partitions of a topic that is made
    #[arg(long, value_name = "N", default_value_t = 1, requires = "create_topic")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=PARTITIONS_MAX))]
    pub(super) partitions: u32,

    /// Where in a message its key is, like user.id; the key decides the partition
    #[arg(long, value_name = "PATH")]
    pub(super) key_path: Option<JsonPath>,

    /// Messages a second at the most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rate: Option<u32>,

    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) limit: Option<u64>,

    /// A file that remembers how far it came, and from which it goes on
    #[arg(long, value_name = "FILE")]
    pub(super) resume: Option<PathBuf>,

    #[command(flatten)]
    pub(super) common: CommonSettings,
}

#[derive(Debug, clap::Args)]
pub(super) struct FileArguments {
    /// The file
    #[arg(value_name = "PATH")]
    path: PathBuf,

    /// At the pace of --time-field: 1 is as it was, 60 a minute in a second
    #[arg(long, value_name = "X", value_parser = speed, requires = "time_field")]
    replay_speed: Option<f64>,

    /// Where in a line its time is: a text, or a number since 1970
    #[arg(long, value_name = "PATH", requires = "replay_speed")]
    time_field: Option<JsonPath>,
}

#[derive(Debug, clap::Args)]
pub(super) struct HttpArguments {
    /// The endpoint
    #[arg(value_name = "URL")]
    url: String,

    /// The time between two polls, like 500ms, 10s, 5m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    every: Duration,

    /// Where the items of an answer are, like data.items; . is the whole. Without it an answer is one
    /// message
    #[arg(long, value_name = "PATH")]
    array_path: Option<JsonPath>,

    /// Where in an answer the cursor of the next one is
    #[arg(
        long,
        value_name = "PATH",
        requires = "cursor_param",
        conflicts_with = "since_path"
    )]
    cursor_path: Option<JsonPath>,

    /// The query parameter that takes the cursor
    #[arg(long, value_name = "NAME", requires = "cursor_path")]
    cursor_param: Option<String>,

    /// Where in an item the value is that says how new it is: a number, a time, an id
    #[arg(
        long,
        value_name = "PATH",
        requires = "since_param",
        requires = "array_path"
    )]
    since_path: Option<JsonPath>,

    /// The query parameter that takes the newest value
    #[arg(long, value_name = "NAME", requires = "since_path")]
    since_param: Option<String>,

    /// A header, like "Accept: application/json"; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,

    #[command(flatten)]
    token: TokenArguments,
}

#[derive(Debug, clap::Args)]
pub(super) struct WebsocketArguments {
    /// The endpoint, ws:// or wss://
    #[arg(value_name = "URL")]
    url: String,

    /// A message to send after each connect; may be repeated
    #[arg(long, value_name = "MESSAGE")]
    subscribe: Vec<String>,

    /// Where the items of a message are, like data; . is the whole. Without it a message is one item
    #[arg(long, value_name = "PATH")]
    array_path: Option<JsonPath>,

    /// After so long without a sign it connects again
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    idle_timeout: Duration,

    /// A header of the request to connect; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,

    #[command(flatten)]
    token: TokenArguments,
}

/// Where a token is, if one is needed: it is sent as "Authorization: Bearer TOKEN", or put where
/// {token} stands in the URL, a header or a message.
#[derive(Debug, clap::Args)]
pub(super) struct TokenArguments {
    /// The environment variable that holds a token: sent as "Authorization: Bearer TOKEN", or put
    /// where {token} stands in the URL, a header or a message
    #[arg(long, value_name = "NAME", conflicts_with = "token_file")]
    token_env: Option<String>,

    /// A file that holds the token instead
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Source {
    /// Both halves.
    pub(super) fn split(self) -> (SourceArguments, Target) {
        match self {
            Self::Stdin { target } => (SourceArguments::Stdin, target),
            Self::File { file, target } => (SourceArguments::File(file), target),
            Self::Http { http, target } => (SourceArguments::Http(http), target),
            Self::Websocket { websocket, target } => {
                (SourceArguments::Websocket(websocket), target)
            }
            Self::Slack { slack, target } => (SourceArguments::Slack(slack), target),
        }
    }
}

/// A source alone.
#[derive(Debug)]
pub(super) enum SourceArguments {
    Stdin,
    File(FileArguments),
    Http(HttpArguments),
    Websocket(WebsocketArguments),
    Slack(SlackArguments),
}

impl SourceArguments {
    /// The source, with its token, and what it is called in a file of `--resume`.
    ///
    /// # Errors
    /// When the token is not where it is said to be.
    pub(super) fn resolve(self) -> Result<(SourceOptions, String)> {
        Ok(match self {
            Self::Stdin => (SourceOptions::Stdin, "stdin".to_owned()),
            Self::File(file) => {
                let whole = std::fs::canonicalize(&file.path).unwrap_or_else(|_| file.path.clone());
                let name = format!("file {}", whole.display());
                (SourceOptions::File(file.options()), name)
            }
            Self::Http(http) => {
                let name = format!("http {}", http.url);
                (SourceOptions::Http(http.options()?), name)
            }
            Self::Websocket(websocket) => {
                let name = format!("websocket {}", websocket.url);
                (SourceOptions::Websocket(websocket.options()?), name)
            }
            Self::Slack(slack) => (SourceOptions::Slack(slack.options()?), "slack".to_owned()),
        })
    }
}

impl FileArguments {
    fn options(self) -> FileOptions {
        let replay = self.replay_speed.zip(self.time_field);
        FileOptions {
            path: self.path,
            replay: replay.map(|(speed, time_field)| ReplayOptions { speed, time_field }),
        }
    }
}

impl HttpArguments {
    fn options(self) -> Result<HttpOptions> {
        let mut places = vec![self.url];
        let headers = self.token.put(&mut places, self.headers)?;
        let cursor = self.cursor_path.zip(self.cursor_param);
        let since = self.since_path.zip(self.since_param);
        Ok(HttpOptions {
            url: places.remove(0),
            headers,
            every: self.every,
            array_path: self.array_path,
            paging: match (cursor, since) {
                (Some((path, parameter)), _) => Paging::Cursor { path, parameter },
                (None, Some((path, parameter))) => Paging::Since { path, parameter },
                (None, None) => Paging::Whole,
            },
        })
    }
}

impl WebsocketArguments {
    fn options(self) -> Result<WebsocketOptions> {
        let mut places = vec![self.url];
        places.extend(self.subscribe);
        let headers = self.token.put(&mut places, self.headers)?;
        Ok(WebsocketOptions {
            url: places.remove(0),
            headers,
            subscribe: places,
            array_path: self.array_path,
            idle_timeout: self.idle_timeout,
        })
    }
}

impl TokenArguments {
    /// Puts the token where `{token}` stands in the texts and headers; where it stands nowhere, into a
    /// header of its own.
    fn put(
        self,
        texts: &mut [String],
        mut headers: Vec<(String, String)>,
    ) -> Result<Vec<(String, String)>> {
        let token = match (self.token_env, self.token_file) {
            (Some(variable), _) => TOKEN.of_variable(&variable)?,
            (None, Some(path)) => TOKEN.of_file(&path)?,
            (None, None) => return Ok(headers),
        };
        let values = headers.iter_mut().map(|(_, value)| value);
        let mut is_placed = false;
        for text in texts.iter_mut().chain(values) {
            is_placed |= text.contains(TOKEN_PLACE);
            *text = text.replace(TOKEN_PLACE, &token);
        }
        if !is_placed {
            headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
        }
        Ok(headers)
    }
}

/// Reads `500ms`, `10s`, `5m`, `1h`; a plain number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let unit_start = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(unit_start.unwrap_or(text.len()));
    let seconds = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(format!("\"{text}\" is no time like 500ms, 10s, 5m or 1h")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("\"{text}\" is no time like 500ms, 10s, 5m or 1h"))?;
    match Duration::try_from_secs_f64(number * seconds) {
        Ok(duration) if duration >= Duration::from_millis(10) => Ok(duration),
        _ => Err(format!("\"{text}\" is not between 10ms and an age")),
    }
}

/// Reads a speed above zero.
fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed > 0.0 && speed.is_finite() => Ok(speed),
        _ => Err(format!("\"{text}\" is no number above 0")),
    }
}

/// Reads `Name: value`.
fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(format!("\"{text}\" is not of the form \"Name: value\"")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{TokenArguments, duration, header, speed};

    #[test]
    fn times_have_units() {
        for (text, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("3", 3_000),
            ("1.5m", 90_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "ms", "10 s", "-1s", "1d", "0s", "1e99h", "1ms"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn speeds_are_above_zero() {
        assert_eq!(speed("0.5"), Ok(0.5));
        for text in ["0", "-1", "inf", "NaN", "fast"] {
            assert!(speed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn headers_keep_further_colons() {
        assert_eq!(
            header("Origin: http://a:1"),
            Ok(("Origin".to_owned(), "http://a:1".to_owned()))
        );
        assert!(header("Origin").is_err());
    }

    #[test]
    fn a_token_goes_where_it_is_wanted_and_else_into_its_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "s3cret\n").unwrap();
        let arguments = || TokenArguments {
            token_env: None,
            token_file: Some(path.clone()),
        };
        let own = ("Authorization".to_owned(), "Bearer s3cret".to_owned());
        assert_eq!(
            arguments()
                .put(&mut ["wss://a".to_owned()], Vec::new())
                .unwrap(),
            [own]
        );
        let mut texts = ["{\"key\":\"{token}\"}".to_owned()];
        let header = ("X-Key".to_owned(), "{token}".to_owned());
        let headers = arguments().put(&mut texts, vec![header]).unwrap();
        assert_eq!(headers, [("X-Key".to_owned(), "s3cret".to_owned())]);
        assert_eq!(texts, ["{\"key\":\"s3cret\"}"]);
    }

    #[test]
    fn a_token_that_is_not_there_is_told() {
        let arguments = TokenArguments {
            token_env: Some("HEADWATER_NO_SUCH_TOKEN".to_owned()),
            token_file: None,
        };
        let error = arguments.put(&mut [], Vec::new()).unwrap_err();
        assert!(
            error.message().contains("HEADWATER_NO_SUCH_TOKEN"),
            "{error}"
        );
    }
}
