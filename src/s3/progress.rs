//! How far an exchange has come, and whether it moves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Less than this, in bytes, within a read timeout is a stall.
const LEAST: u64 = 1000;

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// The request is not made yet.
    Begun,
    /// A connection is being made: name look-up, proxy and TLS included.
    Connecting,
    /// There is a connection; no answer yet.
    Waiting,
    /// The head of an answer has come.
    Answered,
}

/// How long an exchange may stand still.
#[derive(Clone, Copy, Debug)]
pub(super) struct StallLimits {
    /// Before the head of the answer has come.
    pub(super) before_answer: Duration,
    /// From then on.
    pub(super) after: Duration,
}

/// Follows one exchange at a time: its stage, and the bytes that it moves, either way.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<State>>);

struct State {
    stage: Stage,
    /// When the last [`LEAST`] bytes were complete.
    since: Instant,
    moved_since: u64,
    sent: u64,
}

impl Progress {
    pub(super) fn new() -> Self {
        Progress(Arc::new(Mutex::new(State {
            stage: Stage::Begun,
            since: Instant::now(),
            moved_since: 0,
            sent: 0,
        })))
    }

    /// A new exchange begins, or comes to its next stage: counts from now on.
    pub(super) fn enter(&self, stage: Stage) {
        let mut state = self.state();
        if stage < Stage::Answered {
            state.sent = 0;
        }
        state.stage = stage;
        state.since = Instant::now();
        state.moved_since = 0;
    }

    pub(super) fn stage(&self) -> Stage {
        self.state().stage
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

    /// Ends when nothing worth the name has moved for the limit; says which limit it was.
    pub(super) async fn stalled(&self, limits: StallLimits) -> Duration {
        loop {
            let (stage, since) = {
                let state = self.state();
                (state.stage, state.since)
            };
            let limit = match stage {
                Stage::Answered => limits.after,
                _ => limits.before_answer,
            };
            let until = since + limit;
            if until <= Instant::now() {
                return limit;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
