//! How fast the way to the server is, and what follows for a large content: whether to ask first whether it is there
//! already, which costs a round trip, or to send it and be told.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::process::Page;

/// Up to this many bytes nobody asks: sending is as quick.
pub(crate) const ASK_ABOVE: usize = 1024 * 1024;
/// What is sent in as many times the round trip, or less, is sent at once: few contents are there already.
const WORTH_SENDING: u64 = 50;
/// An exchange of so few bytes takes a round trip and nothing else.
const SMALL: usize = 64 * 1024;

/// What the exchanges of this process, and of the workers that share its page, have shown.
pub(super) struct Pace(pub(super) &'static Page);

impl Pace {
    /// So many bytes were sent and answered.
    pub(super) fn note(&self, bytes: usize, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let before = self.0.round_trip.load(Relaxed);
        if bytes <= SMALL && (before == 0 || took < before) {
            self.0.round_trip.store(took, Relaxed);
        } else if bytes > ASK_ABOVE {
            let sending = took.saturating_sub(before).max(1);
            let per_megabyte = u128::from(sending) * 1_000_000 / bytes as u128;
            self.0
                .per_megabyte
                .store(u64::try_from(per_megabyte).unwrap_or(u64::MAX).max(1), Relaxed);
        }
    }

    /// Whether to ask before so many bytes are sent. Where nothing is known yet, it is.
    pub(super) fn asks_first(&self, bytes: usize) -> bool {
        let round_trip = self.0.round_trip.load(Relaxed);
        let per_megabyte = self.0.per_megabyte.load(Relaxed);
        if bytes <= ASK_ABOVE || round_trip == 0 || per_megabyte == 0 {
            return bytes > ASK_ABOVE;
        }
        let sending = u128::from(per_megabyte) * bytes as u128 / 1_000_000;
        sending > u128::from(round_trip) * u128::from(WORTH_SENDING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1_000_000;

    #[test]
    fn where_sending_is_quick_nobody_asks() {
        let pace = Pace(Page::map());
        assert!(!pace.asks_first(ASK_ABOVE), "small");
        assert!(pace.asks_first(10 * MB), "nothing is known");
        pace.note(0, Duration::from_millis(40));
        pace.note(10_000, Duration::from_millis(30));
        pace.note(10_000, Duration::from_millis(90));
        assert!(pace.asks_first(10 * MB), "not known how fast it is");
        pace.note(10 * MB, Duration::from_millis(80)); // 5 ms for 1 MB
        assert!(!pace.asks_first(10 * MB));
        assert!(!pace.asks_first(300 * MB), "1.5 s, as long as 50 round trips");
        assert!(pace.asks_first(301 * MB));
        pace.note(10 * MB, Duration::from_secs(10));
        assert!(pace.asks_first(2 * MB), "it has become slow");
    }

    #[test]
    fn no_figure_is_too_large() {
        let pace = Pace(Page::map());
        pace.note(0, Duration::ZERO);
        pace.note(2 * MB, Duration::MAX);
        assert!(pace.asks_first(2 * MB));
        pace.note(usize::MAX, Duration::ZERO);
        assert!(!pace.asks_first(2 * MB));
    }
}
