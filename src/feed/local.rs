//! Lines of standard input and of files.
//!
//! A file is read from where the last run stopped, and may be replayed at the pace of a time in its
//! lines.

use std::collections::VecDeque;
use std::io::{ErrorKind, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, Stdin};

use super::json_path::{self, JsonPath};
use super::lines::{LINE_BYTES_MAX, Line, Lines};
use super::mark::moment_micros;
use super::notes::Notes;
use super::pacing::Replay;
use super::position::Position;
use super::{Batch, Source};
use crate::clock;
use crate::error::{Error, Result, SqlState};

/// Lines of a file that are looked at ahead of their time.
const LINES_AHEAD: usize = 1_000;

/// What a file is read as.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// The file.
    pub path: PathBuf,
    /// At which pace, if not as fast as it goes.
    pub replay: Option<ReplayOptions>,
}

/// At which pace a file is replayed.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// 1: as it was; 60: a minute in a second.
    pub speed: f64,
    /// Where in a line its time is.
    pub time_field: JsonPath,
}

/// Standard input, a message a line.
pub(super) struct StdinSource {
    lines: Lines<Stdin>,
    notes: Arc<Notes>,
}

impl StdinSource {
    pub(super) fn new(notes: Arc<Notes>) -> Self {
        Self {
            lines: Lines::new(tokio::io::stdin(), 0),
            notes,
        }
    }
}

#[async_trait]
impl Source for StdinSource {
    async fn next(&mut self, messages_max: usize) -> Result<Option<Batch>> {
        let lines = self.lines.next(messages_max).await;
        let lines = lines.map_err(|error| unreadable("standard input", &error))?;
        if lines.is_empty() {
            return Ok(None);
        }
        Ok(Some(batch_of(lines, &self.notes)))
    }

    fn rest(&mut self) -> Batch {
        batch_of(self.lines.take(usize::MAX), &self.notes)
    }
}

/// The usable lines; what cannot be used is noted.
fn batch_of(lines: Vec<Line>, notes: &Notes) -> Batch {
    let mut batch = Batch::default();
    for line in lines {
        match line {
            Line::Text { bytes, .. } => batch.payloads.push(bytes),
            Line::TooLong => notes.skipped(too_long()),
        }
    }
    batch
}

/// A file, a message a line.
pub(super) struct FileSource {
    path: PathBuf,
    lines: Lines<File>,
    replay: Option<Pace>,
    /// Lines that were read and are not given out yet.
    ahead: VecDeque<Ahead>,
    notes: Arc<Notes>,
}

/// The pace of a replay.
struct Pace {
    replay: Replay,
    time_field: JsonPath,
    /// When the first line was read.
    start: Option<Instant>,
}

/// A line that waits for its time.
struct Ahead {
    bytes: Vec<u8>,
    end: u64,
    /// Counted from the first line on.
    due: Duration,
}

impl FileSource {
    /// Opens the file where the last run stopped.
    ///
    /// # Errors
    /// When it cannot be read, or is shorter than it was.
    pub(super) async fn open(
        options: FileOptions,
        position: Option<Position>,
        notes: Arc<Notes>,
    ) -> Result<Self> {
        let path = options.path;
        let offset = match position {
            Some(Position::File { offset }) => offset,
            _ => 0,
        };
        let file = open_at(&path, offset).await?;
        let replay = options.replay.map(|options| Pace {
            replay: Replay::new(options.speed),
            time_field: options.time_field,
            start: None,
        });
        Ok(Self {
            lines: Lines::new(file, offset),
            path,
            replay,
            ahead: VecDeque::new(),
            notes,
        })
    }

    /// Reads lines until one of them can be used; false at the end.
    async fn look_ahead(&mut self) -> Result<bool> {
        while self.ahead.is_empty() {
            let lines = self.lines.next(LINES_AHEAD).await;
            let lines =
                lines.map_err(|error| unreadable(&self.path.display().to_string(), &error))?;
            if lines.is_empty() {
                return Ok(false);
            }
            for line in lines {
                let Line::Text { bytes, end } = line else {
                    self.notes.skipped(too_long());
                    continue;
                };
                match due(self.replay.as_mut(), &bytes) {
                    Ok(due) => self.ahead.push_back(Ahead { bytes, end, due }),
                    Err(reason) => self.notes.skipped(reason),
                }
            }
        }
        Ok(true)
    }

    /// Waits until the next line is due; gives how much time has passed since the first.
    async fn wait(&mut self) -> Duration {
        let Some(pace) = &mut self.replay else {
            return Duration::MAX;
        };
        let start = *pace.start.get_or_insert_with(clock::instant);
        let due = self.ahead.front().map_or(Duration::ZERO, |line| line.due);
        clock::sleep(due.saturating_sub(start.elapsed())).await;
        start.elapsed().max(due)
    }
}

