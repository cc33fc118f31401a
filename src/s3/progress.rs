//! How far an exchange has come, and whether it moves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Less than this, in bytes, within a read timeout is a stall.
const LEAST: u64 = 1000;
/// What comes before the head of an answer is complete, in bytes, the beginning of its body and any number
/// of interim answers included.
const LONGEST_HEAD: u64 = 4 * 1024 * 1024;

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

/// Lets what has arrived be read before time is said to be over: a process that was stopped for a while finds
/// its timers at their end first.
pub(super) async fn look_at_sockets() {
    tokio::task::yield_now().await;
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
    /// Bytes received in this stage.
    received: u64,
}

impl Progress {
    pub(super) fn new() -> Self {
        Progress(Arc::new(Mutex::new(State {
            stage: Stage::Begun,
            since: Instant::now(),
            moved_since: 0,
            sent: 0,
            received: 0,
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
        state.received = 0;
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

    /// False: so much has come, but still no whole head of an answer.
    pub(super) fn received(&self, bytes: usize) -> bool {
        self.moved(bytes);
        let mut state = self.state();
        state.received += bytes as u64;
        state.stage != Stage::Waiting || state.received <= LONGEST_HEAD
    }

    fn moved(&self, bytes: usize) {
        let mut state = self.state();
        state.moved_since += bytes as u64;
        if state.moved_since >= LEAST {
            state.since = Instant::now();
            state.moved_since = 0;
        }
    }

    /// Ends when nothing worth the name has moved for the limit; says which limit it was.
    pub(super) async fn stalled(&self, limits: StallLimits) -> Duration {
        let mut looked_at = None;
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
            if until > Instant::now() {
                tokio::time::sleep_until(until).await;
            } else if looked_at == Some(since) {
                return limit;
            } else {
                look_at_sockets().await;
                looked_at = Some(since);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
