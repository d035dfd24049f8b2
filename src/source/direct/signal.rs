//! Waiting for sockets and for other threads at once.

use std::io;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mio::{Registry, Token, Waker};

const OTHER_THREADS: Token = Token(0);

/// What ends a wait from elsewhere, and where sockets are made known.
#[derive(Debug)]
pub(super) struct Signal {
    registry: Registry,
    waker: Waker,
    woken: AtomicBool,
    tokens: AtomicUsize,
}

impl Signal {
    pub(super) fn new(registry: &Registry) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            registry: registry.try_clone()?,
            waker: Waker::new(registry, OTHER_THREADS)?,
            woken: AtomicBool::new(false),
            tokens: AtomicUsize::new(OTHER_THREADS.0 + 1),
        }))
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A token that no socket has.
    pub(super) fn next_token(&self) -> Token {
        Token(self.tokens.fetch_add(1, Ordering::Relaxed))
    }

    /// Ends a wait for sockets.
    pub(super) fn stir(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::debug!(target: "kafka", %error, "a reader cannot be woken");
        }
    }

    /// Whether somebody woke the reader since this was last asked.
    pub(super) fn take_woken(&self) -> bool {
        self.woken.swap(false, Ordering::AcqRel)
    }
}

/// Ends a waiting read, from another thread.
#[derive(Debug, Clone)]
pub(crate) struct DirectWaker(Weak<Signal>);

impl DirectWaker {
    pub(super) fn new(signal: &Arc<Signal>) -> Self {
        Self(Arc::downgrade(signal))
    }

    /// Makes the read that waits now, or the next one, return at once.
    pub(crate) fn wake(&self) {
        if let Some(signal) = self.0.upgrade() {
            signal.woken.store(true, Ordering::Release);
            signal.stir();
        }
    }
}
