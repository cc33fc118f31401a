//! Many Stores at once, pipelined with the caller.
//!
//! Each worker is a thread with an event loop and connections of its own, born with all signals blocked.
//! They live only as long as the [`Bulk`].

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::error::{Code, Error, Result};
use crate::key::Key;
use crate::process::spawn_without_signals;
use crate::store::{Engine, Store, Stored};

/// Perl's signal handlers run between two calls only.
pub const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// What a content costs beside its bytes.
const OVERHEAD: u64 = 1024;

/// A content that is to be stored.
struct Job {
    id: u64,
    key: Option<Key>,
    content: Vec<u8>,
    content_type: Option<String>,
}

impl Job {
    fn cost(&self) -> u64 {
        self.content.len() as u64 + OVERHEAD
    }
}

/// What came of one content.
#[derive(Debug)]
pub struct Done {
    /// The number it was submitted with.
    pub id: u64,
    /// The key that it is stored under, and whether the object may have been there before.
    pub result: Result<(Key, bool)>,
}

/// Stores many contents at once. Its calls may come from any thread, of the process that made it.
pub struct Bulk {
    store: &'static Store,
    shared: Arc<Shared>,
    /// True: everything is to end.
    stop: watch::Sender<bool>,
    most_workers: usize,
    most_bytes: u64,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is work, or all is to end.
    work: Condvar,
    /// There is a result.
    done: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    results: VecDeque<Done>,
    /// Bytes of contents that are waiting or under way.
    held: u64,
    /// Contents that are under way.
    under_way: usize,
    idle_workers: usize,
    ends: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bulk {
    /// No thread yet. `most_workers`: uploads under way at once; `most_bytes`: of contents held, waiting
    /// or under way.
    pub fn new(store: &'static Store, most_workers: usize, most_bytes: u64) -> Self {
        Bulk {
            store,
            shared: Arc::default(),
            stop: watch::Sender::new(false),
            most_workers: most_workers.max(1),
            most_bytes,
            workers: Mutex::default(),
        }
    }

    /// Takes a copy of a content, which a worker hashes and stores. False: there is no room for it
    /// before another one is done. A content that is larger than all the room is taken alone.
    ///
    /// # Errors
    /// [`Code::Internal`] where there is no memory for it, or no thread.
    pub fn submit(
        &self,
        id: u64,
        key: Option<&Key>,
        content: &[u8],
        content_type: Option<&str>,
    ) -> Result<bool> {
        let cost = content.len() as u64 + OVERHEAD;
        let is_full = |state: &State| state.held > 0 && state.held.saturating_add(cost) > self.most_bytes;
        if is_full(&self.shared.state()) {
            return Ok(false);
        }
        let mut copy = Vec::new();
        copy.try_reserve_exact(content.len())
            .map_err(|_| Error::new(Code::Internal, "out of memory for a content"))?;
        copy.extend_from_slice(content);
        let mut state = self.shared.state();
        // Another thread may have been faster.
        if is_full(&state) {
            return Ok(false);
        }
        if state.idle_workers <= state.waiting.len() {
            self.hire()?;
        }
        let job = Job {
            id,
            key: key.copied(),
            content: copy,
            content_type: content_type.map(str::to_owned),
        };
        state.held += job.cost();
        state.waiting.push_back(job);
        drop(state);
        self.shared.work.notify_one();
        Ok(true)
    }

    /// What came of one of the contents, as soon as there is something. None: nothing has come within
    /// `limit`, or within [`LONGEST_WAIT`], or there is nothing to wait for.
    pub fn wait(&self, limit: Duration) -> Option<Done> {
        let end = Instant::now() + limit.min(LONGEST_WAIT);
        let mut state = self.shared.state();
        loop {
            if let Some(done) = state.results.pop_front() {
                return Some(done);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || (state.waiting.is_empty() && state.under_way == 0) {
                return None;
            }
            state = match self.shared.done.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Contents submitted whose result was not taken yet.
    pub fn outstanding(&self) -> u64 {
        let state = self.shared.state();
        (state.waiting.len() + state.under_way + state.results.len()) as u64
    }

    /// One worker more, if there may be.
    fn hire(&self) -> Result<()> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if workers.len() >= self.most_workers {
            return Ok(());
        }
        let (store, shared) = (self.store, Arc::clone(&self.shared));
        let stop = self.stop.subscribe();
        match spawn_without_signals("rts3-store", move || work(store, &shared, &stop)) {
            Ok(worker) => workers.push(worker),
            // The others do it.
            Err(_) if !workers.is_empty() => {}
            Err(error) => {
                let text = format!("no thread to store with: {error}");
                return Err(Error::new(Code::Internal, text));
            }
        }
        Ok(())
    }
}

/// Ends all workers, and waits for them: what is under way is given up, and may be stored or not.
impl Drop for Bulk {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.ends = true;
            state.waiting.clear();
        }
        self.stop.send_replace(true);
        self.shared.work.notify_all();
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        for worker in workers {
            // One that panicked is over as well.
            let _ = worker.join();
        }
    }
}

/// A worker's life.
fn work(store: &'static Store, shared: &Shared, stop: &watch::Receiver<bool>) {
    let mut engine = None;
    while let Some(job) = next_job(shared) {
        let mut under_way = UnderWay {
            shared,
            id: job.id,
            cost: job.cost(),
            result: None,
        };
        under_way.result = Some(store_job(store, &mut engine, &job, stop));
        drop(job);
    }
}

fn next_job(shared: &Shared) -> Option<Job> {
    let mut state = shared.state();
    state.idle_workers += 1;
    loop {
        if state.ends {
            return None;
        }
        if let Some(job) = state.waiting.pop_front() {
            state.idle_workers -= 1;
            state.under_way += 1;
            return Some(job);
        }
        state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

fn store_job(
    store: &'static Store,
    engine: &mut Option<Engine>,
    job: &Job,
    stop: &watch::Receiver<bool>,
) -> Result<(Key, bool)> {
    // A panic leaves none, with all that was half done.
    let own = match engine.take() {
        Some(engine) => engine,
        None => store.engine()?,
    };
    let mut stop = stop.clone();
    let stopped = async {
        let _ = stop.wait_for(|stop| *stop).await;
        Error::new(Code::Internal, "given up: the bulk handle was closed")
    };
    let content_type = job.content_type.as_deref();
    let result = store.store_with(&own, job.key.as_ref(), &job.content, content_type, stopped);
    *engine = Some(own);
    result.map(|(key, stored)| (key, stored == Stored::Perhaps))
}

/// A content under way: whatever happens to its worker, it ends with a result.
struct UnderWay<'a> {
    shared: &'a Shared,
    id: u64,
    cost: u64,
    result: Option<Result<(Key, bool)>>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| {
            let text = "a mistake in librts3, please report it: a thread that stores has panicked";
            Err(Error::new(Code::Internal, text))
        });
        let mut state = self.shared.state();
        state.held -= self.cost;
        state.under_way -= 1;
        state.results.push_back(Done { id: self.id, result });
        drop(state);
        self.shared.done.notify_one();
    }
}

#[cfg(test)]
mod tests;
