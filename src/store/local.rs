//! What one process knows and holds of a store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::engine::Engine;
use crate::cache::Cache;
use crate::config::{Config, Keys};
use crate::error::{Code, Error, Result};
use crate::log::Log;
use crate::process::{section, Page};
use crate::s3::{Budget, Client, Credentials, Learned, Network, Presigner};

const TURN_PAUSE: Duration = Duration::from_millis(2);

/// Lives in one process, and is forgotten after a fork.
pub(super) struct Local {
    /// Whoever holds it has its turn; made at the first call.
    engine: Mutex<Option<Engine>>,
    pub(super) page: &'static Page,
    /// What the connections of this process share.
    network: Network,
    pub(super) log: Arc<Log>,
    pub(super) learned: Arc<Learned>,
    pub(super) credentials: Arc<Credentials>,
    /// None: no copies are kept.
    pub(super) cache: Option<Cache>,
    bucket_made: Mutex<Option<Instant>>,
    /// That of the last link.
    presigner: Mutex<Option<Arc<Presigner>>>,
}

impl Local {
    pub(super) fn new(config: &Arc<Config>, page: &'static Page) -> Self {
        let log = Arc::new(Log::new(config.mask.clone()));
        Local {
            engine: Mutex::new(None),
            page,
            network: Network::default(),
            learned: Arc::new(Learned::new(page, Arc::clone(&log))),
            credentials: Arc::new(Credentials::new(Arc::clone(config), page, Arc::clone(&log))),
            cache: config
                .cache
                .clone()
                .map(|options| Cache::new(options, page, Arc::clone(&log))),
            bucket_made: Mutex::new(None),
            presigner: Mutex::new(None),
            log,
        }
    }

    /// Runs `work` on the calling thread, within the deadline; the wait for the turn counts.
    /// `fails_fast`: whether it fails at once while the server is known to be down.
    pub(super) fn call<T>(
        &self,
        config: &Arc<Config>,
        deadline: Duration,
        fails_fast: bool,
        work: impl AsyncFnOnce(&Client, &Budget) -> Result<T>,
    ) -> Result<T> {
        let start = Instant::now();
        let mut turn = self.turn(deadline)?;
        let engine = match turn.take() {
            Some(engine) => engine,
            None => self.engine(config)?,
        };
        let left = deadline.saturating_sub(start.elapsed());
        // A panic in here drops the engine with all that is half done.
        let result = engine.run(left, fails_fast, work);
        *turn = Some(engine);
        result
    }

    /// The engine belongs to the calling thread: between two calls nothing runs.
    pub(super) fn engine(&self, config: &Arc<Config>) -> Result<Engine> {
        Engine::new(config, self, &self.network)
    }

    pub(super) fn disconnect(&self) {
        // A call under way in another thread keeps its connections to its end.
        if let Ok(mut engine) = self.engine.try_lock() {
            section(|| *engine = None);
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

    /// Signs links given out at `time`.
    pub(super) fn presigner(&self, keys: &Keys, region: &str, time: SystemTime) -> Arc<Presigner> {
        let mut last = self.presigner.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(presigner) if presigner.is_for(keys, region, time) => Arc::clone(presigner),
            other => {
                let next = Presigner::new(keys, region, time, other.as_deref());
                Arc::clone(last.insert(Arc::new(next)))
            }
        }
    }

    pub(super) fn remember_new_bucket(&self) {
        *self.bucket_made.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(super) fn bucket_is_new(&self, age: Duration) -> bool {
        let made = self.bucket_made.lock().unwrap_or_else(PoisonError::into_inner);
        made.is_some_and(|made| made.elapsed() < age)
    }
}
