//! The running broker: what all connections share, and what happens by itself.
//!
//! Owns the order in which the parts are opened and closed.

use std::fs::TryLockError;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::config::BrokerConfig;
use super::groups::Groups;
use super::journal::{Journal, JournalState};
use super::topics::Topics;
use super::transactions::Transactions;
use crate::clock;
use crate::directory_lock::DirectoryLock;
use crate::error::{Error, Result, SqlState};

/// How often groups and transactions are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How many ticks pass between looks at the age of segments.
const TICKS_A_RETENTION: u32 = 50;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) transactions: Transactions,
    /// Held while the broker runs, so that no other uses the directory.
    _directory_lock: Option<DirectoryLock>,
}

impl Server {
    /// Opens everything under the data directory; blocks on the disk.
    ///
    /// # Errors
    /// The directory is in use by another broker, or cannot be read or written.
    pub(crate) fn open(config: BrokerConfig) -> Result<Self> {
        let (directory_lock, journal, state) = match &config.data_dir {
            None => (None, Journal::in_memory(), JournalState::default()),
            Some(dir) => {
                let lock = lock_directory(dir)?;
                let (journal, state) = Journal::open(dir).map_err(|error| unusable(dir, &error))?;
                (Some(lock), journal, state)
            }
        };
        let config = Arc::new(config);
        let journal = Arc::new(journal);
        let groups = Groups::new(Arc::clone(&journal), config.groups_max, state.groups);
        let groups = Arc::new(groups);
        let shared = (Arc::clone(&config), Arc::clone(&journal));
        let topics = Topics::open(shared.0, shared.1, state.topics, state.next_topic_id).map_err(
            |error| unusable(config.data_dir.as_deref().unwrap_or(Path::new("")), &error),
        )?;
        let topics = Arc::new(topics);
        let transactions = Transactions::open(
            journal,
            Arc::clone(&topics),
            Arc::clone(&groups),
            config.groups_max,
            (state.transactions, state.next_producer_id),
        );
        Ok(Self {
            config,
            topics,
            groups,
            transactions,
            _directory_lock: directory_lock,
        })
    }

    /// Looks after members, transactions and old segments until it is told to stop.
    pub(crate) async fn look_after(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut ticks = 0_u32;
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !*stop.borrow_and_update() {
            tokio::select! {
                _ = interval.tick() => {}
                changed = stop.changed() => match changed {
                    Ok(()) => continue,
                    Err(_gone) => return,
                },
            }
            let now = clock::instant();
            self.groups.tick(now);
            self.transactions.tick(now);
            ticks = ticks.wrapping_add(1);
            if ticks.is_multiple_of(TICKS_A_RETENTION) {
                self.topics.retain_time(clock::wall_micros() / 1000);
            }
        }
    }
}

fn lock_directory(dir: &Path) -> Result<DirectoryLock> {
    DirectoryLock::acquire(dir).map_err(|error| match error {
        TryLockError::WouldBlock => {
            let message = format!(
                "data directory \"{}\" is in use by another broker",
                dir.display()
            );
            Error::external(SqlState::LockFileExists, false, message)
                .hint("Stop the other one, or choose another data directory.")
        }
        TryLockError::Error(error) => unusable(dir, &error),
    })
}

fn unusable(dir: &Path, error: &io::Error) -> Error {
    let message = format!("cannot use data directory \"{}\": {error}", dir.display());
    Error::external(SqlState::IoError, false, message)
        .hint("The directory must be writable, on a disk that has space left.")
}
