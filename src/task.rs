//! The one door to tasks and threads: each has a name, and a panic in one is told, not lost.

use std::future::Future;

use tokio::runtime::Runtime;
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

/// The stack of a thread that plans statements. Planning goes as deep as a statement does; the
/// deepest that is read needs less than half of this, also without optimisation.
pub const STACK_BYTES: usize = 16 << 20;

/// Threads for work that keeps a processor busy, beside those that answer clients: however much of
/// it there is, a client is heard.
#[derive(Debug)]
pub struct Compute {
    /// Always there until the drop.
    runtime: Option<Runtime>,
}

impl Compute {
    /// As many threads as there are processors.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn new() -> crate::error::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("compute")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| {
                crate::error::Error::internal(format!("no threads for queries: {error}"))
            })?;
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    /// Starts a task that ends when its handle is dropped.
    pub fn spawn_scoped<F>(&self, name: &'static str, future: F) -> Scoped<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let runtime = self.runtime.as_ref().expect("it is there until the drop");
        Scoped {
            name,
            task: runtime.spawn(future),
        }
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        // Waiting for the threads is not possible inside of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Lets threads that may block wait for futures, whose work goes on on a thread of its own.
#[derive(Debug)]
pub struct Waiting {
    /// Always there until the drop.
    runtime: Option<Runtime>,
}

impl Waiting {
    /// One thread, with a name.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn new(name: &'static str) -> crate::error::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(name)
            .enable_all()
            .build()
            .map_err(|error| {
                crate::error::Error::internal(format!("no thread for {name}: {error}"))
            })?;
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    /// Waits for a future. Not for tasks of a runtime: they must not block.
    pub fn on<F: Future>(&self, future: F) -> F::Output {
        let runtime = self.runtime.as_ref().expect("it is there until the drop");
        runtime.block_on(future)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Waiting for the thread is not possible inside of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A task that ends with its handle: dropping it stops the work at its next await.
#[derive(Debug)]
pub struct Scoped<T> {
    name: &'static str,
    task: JoinHandle<T>,
}

/// Starts a task that ends when its handle is dropped.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn spawn_scoped<F>(name: &'static str, future: F) -> Scoped<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Scoped {
        name,
        task: tokio::spawn(future),
    }
}

impl<T> Scoped<T> {
    /// True when the work is over, whatever came of it.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// An internal error if the task panicked.
    pub async fn join(&mut self) -> crate::error::Result<T> {
        (&mut self.task).await.map_err(|error| {
            tracing::error!(task = self.name, error = %error, "task panicked");
            crate::error::Error::internal(format!("{}: {}", self.name, panic_text(error)))
        })
    }
}

impl<T> Drop for Scoped<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a panic said.
fn panic_text(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(text), _) => text.clone(),
            (None, Some(text)) => (*text).to_owned(),
            (None, None) => "panicked".to_owned(),
        },
        Err(error) => error.to_string(),
    }
}
