//! What belongs to one process, and what must not outlive a fork.
//!
//! Web servers fork after RT is configured. A runtime, a connection or a lock that the parent made
//! is useless or harmful in the child, so whatever lives in a process stands in a [`PerProcess`]:
//! in another process it is forgotten, never dropped (dropping would say good-bye on the parent's
//! connections), and made anew. What may be known to all workers of one parent stands in a [`Page`].

mod command;
mod fork;
mod page;
mod tally;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::{mem, process, ptr, thread};

pub use command::run_command;
pub use fork::section;
pub use page::Page;

/// A value made once in every process that asks for it.
///
/// The value lives as long as the process; what holds connections is emptied by its owner.
pub struct PerProcess<T> {
    current: AtomicPtr<Tagged<T>>,
}

struct Tagged<T> {
    process: u32,
    value: T,
}

impl<T: Sync> PerProcess<T> {
    /// Holds nothing yet.
    pub const fn new() -> Self {
        PerProcess {
            current: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// This process's value; `make` makes it if there is none. Never waits for a lock.
    pub fn get(&self, make: impl Fn() -> T) -> &T {
        let process = process::id();
        let mut seen = self.current.load(Ordering::Acquire);
        loop {
            // SAFETY: what `current` points to is freed only by Drop, when nothing borrows `self`.
            if let Some(tagged) = unsafe { seen.as_ref() } {
                if tagged.process == process {
                    return &tagged.value;
                }
            }
            let value = make();
            let new = Box::into_raw(Box::new(Tagged { process, value }));
            match self
                .current
                .compare_exchange(seen, new, Ordering::AcqRel, Ordering::Acquire)
            {
                // SAFETY: as above.
                Ok(_) => return unsafe { &(*new).value },
                Err(other) => {
                    seen = other;
                    // SAFETY: it was not stored, so it is still ours alone.
                    drop(unsafe { Box::from_raw(new) });
                }
            }
        }
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let current = *self.current.get_mut();
        // SAFETY: `current` is null or came from Box::into_raw, and nothing borrows it any more.
        // Another process's value is forgotten.
        unsafe {
            if current
                .as_ref()
                .is_some_and(|tagged| tagged.process == process::id())
            {
                drop(Box::from_raw(current));
            }
        }
    }
}

impl<T: Sync> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether so many descriptors can be opened. Where not, others would fail in worse ways: tokio panics,
/// OpenSSL goes on without the system's authorities, and a look-up finds no name.
///
/// # Errors
/// What the system says, such as "Too many open files".
pub fn check_descriptors(count: usize) -> io::Result<()> {
    let opened: io::Result<Vec<_>> = (0..count).map(|_| std::fs::File::open("/dev/null")).collect();
    opened.map(drop)
}

/// The user whose rights this process has.
pub fn user() -> u32 {
    // SAFETY: it can't fail.
    unsafe { libc::geteuid() }
}

/// Bytes that a TCP socket has taken to send, and the other side has not acknowledged. None where the system can't tell.
pub fn unacknowledged(socket: RawFd) -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let mut count: libc::c_int = 0;
        // SAFETY: the request, Linux's SIOCOUTQ, writes one int; a descriptor that is no socket is an error.
        let result = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &mut count) };
        (result == 0).then(|| u64::try_from(count).ok()).flatten()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = socket;
        None
    }
}

/// Takes the lock of a file, which the system takes back when the file is closed; false if somebody else has it.
/// A child forked meanwhile has it as well.
pub fn try_lock(file: &File) -> bool {
    // SAFETY: the descriptor is open.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

/// Starts a thread that no signal is delivered to.
///
/// On a threaded Perl a handled signal that reaches a thread which Perl did not make kills the
/// process, so the thread must be born with all signals blocked.
pub fn spawn_without_signals(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    let before = block_signals()?;
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    restore_signals(&before);
    spawned
}

fn block_signals() -> io::Result<libc::sigset_t> {
    // SAFETY: sigset_t is plain data, filled by sigfillset and pthread_sigmask before it is read.
    unsafe {
        let mut all: libc::sigset_t = mem::zeroed();
        let mut before: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&mut all);
        match libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before) {
            0 => Ok(before),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: `before` is what pthread_sigmask gave; setting it again can't fail.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, before, ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn a_value_is_made_once_in_a_process() {
        let made = AtomicUsize::new(0);
        let value = PerProcess::new();
        for _ in 0..3 {
            assert_eq!(*value.get(|| made.fetch_add(1, Ordering::Relaxed)), 0);
        }
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_forked_child_makes_its_own_and_leaves_the_parents_alone() {
        struct Loud(u32);
        impl Drop for Loud {
            fn drop(&mut self) {
                process::abort();
            }
        }
        let value = PerProcess::new();
        let parents = value.get(|| Loud(process::id())).0;
        // SAFETY: the child only makes a value, compares and leaves by _exit.
        let status = unsafe {
            match libc::fork() {
                0 => {
                    let own = value.get(|| Loud(process::id())).0;
                    libc::_exit(i32::from(own == parents || own != process::id()))
                }
                child => {
                    let mut status = 0;
                    libc::waitpid(child, &mut status, 0);
                    status
                }
            }
        };
        assert_eq!(status, 0, "the child found the parent's value, or dropped it");
        assert_eq!(value.get(|| Loud(0)).0, parents);
        mem::forget(value);
    }

    #[test]
    fn threads_are_born_with_signals_blocked() {
        let (send, receive) = std::sync::mpsc::channel();
        spawn_without_signals("probe", move || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("SigBlk:")).unwrap();
            send.send(line.to_owned()).unwrap();
        })
        .unwrap()
        .join()
        .unwrap();
        let blocked = receive.recv().unwrap();
        let mask = u64::from_str_radix(blocked.trim_start_matches("SigBlk:").trim(), 16).unwrap();
        for signal in [
            libc::SIGTERM,
            libc::SIGINT,
            libc::SIGCHLD,
            libc::SIGALRM,
            libc::SIGUSR1,
            libc::SIGHUP,
        ] {
            assert!(mask & (1 << (signal - 1)) != 0, "signal {signal}: {blocked}");
        }
    }
}
