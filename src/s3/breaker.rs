//! Whether to try at all: a server that is down is found out once, not by every call.
//!
//! Closed, every call goes through. What opens it: no connection (look-up, TCP, TLS), at once; no
//! answer at all for two different objects in a row; a 5xx for three different objects in a row. It
//! stays open for 5 s, then twice as long up to 60 s, each time until one call has tried whether the
//! server is back. Any answer closes it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::key::Key;
use crate::log::{Level, Log};
use crate::process::Page;

/// How long it stays open at first, in milliseconds.
const OPEN: u64 = 5_000;
const OPEN_LONGEST: u64 = 60_000;

/// Knows from the page shared with other workers whether the server is up.
pub(super) struct Breaker {
    page: &'static Page,
    log: Arc<Log>,
    /// Why this process opened it last.
    reason: Mutex<String>,
}

/// May a call go through?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may.
    Granted,
    /// It has to find out first whether the server is back.
    Trial,
    /// The server is not asked for so long.
    Refused(Duration),
}

impl Breaker {
    pub(super) fn new(page: &'static Page, log: Arc<Log>) -> Self {
        Breaker {
            page,
            log,
            reason: Mutex::default(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.page.open_until.load(Relaxed) != 0
    }

    /// How long it stays open.
    pub(super) fn left(&self) -> Duration {
        self.page.until(self.page.open_until.load(Relaxed))
    }

    /// Whether the server has answered any worker before.
    pub(super) fn has_ever_answered(&self) -> bool {
        self.page.answered.load(Relaxed) != 0
    }

    /// Whether it has answered some worker just now: within this time.
    pub(super) fn has_answered_within(&self, time: Duration) -> bool {
        let answered = self.page.answered.load(Relaxed);
        answered != 0 && self.page.now().saturating_sub(answered) < milliseconds(time)
    }

    /// Whether it is the 5xx of several objects that opened it.
    pub(super) fn is_open_for_failing(&self) -> bool {
        self.page.failing[1].load(Relaxed) != 0
    }

    /// Decides on a call. One call at a time gets the trial, for as long as `trial` at most.
    /// `early`: as if it were the time for a trial.
    pub(super) fn admit(&self, trial: Duration, early: bool) -> Admission {
        let page = self.page;
        let open_until = page.open_until.load(Relaxed);
        if open_until == 0 {
            return Admission::Granted;
        }
        let left = page.until(open_until);
        if !left.is_zero() && !early {
            return Admission::Refused(left);
        }
        let seen = page.trial_until.load(Relaxed);
        let left = page.until(seen);
        if !left.is_zero() {
            return Admission::Refused(left);
        }
        let until = page.now() + milliseconds(trial);
        match page.trial_until.compare_exchange(seen, until, Relaxed, Relaxed) {
            Ok(_) => Admission::Trial,
            Err(other) => Admission::Refused(page.until(other)),
        }
    }

    /// Gives the trial back without a result.
    pub(super) fn end_trial(&self) {
        self.page.trial_until.store(0, Relaxed);
    }

    /// The server has answered.
    pub(super) fn heard(&self) {
        let page = self.page;
        for word in [&page.silent, &page.failing[0], &page.failing[1]] {
            clear(word);
        }
        // To the tenth of a second: not every answer has to be written down.
        let now = page.now();
        if !self.has_answered_within(Duration::from_millis(100)) {
            page.answered.store(now, Relaxed);
        }
        if self.is_open() && page.open_until.swap(0, Relaxed) != 0 {
            let open = now.saturating_sub(page.open_since.load(Relaxed));
            page.open_for.store(0, Relaxed);
            page.trial_until.store(0, Relaxed);
            self.log.tell(
                Level::Warning,
                format!("the server answers again, after {:.1} s", open as f64 / 1000.0),
            );
        }
    }

    /// No answer came at all. False: it may be this object's fault.
    pub(super) fn silent(&self, key: Option<&Key>, why: &str) -> bool {
        let key = fingerprint(key);
        let other = self.page.silent.swap(key, Relaxed);
        let down = self.is_open() || (other != 0 && other != key);
        if down {
            self.open(why);
        }
        down
    }

    /// A 5xx came. True: for several objects.
    pub(super) fn failing(&self, key: Option<&Key>, why: &str) -> bool {
        let page = self.page;
        let key = fingerprint(key);
        clear(&page.silent);
        let [first, second] = [0, 1].map(|index| page.failing[index].load(Relaxed));
        let is_known = first == key || second == key;
        let down = second != 0 && (self.is_open() || !is_known);
        if down {
            self.open(why);
        } else if !is_known {
            let place = usize::from(first != 0);
            page.failing[place].store(key, Relaxed);
        }
        down
    }

    /// Why the server is not asked.
    pub(super) fn reason(&self) -> String {
        match self
            .reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_str()
        {
            "" => "another process found it down".to_owned(),
            reason => reason.to_owned(),
        }
    }

    /// Opens it, or opens it for longer where its time was over.
    pub(super) fn open(&self, why: &str) {
        let page = self.page;
        why.clone_into(&mut self.reason.lock().unwrap_or_else(PoisonError::into_inner));
        let seen = page.open_until.load(Relaxed);
        if !page.until(seen).is_zero() {
            return;
        }
        let length = match page.open_for.load(Relaxed) {
            0 => OPEN,
            before => (before * 2).min(OPEN_LONGEST),
        };
        let now = page.now();
        let opened = page
            .open_until
            .compare_exchange(seen, now + length, Relaxed, Relaxed);
        if opened.is_ok() {
            page.open_for.store(length, Relaxed);
            page.trial_until.store(0, Relaxed);
            let still = if seen == 0 {
                page.open_since.store(now, Relaxed);
                ""
            } else {
                "still "
            };
            let text = format!(
                "the server is {still}down ({why}): it is not asked for {} s",
                length / 1000
            );
            self.log.tell(Level::Warning, text);
        }
    }
}

/// Mostly there is nothing to change: workers need not take the memory's line from each other.
fn clear(word: &AtomicU64) {
    if word.load(Relaxed) != 0 {
        word.store(0, Relaxed);
    }
}

/// Never 0.
fn fingerprint(key: Option<&Key>) -> u64 {
    key.map_or(1, Key::fingerprint).max(1)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIAL: Duration = Duration::from_secs(3);

    fn breaker() -> Breaker {
        Breaker::new(Page::map(), Arc::default())
    }

    fn told(breaker: &Breaker) -> Vec<String> {
        std::iter::from_fn(|| breaker.log.next())
            .map(|message| message.text)
            .collect()
    }

    /// As if its time were over.
    fn let_pass(breaker: &Breaker) {
        let page = breaker.page;
        page.open_until.store(page.now().min(1), Relaxed);
    }

    #[test]
    fn no_connection_opens_it_and_an_answer_closes_it() {
        let breaker = breaker();
        assert_eq!(breaker.admit(TRIAL, false), Admission::Granted);
        breaker.open("refused");
        assert!(matches!(breaker.admit(TRIAL, false), Admission::Refused(left) if left > TRIAL));
        breaker.open("again");
        breaker.heard();
        breaker.heard();
        assert_eq!(breaker.admit(TRIAL, false), Admission::Granted);
        let told = told(&breaker);
        assert_eq!(told.len(), 2, "one line for each transition: {told:?}");
        assert_eq!(told[0], "the server is down (refused): it is not asked for 5 s");
    }

    #[test]
    fn one_call_tries_and_the_time_doubles_to_a_minute() {
        let breaker = breaker();
        breaker.open("refused");
        for seconds in [10, 20, 40, 60, 60] {
            let_pass(&breaker);
            assert_eq!(breaker.admit(TRIAL, false), Admission::Trial);
            assert!(
                matches!(breaker.admit(TRIAL, false), Admission::Refused(_)),
                "the others wait"
            );
            breaker.open("still");
            let left = breaker.page.until(breaker.page.open_until.load(Relaxed));
            assert_eq!(left.as_secs_f64().round() as u64, seconds);
        }
        breaker.heard();
        breaker.open("anew");
        let last = told(&breaker).pop().unwrap();
        assert!(last.ends_with("not asked for 5 s"), "{last}");
    }

    /// The worker that had the trial was killed.
    #[test]
    fn a_trial_without_end_is_taken_over() {
        let breaker = breaker();
        breaker.open("refused");
        let_pass(&breaker);
        assert_eq!(breaker.admit(Duration::ZERO, false), Admission::Trial);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(breaker.admit(TRIAL, false), Admission::Trial);
    }

    #[test]
    fn silence_is_the_servers_only_for_two_objects_in_a_row() {
        let (a, b) = (Key::of(b"a"), Key::of(b"b"));
        let breaker = breaker();
        assert!(!breaker.silent(Some(&a), "x"));
        assert!(!breaker.silent(Some(&a), "x"));
        breaker.heard();
        assert!(!breaker.silent(Some(&b), "x"), "an answer came in between");
        assert!(breaker.silent(Some(&a), "x"));
        assert!(breaker.is_open());
    }

    #[test]
    fn failing_is_the_server_only_for_three_objects_in_a_row() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|content| Key::of(content));
        let breaker = breaker();
        for key in [&a, &a, &b, &a, &b] {
            assert!(!breaker.failing(Some(key), "500"));
        }
        assert!(breaker.failing(Some(&c), "500"));
        assert!(breaker.is_open() && breaker.is_open_for_failing());
        let_pass(&breaker);
        assert_eq!(breaker.admit(TRIAL, false), Admission::Trial);
        assert!(breaker.failing(Some(&a), "500"), "the trial failed too");
        breaker.heard();
        assert!(!breaker.failing(Some(&c), "500"));
        assert!(!breaker.is_open());
    }
}
