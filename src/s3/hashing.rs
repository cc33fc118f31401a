//! The digest of an object that arrives: of a large one computed by a thread beside the transfer, which ends with it.

use std::sync::mpsc::{sync_channel, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use hyper::body::Bytes;
use once_cell::sync::Lazy;

use crate::key::{Hasher, Key};
use crate::process::spawn_without_signals;

/// Below this many bytes the thread would take longer than it saves.
const LARGE: u64 = 2_000_000;
/// Bytes that are handed over at once: waking a thread takes time as well.
const BATCH: usize = 512 * 1024;
/// Batches that may wait, so that memory is bounded where the thread is the slower one.
const WAITING: usize = 2;

static HAS_SEVERAL_PROCESSORS: Lazy<bool> =
    Lazy::new(|| thread::available_parallelism().is_ok_and(|count| count.get() > 1));

/// Computes the key of what is taken, in this thread or in one of its own.
pub(super) enum Hashing {
    Here(Hasher),
    Beside(Beside),
}

impl Hashing {
    /// For an object of `size` bytes, where that is known.
    pub(super) fn of(size: Option<u64>) -> Self {
        let is_large = size.is_some_and(|size| size >= LARGE);
        let beside = (is_large && *HAS_SEVERAL_PROCESSORS).then(Beside::start);
        match beside.flatten() {
            Some(beside) => Hashing::Beside(beside),
            None => Hashing::Here(Hasher::default()),
        }
    }

    /// Takes the next piece.
    pub(super) fn update(&mut self, piece: Bytes) {
        match self {
            Hashing::Here(hasher) => hasher.update(&piece),
            Hashing::Beside(beside) => beside.update(piece),
        }
    }

    /// The key of all pieces together.
    pub(super) fn finish(self) -> Key {
        match self {
            Hashing::Here(hasher) => hasher.finish(),
            Hashing::Beside(beside) => beside.finish(),
        }
    }
}

pub(super) struct Beside {
    batch: Vec<Bytes>,
    size: usize,
    /// None: no more will come.
    sender: Option<SyncSender<Vec<Bytes>>>,
    thread: Option<JoinHandle<()>>,
    hasher: Arc<Mutex<Hasher>>,
}

impl Beside {
    /// None where there can be no thread.
    fn start() -> Option<Self> {
        let (sender, receiver) = sync_channel::<Vec<Bytes>>(WAITING);
        let hasher = Arc::new(Mutex::new(Hasher::default()));
        let shared = Arc::clone(&hasher);
        let thread = spawn_without_signals("rts3-sha256", move || {
            let mut hasher = shared.lock().unwrap_or_else(PoisonError::into_inner);
            for piece in receiver.iter().flatten() {
                hasher.update(&piece);
            }
        });
        Some(Beside {
            batch: Vec::new(),
            size: 0,
            sender: Some(sender),
            thread: Some(thread.ok()?),
            hasher,
        })
    }

    fn update(&mut self, piece: Bytes) {
        self.size += piece.len();
        self.batch.push(piece);
        if self.size >= BATCH {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        self.size = 0;
        let batch = std::mem::take(&mut self.batch);
        // It ends only when the sender does.
        let _ = self.sender.as_ref().map(|sender| sender.send(batch));
    }

    fn finish(mut self) -> Key {
        self.hand_over();
        self.end();
        let hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        hasher.clone().finish()
    }

    fn end(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// No thread outlives the call.
impl Drop for Beside {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_lead_to_the_same_digest() {
        let content: Vec<u8> = (0..3_000_000u32)
            .map(|number| (number.wrapping_mul(number) >> 7) as u8)
            .collect();
        for size in [None, Some(10), Some(content.len() as u64)] {
            let mut hashing = Hashing::of(size);
            assert_eq!(
                matches!(hashing, Hashing::Beside(_)),
                *HAS_SEVERAL_PROCESSORS && size.is_some_and(|size| size >= LARGE)
            );
            for piece in content.chunks(16_384) {
                hashing.update(Bytes::copy_from_slice(piece));
            }
            assert_eq!(hashing.finish(), Key::of(&content));
        }
    }

    #[test]
    fn one_that_is_given_up_ends_its_thread() {
        let mut beside = Beside::start().unwrap();
        beside.update(Bytes::from(vec![0; BATCH]));
        let hasher = Arc::downgrade(&beside.hasher);
        drop(beside);
        assert!(hasher.upgrade().is_none(), "the thread had one, too");
    }
}
