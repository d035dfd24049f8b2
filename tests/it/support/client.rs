//! A client of the server: tokio-postgres with rows as text, by the simple and by the extended protocol.
//!
//! Invariant: an error shows everything that went over the wire: SQLSTATE, message, detail, hint, position.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio_postgres::error::{DbError, ErrorPosition};
use tokio_postgres::{AsyncMessage, CancelToken, NoTls, SimpleQueryMessage};

use super::{values, wait};

/// One connection. Dropping it closes its socket at once, whatever runs.
pub(crate) struct Client {
    inner: tokio_postgres::Client,
    notices: Arc<Mutex<Vec<DbError>>>,
    heard: Arc<Mutex<Vec<(String, String)>>>,
    connection: tokio::task::JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// The rows of an answer as text; `None` is NULL.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// What a statement answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Rows, perhaps none.
    Rows(Rows),
    /// A command's end, with the number of rows in its tag.
    Done(u64),
}

impl Client {
    /// Connects as `psql` would.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let mut config = tokio_postgres::Config::new();
        config.host(address.ip().to_string()).port(address.port());
        config
            .user("headwater")
            .dbname("headwater")
            .connect_timeout(Duration::from_secs(10));
        let (inner, mut connection) = config.connect(NoTls).await?;
        let notices = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&notices);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&heard);
        let mut messages =
            futures::stream::poll_fn(move |context| connection.poll_message(context));
        let connection = tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                match message {
                    AsyncMessage::Notice(notice) => {
                        kept.lock().expect("nobody panics with it").push(notice);
                    }
                    AsyncMessage::Notification(one) => {
                        let one = (one.channel().to_owned(), one.payload().to_owned());
                        told.lock().expect("nobody panics with it").push(one);
                    }
                    _ => {}
                }
            }
        });
        Ok(Self {
            inner,
            notices,
            heard,
            connection,
        })
    }

    /// tokio-postgres's own client, for what is not wrapped here.
    pub(crate) fn raw(&self) -> &tokio_postgres::Client {
        &self.inner
    }

    /// The same, for transactions.
    pub(crate) fn raw_mut(&mut self) -> &mut tokio_postgres::Client {
        &mut self.inner
    }

    /// Stops the running statement from another connection, as Ctrl-C does.
    pub(crate) fn cancel_token(&self) -> CancelToken {
        self.inner.cancel_token()
    }

    /// False when the server has gone.
    pub(crate) fn is_open(&self) -> bool {
        !self.inner.is_closed()
    }

    /// Channels and payloads of all notifications so far.
    pub(crate) fn heard(&self) -> Vec<(String, String)> {
        self.heard.lock().expect("nobody panics with it").clone()
    }

    /// The notices since the last call, each `SEVERITY: message`, with its hint on a second line.
    pub(crate) fn notices(&self) -> Vec<String> {
        let mut kept = self.notices.lock().expect("nobody panics with it");
        kept.drain(..).map(|notice| notice_text(&notice)).collect()
    }

    /// Runs a statement that must succeed; returns the number of rows in its tag.
    pub(crate) async fn run(&self, sql: &str) -> u64 {
        match self.simple(sql).await {
            Ok(Answer::Done(count)) => count,
            Ok(Answer::Rows(rows)) => rows.len() as u64,
            Err(error) => panic!("{sql}\n{error}"),
        }
    }

    /// Runs a query that must succeed.
    pub(crate) async fn rows(&self, sql: &str) -> Rows {
        match self.simple(sql).await {
            Ok(Answer::Rows(rows)) => rows,
            Ok(Answer::Done(_)) => panic!("{sql}\nanswers without rows"),
            Err(error) => panic!("{sql}\n{error}"),
        }
    }

    /// The one value of a query.
    pub(crate) async fn value(&self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        assert!(
            rows.len() == 1 && rows[0].len() == 1,
            "{sql}\nhas no single value: {rows:?}"
        );
        rows[0][0].clone().unwrap_or_else(|| "NULL".to_owned())
    }

    /// Runs a statement that must fail.
    pub(crate) async fn error(&self, sql: &str) -> Failure {
        match self.simple(sql).await {
            Ok(answer) => panic!("{sql}\nshould fail, and answers {answer:?}"),
            Err(error) => {
                assert_eq!(error.against_the_rules(), None, "{sql}");
                error
            }
        }
    }

    /// One statement by the simple protocol: text in both directions.
    pub(crate) async fn simple(&self, sql: &str) -> Result<Answer, Failure> {
        if is_copy_out(sql) {
            return self.copied(sql).await;
        }
        let messages = in_time(sql, self.inner.simple_query(sql)).await?;
        let mut rows = None;
        let mut count = 0;
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(_) => rows = Some(Vec::new()),
                SimpleQueryMessage::Row(row) => {
                    let texts = (0..row.len()).map(|column| row.get(column).map(str::to_owned));
                    rows.get_or_insert_default().push(texts.collect());
                }
                SimpleQueryMessage::CommandComplete(rows) => count = rows,
                _ => {}
            }
        }
        Ok(rows.map_or(Answer::Done(count), Answer::Rows))
    }

    /// One statement by the extended protocol: prepared, then answered in binary.
    pub(crate) async fn extended(&self, sql: &str) -> Result<Answer, Failure> {
        if is_copy_out(sql) {
            return self.copied(sql).await;
        }
        let statement = in_time(sql, self.inner.prepare(sql)).await?;
        if statement.columns().is_empty() {
            return Ok(Answer::Done(
                in_time(sql, self.inner.execute(&statement, &[])).await?,
            ));
        }
        let rows = in_time(sql, self.inner.query(&statement, &[])).await?;
        Ok(Answer::Rows(rows.iter().map(values::texts_of).collect()))
    }

    /// The lines of a `COPY .. TO STDOUT`, each as one value.
    async fn copied(&self, sql: &str) -> Result<Answer, Failure> {
        let stream = in_time(sql, self.inner.copy_out(sql)).await?;
        // At the first error it ends: the stream would repeat it for ever.
        let chunks: Vec<_> = in_time(sql, stream.try_collect()).await?;
        let text = String::from_utf8_lossy(&chunks.concat()).into_owned();
        let lines = text.lines().map(|line| vec![Some(line.to_owned())]);
        Ok(Answer::Rows(lines.collect()))
    }
}

