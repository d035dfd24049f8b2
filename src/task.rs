//! The one door to tasks and threads: each has a name, and a panic in one is told, not lost.

use std::future::Future;

use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The one who can ask everything to stop.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

/// Tells a task that it is to stop; cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// A way to ask for a stop and a way to hear of it.
pub fn shutdown() -> (Stop, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Stop(sender), Shutdown(receiver))
}

impl Stop {
    /// Asks for the stop. Asking again changes nothing.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Waits for the stop. Whoever could ask for it and is gone has asked for it.
    pub async fn requested(&mut self) {
        // An error means that the sender is gone.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// True when the stop has been asked for.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// Starts a task; its panic is logged with its name.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<Option<F::Output>>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let inner = tokio::spawn(future);
    tokio::spawn(async move {
        match inner.await {
            Ok(value) => Some(value),
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(task = name, "task panicked");
                }
                None
            }
        }
    })
}

/// Runs blocking work beside the runtime. A panic in it becomes an internal error.
///
/// # Errors
/// What the work returns, or an internal error if it panicked.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub async fn spawn_blocking<T, F>(work: F) -> crate::error::Result<T>
where
    F: FnOnce() -> crate::error::Result<T> + Send + 'static,
    T: Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(crate::error::Error::internal(format!(
                "blocking work: {error}"
            )))
        })
}

/// Starts an OS thread with a name (at most 15 bytes of it show in the system's tools).
///
/// # Errors
/// When the system has no thread left.
pub fn spawn_thread<F>(name: &str, work: F) -> std::io::Result<std::thread::JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
}

/// Runs `work` on every item, side by side when there is more than one, and gives the results in
/// the order of the items. A panic in one goes on in the caller.
pub fn in_parallel<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
    let mut items = items.into_iter();
    let Some(first) = items.next() else {
        return Vec::new();
    };
    let work = &work;
    std::thread::scope(|scope| {
        let others: Vec<_> = items.map(|item| scope.spawn(move || work(item))).collect();
        let mut results = vec![work(first)];
        for other in others {
            results.push(
                other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
        results
    })
}
