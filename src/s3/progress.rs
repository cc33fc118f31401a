//! Whether a transfer moves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Less than this, in bytes, within a read timeout is a stall.
const LEAST: u64 = 1000;

/// Counts the bytes that one exchange moves, either way.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<State>>);

struct State {
    /// When the last [`LEAST`] bytes were complete.
    since: Instant,
    moved_since: u64,
    sent: u64,
}

impl Progress {
    pub(super) fn new() -> Self {
        Progress(Arc::new(Mutex::new(State {
            since: Instant::now(),
            moved_since: 0,
            sent: 0,
        })))
    }

    /// Counts from now on.
    pub(super) fn restart(&self) {
        let mut state = self.state();
        state.since = Instant::now();
        state.moved_since = 0;
        state.sent = 0;
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.state().sent += bytes as u64;
        self.moved(bytes);
    }

    /// Bytes sent by the exchange so far, heads included.
    pub(super) fn bytes_sent(&self) -> u64 {
        self.state().sent
    }

    pub(super) fn moved(&self, bytes: usize) {
        let mut state = self.state();
        state.moved_since += bytes as u64;
        if state.moved_since >= LEAST {
            state.since = Instant::now();
            state.moved_since = 0;
        }
    }

    /// Ends when nothing worth the name has moved for `limit`.
    pub(super) async fn stalled(&self, limit: Duration) {
        loop {
            let until = self.state().since + limit;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
