//! The page shared by workers: what one of them learns of the server is known to the others.

use std::mem::{align_of, size_of};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};
use std::{io, ptr};

use super::tally::Tally;

/// The longest name that [`Names`] take, in bytes.
const LONGEST_NAME: usize = 64;

/// What is known of one server and one bucket. Everything is zero at first: nothing is known.
///
/// It holds atomics and no pointers, so that it means the same in every process. No field is a lock:
/// a worker that is killed while it writes leaves nothing that another one waits for. Moments are
/// milliseconds since the page was made, plus 1, so that 0 is free to mean "none".
#[derive(Debug)]
pub struct Page {
    made: Instant,
    /// When the server answered last, 0 if never.
    pub answered: AtomicU64,
    /// Until when the server is not asked; 0: the breaker is closed.
    pub open_until: AtomicU64,
    /// How long the breaker was opened last, in milliseconds.
    pub open_for: AtomicU64,
    /// Since when the breaker is open.
    pub open_since: AtomicU64,
    /// Until when a trial call has the word; 0 or past: none has.
    pub trial_until: AtomicU64,
    /// The object that got no answer last, 0 if one came since.
    pub silent: AtomicU64,
    /// The last two objects that got a 5xx, if no other answer came since.
    pub failing: [AtomicU64; 2],
    /// Whether the other addressing style is in force.
    pub other_style: AtomicBool,
    /// The region to sign for.
    pub region: Names,
    /// Whether the server has taken what was signed for the region in force.
    pub region_taken: AtomicBool,
    /// What is added to this machine's clock, in seconds.
    pub clock_offset: AtomicI64,
    /// Whether the server has refused a conditional PUT that it took without the condition.
    pub condition_unsupported: AtomicBool,
    /// The quickest small exchange, in microseconds; 0: none yet.
    pub round_trip: AtomicU64,
    /// What sending 1,000,000 bytes took last, in microseconds; 0: not known.
    pub per_megabyte: AtomicU64,
    /// Whether the server has stored without encrypting where it should have.
    pub unencrypted: AtomicBool,
    /// Whether an object was read or stored.
    pub proven: AtomicBool,
    /// Until when no keys are looked for, because none were found.
    pub no_keys_until: AtomicU64,
    /// How long that was last, in milliseconds.
    pub no_keys_for: AtomicU64,
    /// Calls that failed, by the code of their error.
    pub failures: Tally,
    /// Reads that a local copy served.
    pub cache_hits: AtomicU64,
    /// Reads for which there was none.
    pub cache_misses: AtomicU64,
    /// When trouble with the local copies was told last.
    pub cache_told: AtomicU64,
}

impl Page {
    fn new() -> Self {
        Page {
            made: Instant::now(),
            answered: AtomicU64::default(),
            open_until: AtomicU64::default(),
            open_for: AtomicU64::default(),
            open_since: AtomicU64::default(),
            trial_until: AtomicU64::default(),
            silent: AtomicU64::default(),
            failing: Default::default(),
            other_style: AtomicBool::default(),
            region: Names::default(),
            region_taken: AtomicBool::default(),
            clock_offset: AtomicI64::default(),
            condition_unsupported: AtomicBool::default(),
            round_trip: AtomicU64::default(),
            per_megabyte: AtomicU64::default(),
            unencrypted: AtomicBool::default(),
            proven: AtomicBool::default(),
            no_keys_until: AtomicU64::default(),
            no_keys_for: AtomicU64::default(),
            failures: Tally::default(),
            cache_hits: AtomicU64::default(),
            cache_misses: AtomicU64::default(),
            cache_told: AtomicU64::default(),
        }
    }

    /// A page that the processes forked from this one share with it. It is never given back: there
    /// are as many as there are sets of options.
    pub fn map() -> &'static Page {
        match map_shared(size_of::<Page>()) {
            // SAFETY: the mapping is fresh, writable, large enough, aligned to a memory page, and
            // never unmapped.
            Ok(memory) if (memory as usize) % align_of::<Page>() == 0 => unsafe {
                let page = memory.cast::<Page>();
                ptr::write(page, Page::new());
                &*page
            },
            // Without it every process learns for itself.
            _ => Box::leak(Box::new(Page::new())),
        }
    }

    /// The present moment.
    pub fn now(&self) -> u64 {
        1 + u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// How long it is until a moment; zero if it is past, or none.
    pub fn until(&self, moment: u64) -> Duration {
        Duration::from_millis(moment.saturating_sub(self.now()))
    }
}

fn map_shared(size: usize) -> io::Result<*mut libc::c_void> {
    // SAFETY: a new anonymous mapping touches no memory that is in use.
    let memory = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    match memory {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        memory => Ok(memory),
    }
}

/// A name that may be written a few times, each time into a place of its own, so that a reader finds
/// it whole and a writer that is killed leaves only an unused place.
#[derive(Debug, Default)]
pub struct Names {
    places: [[AtomicU64; LONGEST_NAME / 8]; 4],
    taken: AtomicUsize,
    /// The place of the name in force, plus 1; 0: none.
    current: AtomicUsize,
}

impl Names {
    /// The name in force.
    pub fn get(&self) -> Option<String> {
        use std::sync::atomic::Ordering::{Acquire, Relaxed};
        let place = self.places.get(self.current.load(Acquire).checked_sub(1)?)?;
        let bytes = place
            .iter()
            .flat_map(|word| word.load(Relaxed).to_ne_bytes())
            .take_while(|byte| *byte != 0)
            .collect();
        String::from_utf8(bytes).ok()
    }

    /// Puts a name in force; false if it is too long or all places are used up.
    pub fn set(&self, name: &str) -> bool {
        use std::sync::atomic::Ordering::{Relaxed, Release};
        let index = self.taken.fetch_add(1, Relaxed);
        let Some(place) = self.places.get(index).filter(|_| name.len() <= LONGEST_NAME) else {
            self.taken.fetch_min(self.places.len(), Relaxed);
            return false;
        };
        for (word, bytes) in place.iter().zip(name.as_bytes().chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(padded), Relaxed);
        }
        self.current.store(index + 1, Release);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_name_is_found_whole_and_places_are_used_up() {
        let names = Names::default();
        assert_eq!(names.get(), None);
        for name in ["eu-central-1", "a", "x-23456789-23456789", "garage"] {
            assert!(names.set(name));
            assert_eq!(names.get().as_deref(), Some(name));
        }
        for _ in 0..100 {
            assert!(!names.set("more"));
        }
        assert_eq!(names.get().as_deref(), Some("garage"));
        assert!(!Names::default().set(&"x".repeat(65)));
    }

    #[test]
    fn what_a_forked_child_learns_its_parent_knows() {
        let page = Page::map();
        // SAFETY: the child only stores into the page and leaves by _exit.
        unsafe {
            match libc::fork() {
                0 => {
                    page.open_until.store(7, Ordering::Relaxed);
                    let stored = page.region.set("eu-west-1");
                    libc::_exit(i32::from(!stored))
                }
                child => {
                    let mut status = 0;
                    libc::waitpid(child, &mut status, 0);
                    assert_eq!(status, 0);
                }
            }
        }
        assert_eq!(page.open_until.load(Ordering::Relaxed), 7);
        assert_eq!(page.region.get().as_deref(), Some("eu-west-1"));
    }

    #[test]
    fn moments() {
        let page = Page::map();
        let now = page.now();
        assert!((1..1000).contains(&now));
        assert_eq!(page.until(0), Duration::ZERO);
        assert!(page.until(now + 5000) > Duration::from_secs(4));
    }
}
