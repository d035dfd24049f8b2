//! `headwater feed`: outside data into a topic.
//!
//! Owns the arguments, the progress line and the closing line. Tokens come from the environment or a
//! file, never from the arguments, which every user of the machine can read.

mod arguments;
mod slack;
mod secret;
mod show;

use std::process::ExitCode;
use std::sync::Arc;

use super::progress::{self, Progress};
use super::{output, report, signals};
use crate::clock;
use crate::config::Settings;
use crate::error::{Error, Result, SqlState};
use crate::feed::{Feed, FeedOptions, Notes};
use crate::task::Shutdown;
use crate::telemetry;
pub(super) use arguments::Options;
use show::Speed;

/// The exit code of a wrong usage.
const WRONG_USAGE: u8 = 2;

/// Runs until the source ends or it is told to stop.
pub(super) async fn run(options: Options) -> Result<ExitCode> {
    let (source, target) = options.source.split();
    let mut common = target.common.clone();
    common.log_level.get_or_insert_with(|| "warn".to_owned());
    let config = Settings::from(common).resolve()?;
    telemetry::init(config.log_format, &config.log_level)?;
    let Some(connection) = config.kafka.connection() else {
        let error = Error::user(SqlState::InvalidParameterValue, "no Kafka cluster is given");
        report::error(&error.hint("Name one with --kafka HOST:PORT."));
        return Ok(ExitCode::from(WRONG_USAGE));
    };
    let (source, name) = match source.resolve() {
        Ok(resolved) => resolved,
        Err(error) => {
            report::error(&error);
            return Ok(ExitCode::from(WRONG_USAGE));
        }
    };
    if target.resume.is_some() && !source.has_position() {
        let message = "this source cannot go on where it stopped";
        let error = Error::user(SqlState::InvalidParameterValue, message);
        report::error(&error.hint(
            "Leave out --resume. Files have a position, and HTTP endpoints with a cursor or a \
             since-parameter.",
        ));
        return Ok(ExitCode::from(WRONG_USAGE));
    }
    pump(FeedOptions {
        source,
        name,
        connection,
        topic: target.topic,
        create_topic: target.create_topic.then_some(target.partitions),
        key_path: target.key_path,
        rate: target.rate,
        resume: target.resume,
        limit: target.limit,
    })
    .await
}

/// Runs the feed, shows how far it is, and says at the end what it did.
async fn pump(options: FeedOptions) -> Result<ExitCode> {
    let shutdown = signals::watch()?;
    let topic = options.topic.clone();
    let notes = Arc::new(Notes::default());
    let progress = Progress::counter();
    let mut speed = Speed::default();
    let mut running = Box::pin(open_and_run(options, &notes, &progress, shutdown));
    let done = loop {
        tokio::select! {
            done = &mut running => break done,
            () = clock::sleep(progress::TICK) => {
                progress.message(show::under_way(notes.counts(), &mut speed));
            }
        }
    };
    drop(running);
    progress.finish();
    output::line(&show::at_the_end(notes.counts(), &topic))?;
    done.map(|()| ExitCode::SUCCESS)
}

/// Opens the feed, says where it listens if it does, and runs it.
async fn open_and_run(
    options: FeedOptions,
    notes: &Arc<Notes>,
    progress: &Progress,
    shutdown: Shutdown,
) -> Result<()> {
    let feed = Feed::open(options, Arc::clone(notes)).await?;
    if let Some(address) = feed.address() {
        let line = format!("listening on {address} (slack)");
        progress.suspend(|| output::line(&line))?;
    }
    feed.run(shutdown).await
}