fn is_copy_out(sql: &str) -> bool {
    let head = sql.trim_start().get(..5).unwrap_or_default();
    head.eq_ignore_ascii_case("copy ")
}

async fn in_time<T>(
    sql: &str,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>> + Send,
) -> Result<T, Failure> {
    match tokio::time::timeout(wait::PATIENCE, answer.boxed()).await {
        Ok(answer) => answer.map_err(|error| Failure::of(&error, sql)),
        Err(_) => Err(Failure::silence(sql)),
    }
}

/// A statement's error as the client saw it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// SQLSTATE; empty when the server did not answer.
    pub(crate) state: String,
    /// `STATE: message`, then detail, hint and position, a line each.
    pub(crate) text: String,
}

impl Failure {
    fn of(error: &tokio_postgres::Error, sql: &str) -> Self {
        let Some(error) = error.as_db_error() else {
            return Self {
                state: String::new(),
                text: format!("client: {error}"),
            };
        };
        let state = error.code().code().to_owned();
        let mut text = format!("{state}: {}", error.message());
        for (name, value) in [("DETAIL", error.detail()), ("HINT", error.hint())] {
            if let Some(value) = value {
                text += &format!("\n{name}: {value}");
            }
        }
        if let Some(ErrorPosition::Original(place)) = error.position() {
            text += &format!("\nAT: {}", line_and_column(sql, *place));
        }
        Self { state, text }
    }

    /// What in its texts is against the house's rules: a message ends without a full stop, a hint is a whole sentence.
    pub(crate) fn against_the_rules(&self) -> Option<String> {
        let message = self.text.lines().next().unwrap_or_default();
        let hint = self
            .text
            .lines()
            .find(|line| line.starts_with("HINT: ") || line.starts_with("DETAIL: "));
        let half = hint.is_some_and(|hint| !hint.ends_with(['.', '?']));
        (message.ends_with('.') || half)
            .then(|| format!("against the rules for errors:\n{}", self.text))
    }

    fn silence(sql: &str) -> Self {
        let text = format!("client: no answer within {:?} to {sql}", wait::PATIENCE);
        Self {
            state: String::new(),
            text,
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::of(&error, "")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

fn notice_text(notice: &DbError) -> String {
    let mut text = format!("{}: {}", notice.severity(), notice.message());
    if let Some(hint) = notice.hint() {
        text += &format!("\nHINT: {hint}");
    }
    text
}

/// `line:column`, both from 1, of the `place`-th character (from 1).
fn line_and_column(sql: &str, place: u32) -> String {
    let before: String = sql.chars().take(place.saturating_sub(1) as usize).collect();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    format!("{line}:{column}")
}