#[async_trait]
impl Source for FileSource {
    async fn next(&mut self, messages_max: usize) -> Result<Option<Batch>> {
        if !self.look_ahead().await? {
            return Ok(None);
        }
        let passed = self.wait().await;
        let mut batch = Batch::default();
        while batch.payloads.len() < messages_max {
            let Some(line) = self.ahead.pop_front_if(|line| line.due <= passed) else {
                break;
            };
            batch.payloads.push(line.bytes);
            batch.position = Some(Position::File { offset: line.end });
        }
        Ok(Some(batch))
    }
}

/// When a line may go out: at once where nothing is replayed.
fn due(pace: Option<&mut Pace>, line: &[u8]) -> Result<Duration, String> {
    let Some(pace) = pace else {
        return Ok(Duration::ZERO);
    };
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    let value = pace.time_field.find(text)?;
    let value = value.and_then(json_path::plain);
    let value = value.ok_or_else(|| "it has no value for --time-field".to_owned())?;
    let micros = moment_micros(&value).ok_or_else(|| format!("\"{value}\" is no time"))?;
    Ok(pace.replay.due(micros))
}

async fn open_at(path: &Path, offset: u64) -> Result<File> {
    let name = path.display().to_string();
    let refused = |error: std::io::Error| {
        let error_text = unreadable(&name, &error);
        match error.kind() {
            ErrorKind::NotFound => error_text.hint("Check the path of the file."),
            _ => error_text,
        }
    };
    let mut file = File::open(path).await.map_err(refused)?;
    let metadata = file.metadata().await.map_err(refused)?;
    if metadata.is_dir() {
        let message = format!("{name} is a directory");
        return Err(Error::user(SqlState::InvalidParameterValue, message));
    }
    if metadata.is_file() && metadata.len() < offset {
        let message = format!("{name} is shorter than it was");
        return Err(Error::user(SqlState::ObjectNotInPrerequisiteState, message)
            .detail(format!("The last run stopped at byte {offset}."))
            .hint("If it is another file now, remove the file of --resume to begin anew."));
    }
    if offset > 0 {
        file.seek(SeekFrom::Start(offset)).await.map_err(refused)?;
    }
    Ok(file)
}

fn too_long() -> String {
    format!("it is longer than {} MiB", LINE_BYTES_MAX >> 20)
}

fn unreadable(name: &str, error: &std::io::Error) -> Error {
    let message = format!("could not read {name}: {error}");
    Error::external(SqlState::IoError, false, message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{FileOptions, FileSource, ReplayOptions};
    use crate::feed::notes::Notes;
    use crate::feed::position::Position;
    use crate::feed::{Batch, Source};

    async fn next(source: &mut FileSource, messages_max: usize) -> Batch {
        source.next(messages_max).await.unwrap().unwrap_or_default()
    }

    #[tokio::test]
    async fn a_file_goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        let options = FileOptions {
            path: path.clone(),
            replay: None,
        };
        let open =
            async |position| FileSource::open(options.clone(), position, Arc::default()).await;
        let mut source = open(None).await.unwrap();
        let first = next(&mut source, 1).await;
        assert_eq!(first.payloads, [b"one"]);
        assert_eq!(first.position, Some(Position::File { offset: 4 }));
        let mut source = open(first.position).await.unwrap();
        assert_eq!(
            next(&mut source, 9).await.payloads,
            [b"two".to_vec(), b"three".to_vec()]
        );
        assert_eq!(source.next(9).await.unwrap(), None);
        let beyond = open(Some(Position::File { offset: 15 }))
            .await
            .err()
            .unwrap();
        assert!(
            beyond.message().ends_with("is shorter than it was"),
            "{beyond}"
        );
    }

    #[tokio::test]
    async fn lines_without_a_time_are_skipped_in_a_replay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let lines = "{\"t\":1767225600}\nnot JSON\n{\"t\":\"soon\"}\n{}\n{\"t\":1767225601}\n";
        std::fs::write(&path, lines).unwrap();
        let replay = ReplayOptions {
            speed: 1e6,
            time_field: "t".parse().unwrap(),
        };
        let notes = Arc::<Notes>::default();
        let options = FileOptions {
            path,
            replay: Some(replay),
        };
        let mut source = FileSource::open(options, None, Arc::clone(&notes))
            .await
            .unwrap();
        let mut given = Vec::new();
        while let Some(batch) = source.next(10).await.unwrap() {
            given.extend(batch.payloads);
        }
        assert_eq!(given.len(), 2);
        assert_eq!(notes.counts().skipped, 3);
    }
}
