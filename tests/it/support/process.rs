//! A child process whose output goes to a file.
//!
//! Invariant: dropping it kills it; nothing outlives the test that started it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::wait;

const LOG_LINES_SHOWN: usize = 40;

/// A running (or ended) child process.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    /// Where this process's own part of the log begins: a restart goes on in the same file.
    log_start: usize,
}

impl Process {
    /// Starts a command; what it writes is appended to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        Self::start_with_input(command, log, Stdio::null())
    }

    /// The same with something to read.
    pub(crate) fn start_with_input(command: &mut Command, log: &Path, input: Stdio) -> Self {
        let open = || {
            let file = File::options().create(true).append(true).open(log);
            file.unwrap_or_else(|error| panic!("{}: {error}", log.display()))
        };
        let log_start = std::fs::metadata(log).map_or(0, |file| file.len());
        let child = command
            .stdin(input)
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log_start = usize::try_from(log_start).expect("a log fits into memory");
        Self {
            child,
            log: log.to_owned(),
            log_start,
        }
    }

    /// The product's binary, with no setting from the environment. `TEST_BINARY` tests another build of it, a release
    /// build for example.
    pub(crate) fn headwater() -> Command {
        let built = env!("CARGO_BIN_EXE_headwater");
        let mut command =
            Command::new(std::env::var_os("TEST_BINARY").unwrap_or_else(|| built.into()));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HEADWATER_")) {
            command.env_remove(name);
        }
        command
    }

    /// Where to write what it reads, if it was started with a pipe; asked for once.
    pub(crate) fn take_input(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("it was started with a pipe")
    }

    /// The address that the process says it listens on: `listening on ADDRESS (WHAT)`.
    pub(crate) fn announced(&mut self, what: &str) -> SocketAddr {
        let address = wait::within(wait::PATIENCE, || {
            let found = address_in(&self.output(), what);
            if found.is_none() && self.has_ended() {
                panic!("ended before it listened ({what}):\n{}", self.last_lines());
            }
            found
        });
        address.unwrap_or_else(|| panic!("does not listen ({what}):\n{}", self.last_lines()))
    }

    /// Waits until it says that it listens, or has ended before: false.
    pub(crate) fn announces(&mut self, what: &str) -> bool {
        wait::until("announcement or end", || {
            match address_in(&self.output(), what) {
                Some(_) => Some(true),
                None => self.has_ended().then_some(false),
            }
        })
    }

    /// What this process has written so far.
    pub(crate) fn output(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(self.log_start..).unwrap_or_default()).into_owned()
    }

    /// The end of its output, for the message of a failed test.
    pub(crate) fn last_lines(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// SIGKILL, as a crash is.
    pub(crate) fn kill(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        self.child.wait().expect("a child can be waited for");
    }

    /// Sends `INT`, `TERM` ..
    pub(crate) fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &command]).status();
        assert!(status.is_ok_and(|status| status.success()), "{command}");
    }

    /// How it ended, if it does within that time.
    pub(crate) fn ended_within(&mut self, time: Duration) -> Option<ExitStatus> {
        wait::within(time, || {
            self.child.try_wait().expect("a child can be waited for")
        })
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_for_end(&mut self) {
        let ended = self.ended_within(wait::PATIENCE);
        assert!(
            ended.is_some(),
            "the process goes on:\n{}",
            self.last_lines()
        );
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn address_in(output: &str, what: &str) -> Option<SocketAddr> {
    let end = format!(" ({what})");
    let line = output
        .lines()
        .find(|line| line.contains("listening on ") && line.contains(&end))?;
    let (_, after) = line.split_once("listening on ")?;
    after.split_once(&end)?.0.trim().parse().ok()
}
