//! Forks of a process with several threads: none happens while one of them is inside the library.
//!
//! A lock that another thread holds at the moment of a fork stays locked in the child for ever. Ours
//! are forgotten there, but OpenSSL has locks of its own, which a child waits for as soon as it makes
//! a connection. So whoever runs code that may take them is in a [`section`], and a fork waits until
//! all sections are over. They take milliseconds: waiting for the network is done outside of them.

use std::cell::{Cell, RefCell};
use std::sync::{Once, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static SECTIONS: RwLock<()> = RwLock::new(());
static REGISTERED: Once = Once::new();

thread_local! {
    /// Sections that this thread is in.
    static INSIDE: Cell<u32> = const { Cell::new(0) };
    /// Held while this thread forks.
    static FORKING: RefCell<Option<RwLockWriteGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// Keeps forks away from what `work` does. It must not wait for anything.
pub fn section<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: the handlers are functions without arguments that never unwind; the library is never
    // unloaded.
    REGISTERED.call_once(|| unsafe {
        libc::pthread_atfork(Some(before), Some(after), Some(after));
    });
    let _section = Section::enter();
    work()
}

struct Section {
    /// None: this thread is in a section already.
    _lock: Option<RwLockReadGuard<'static, ()>>,
}

impl Section {
    fn enter() -> Self {
        let outer = INSIDE.with(|inside| inside.replace(inside.get() + 1));
        let lock = (outer == 0).then(|| SECTIONS.read().unwrap_or_else(PoisonError::into_inner));
        Section { _lock: lock }
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        INSIDE.with(|inside| inside.set(inside.get().saturating_sub(1)));
    }
}

/// Waits until no other thread is in a section. A thread that forks within one of its own (its
/// caller's `reserve` does) can't wait for itself.
extern "C" fn before() {
    if INSIDE.with(Cell::get) == 0 {
        let lock = SECTIONS.write().unwrap_or_else(PoisonError::into_inner);
        FORKING.with(|forking| *forking.borrow_mut() = Some(lock));
    }
}

extern "C" fn after() {
    FORKING.with(|forking| drop(forking.borrow_mut().take()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    /// Forks; the child enters a section, with a watchdog, and leaves.
    fn fork_and_enter() -> i32 {
        // SAFETY: the child only takes a lock that it must find free, and leaves by _exit.
        unsafe {
            match libc::fork() {
                0 => {
                    libc::alarm(5);
                    libc::_exit(section(|| 0))
                }
                child => {
                    let mut status = 0;
                    libc::waitpid(child, &mut status, 0);
                    status
                }
            }
        }
    }

    #[test]
    fn a_fork_waits_for_sections_and_leaves_none_to_the_child() {
        let done = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&done);
        let (send, receive) = std::sync::mpsc::channel();
        let inside = thread::spawn(move || {
            section(|| {
                send.send(()).unwrap();
                thread::sleep(Duration::from_millis(100));
                seen.store(true, Ordering::SeqCst);
            });
        });
        receive.recv().unwrap();
        assert_eq!(fork_and_enter(), 0);
        assert!(done.load(Ordering::SeqCst), "the fork did not wait");
        inside.join().unwrap();
    }

    #[test]
    fn a_fork_within_a_section_does_not_wait_for_itself() {
        let start = Instant::now();
        section(|| section(|| assert_eq!(fork_and_enter(), 0)));
        assert!(start.elapsed() < Duration::from_secs(5));
        assert_eq!(INSIDE.with(Cell::get), 0);
    }
}
