//! The journal: topics, group offsets, producer ids and transactions, durably.
//!
//! One file of framed events, replayed at the start and rewritten as one state when it has grown.
//! Knows nothing of what the events are for. Without a directory nothing is kept.
//! Invariant: an event is in the file before its effect can be seen by a client.
//!
//! ```text
//! length:4 crc32c:4 event as JSON | length:4 crc32c:4 ..
//! ```

mod state;

use std::fs;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing::warn;

pub(crate) use state::{
    CommittedOffset, Event, GroupOffset, GroupOffsets, JournalState, Phase, TopicRecord,
    TransactionRecord, commit,
};

use super::append_file::AppendFile;

/// Bytes of length and checksum before an event.
const FRAME_BYTES: usize = 8;
/// The file is rewritten when it is larger than this and than four times the state.
const REWRITE_BYTES_MIN: u64 = 1 << 20;

/// Where events are written.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Option<Mutex<JournalFile>>,
}

#[derive(Debug)]
struct JournalFile {
    path: PathBuf,
    file: AppendFile,
    /// The outcome of all events in the file.
    state: JournalState,
    rewrite_at_bytes: u64,
}

impl Journal {
    /// A journal that keeps nothing.
    pub(crate) fn in_memory() -> Self {
        Self { file: None }
    }

    /// Opens or makes the journal of a directory; answers with what it tells.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds events of a later version. A last event that
    /// is not whole is cut off instead.
    pub(crate) fn open(dir: &Path) -> io::Result<(Self, JournalState)> {
        let path = dir.join("journal");
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let (state, whole) = replay(&bytes)?;
        if whole < bytes.len() {
            let cut_bytes = bytes.len() - whole;
            warn!(path = %path.display(), cut_bytes, "cut off what was written incompletely");
        }
        let file = AppendFile::open(&path, Some(whole as u64))?;
        let mut journal = JournalFile {
            path,
            file,
            state: state.clone(),
            rewrite_at_bytes: REWRITE_BYTES_MIN,
        };
        journal.rewrite_if_large();
        Ok((
            Self {
                file: Some(Mutex::new(journal)),
            },
            state,
        ))
    }

    /// Writes an event.
    ///
    /// # Errors
    /// It could not be written, and has no effect.
    pub(crate) fn append(&self, event: Event) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut journal = file.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut journal.file, &event)?;
        journal.state.apply(event);
        journal.rewrite_if_large();
        Ok(())
    }
}

impl JournalFile {
    fn rewrite_if_large(&mut self) {
        if self.file.bytes() <= self.rewrite_at_bytes {
            return;
        }
        match self.rewrite() {
            Ok(()) => self.rewrite_at_bytes = REWRITE_BYTES_MIN.max(self.file.bytes() * 4),
            Err(error) => {
                self.rewrite_at_bytes = self.file.bytes() * 2;
                warn!(path = %self.path.display(), %error, "the journal could not be rewritten");
            }
        }
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = AppendFile::open(&new, Some(0))?;
        write(&mut file, &Event::State(Box::new(self.state.clone())))?;
        fs::rename(&new, &self.path)?;
        self.file = file;
        Ok(())
    }
}

fn write(file: &mut AppendFile, event: &Event) -> io::Result<()> {
    let json = serde_json::to_vec(event)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    let mut frame = [0; FRAME_BYTES];
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame[4..].copy_from_slice(&crc32c::crc32c(&json).to_be_bytes());
    file.append(&mut [IoSlice::new(&frame), IoSlice::new(&json)])
}

/// The outcome of the whole events, and where the last of them ends.
fn replay(bytes: &[u8]) -> io::Result<(JournalState, usize)> {
    let mut state = JournalState::default();
    let mut whole = 0;
    while let Some(json) = next_event(&bytes[whole..]) {
        state.apply(serde_json::from_slice(json)?);
        whole += FRAME_BYTES + json.len();
    }
    Ok((state, whole))
}

/// The next event's text; `None` where the file ends or its last event is not whole.
fn next_event(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let json = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    (crc32c::crc32c(json) == u32::from_be_bytes(*crc)).then_some(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit_event(offset: i64) -> Event {
        let committed = CommittedOffset {
            offset,
            leader_epoch: 0,
            metadata: Some("epoch 1".to_owned()),
        };
        let offsets = vec![GroupOffset {
            topic: "t".to_owned(),
            partition: 0,
            committed,
        }];
        Event::OffsetsCommitted {
            group: "g".to_owned(),
            offsets,
        }
    }

    #[test]
    fn events_survive_and_a_torn_last_one_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, state) = Journal::open(dir.path()).unwrap();
        assert_eq!(state, JournalState::default());
        journal.append(commit_event(1)).unwrap();
        journal
            .append(Event::ProducerIdsReserved { next: 1000 })
            .unwrap();
        let whole = fs::metadata(dir.path().join("journal")).unwrap().len();
        journal.append(commit_event(2)).unwrap();
        drop(journal);
        let path = dir.path().join("journal");
        let bytes = fs::read(&path).unwrap();
        for torn in [whole + 3, whole + 12, bytes.len() as u64 - 1] {
            fs::write(&path, &bytes[..usize::try_from(torn).unwrap()]).unwrap();
            let (_, state) = Journal::open(dir.path()).unwrap();
            assert_eq!(state.groups["g"]["t"][&0].offset, 1);
            assert_eq!(state.next_producer_id, 1000);
            assert_eq!(fs::metadata(&path).unwrap().len(), whole);
        }
    }

    #[test]
    fn a_large_journal_is_rewritten_and_tells_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path()).unwrap();
        for offset in 0..20_000 {
            journal.append(commit_event(offset)).unwrap();
        }
        drop(journal);
        let bytes = fs::metadata(dir.path().join("journal")).unwrap().len();
        assert!(bytes <= REWRITE_BYTES_MIN, "{bytes} bytes");
        let (_, state) = Journal::open(dir.path()).unwrap();
        assert_eq!(state.groups["g"]["t"][&0].offset, 19_999);
    }

    #[test]
    fn events_of_a_later_version_are_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let json = b"{\"Invented\":{}}";
        let mut bytes = u32::try_from(json.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(crc32c::crc32c(json).to_be_bytes());
        bytes.extend(json);
        fs::write(&path, &bytes).unwrap();
        let error = Journal::open(dir.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}
