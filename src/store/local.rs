//! What one process knows and holds of a store.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use crate::config::{Config, Endpoint};
use crate::error::{one_line, Code, Error, Result};
use crate::s3::{Budget, Client, Learned};

/// Messages that nobody takes don't pile up.
const MOST_MESSAGES: usize = 1000;
const TURN_PAUSE: Duration = Duration::from_millis(2);

/// How serious a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something has to be mended.
    Error = 1,
    /// Something went wrong and was mended.
    Warning = 2,
    /// Worth knowing.
    Info = 3,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// How serious it is.
    pub level: Level,
    /// One line.
    pub text: String,
}

/// Lives in one process, and is forgotten after a fork.
pub(super) struct Local {
    /// Whoever holds it has its turn; made at the first call.
    engine: Mutex<Option<Engine>>,
    messages: Mutex<VecDeque<Message>>,
    proven: AtomicBool,
    condition_unsupported: AtomicBool,
    bucket_made: Mutex<Option<Instant>>,
    learned: Arc<Learned>,
}

struct Engine {
    runtime: Runtime,
    client: Client,
}

impl Local {
    pub(super) fn new() -> Self {
        Local {
            engine: Mutex::new(None),
            messages: Mutex::new(VecDeque::new()),
            proven: AtomicBool::new(false),
            condition_unsupported: AtomicBool::new(false),
            bucket_made: Mutex::new(None),
            learned: Arc::default(),
        }
    }

    /// Runs `work` on the calling thread, within the deadline; the wait for the turn counts.
    pub(super) fn call<T>(
        &self,
        config: &Arc<Config>,
        deadline: Duration,
        work: impl AsyncFnOnce(&Client, &Budget) -> Result<T>,
    ) -> Result<T> {
        let start = Instant::now();
        let mut turn = self.turn(deadline)?;
        let engine = match turn.take() {
            Some(engine) => engine,
            None => Engine::new(config, &self.learned)?,
        };
        let left = deadline.saturating_sub(start.elapsed());
        // A panic in here drops the engine with all that is half done.
        let result = engine.runtime.block_on(async {
            let budget = Budget::new(left, config.retries);
            work(&engine.client, &budget).await
        });
        *turn = Some(engine);
        for note in self.learned.take_notes() {
            self.tell(Level::Warning, note);
        }
        result
    }

    /// The endpoint in the addressing style in force.
    pub(super) fn endpoint<'a>(&self, config: &'a Config) -> &'a Endpoint {
        self.learned.endpoint(config)
    }

    pub(super) fn disconnect(&self) {
        // A call under way in another thread keeps its connections to its end.
        if let Ok(mut engine) = self.engine.try_lock() {
            *engine = None;
        }
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.engine.lock().is_ok_and(|engine| engine.is_none())
    }

    fn turn(&self, deadline: Duration) -> Result<MutexGuard<'_, Option<Engine>>> {
        let start = Instant::now();
        loop {
            match self.engine.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => {
                    self.engine.clear_poison();
                    return Ok(poisoned.into_inner());
                }
                Err(TryLockError::WouldBlock) if start.elapsed() < deadline => thread::sleep(TURN_PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let text =
                        "another thread's call took the whole Deadline: calls of one handle take turns";
                    return Err(Error::new(Code::Timeout, text));
                }
            }
        }
    }

    pub(super) fn tell(&self, level: Level, text: impl AsRef<str>) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() < MOST_MESSAGES {
            messages.push_back(Message {
                level,
                text: one_line(text.as_ref()),
            });
        }
    }

    pub(super) fn next_message(&self) -> Option<Message> {
        self.messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    pub(super) fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// Whether `If-None-Match: *` may be sent with a PUT.
    pub(super) fn supports_condition(&self) -> bool {
        !self.condition_unsupported.load(Ordering::Relaxed)
    }

    pub(super) fn forget_condition(&self) {
        self.condition_unsupported.store(true, Ordering::Relaxed);
    }

    pub(super) fn remember_new_bucket(&self) {
        *self.bucket_made.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(super) fn bucket_is_new(&self, age: Duration) -> bool {
        let made = self.bucket_made.lock().unwrap_or_else(PoisonError::into_inner);
        made.is_some_and(|made| made.elapsed() < age)
    }
}

impl Engine {
    /// The runtime belongs to the calling thread: between two calls nothing runs.
    fn new(config: &Arc<Config>, learned: &Arc<Learned>) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        let runtime =
            runtime.map_err(|error| Error::new(Code::Internal, format!("no event loop: {error}")))?;
        Ok(Engine {
            runtime,
            client: Client::new(Arc::clone(config), Arc::clone(learned)),
        })
    }
}
