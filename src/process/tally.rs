//! How often things of a few kinds happened in the last day.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Kinds that can be counted.
const KINDS: usize = 16;
/// Those of a day, and the one that has just begun.
const HOURS: usize = 25;
const HOUR: u64 = 3_600_000;

/// Counters by hour. Where two workers begin an hour at once, one of their counts may be lost.
#[derive(Debug, Default)]
pub struct Tally {
    hours: [Hour; HOURS],
}

#[derive(Debug, Default)]
struct Hour {
    /// Which hour it is, plus 1; 0: none yet.
    number: AtomicU64,
    counts: [AtomicU64; KINDS],
}

impl Tally {
    /// Something of this kind has happened; `now` in milliseconds.
    pub fn count(&self, now: u64, kind: usize) {
        let number = now / HOUR;
        let Some(hour) = self.hours.get((number % HOURS as u64) as usize) else {
            return;
        };
        let before = hour.number.load(Relaxed);
        if before != number + 1
            && hour
                .number
                .compare_exchange(before, number + 1, Relaxed, Relaxed)
                .is_ok()
        {
            for count in &hour.counts {
                count.store(0, Relaxed);
            }
        }
        if let Some(count) = hour.counts.get(kind) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How often something of this kind has happened in the last day.
    pub fn of_last_day(&self, now: u64, kind: usize) -> u64 {
        let number = now / HOUR + 1;
        let is_recent = |hour: &&Hour| {
            let of = hour.number.load(Relaxed);
            of != 0 && of <= number && number - of < HOURS as u64
        };
        let counts = self
            .hours
            .iter()
            .filter(is_recent)
            .filter_map(|hour| hour.counts.get(kind));
        counts.map(|count| count.load(Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_counted_and_no_more() {
        let tally = Tally::default();
        assert_eq!(tally.of_last_day(1, 3), 0);
        for _ in 0..5 {
            tally.count(1, 3);
        }
        tally.count(HOUR, 3);
        tally.count(HOUR, 4);
        assert_eq!(tally.of_last_day(HOUR, 3), 6);
        assert_eq!(tally.of_last_day(24 * HOUR, 3), 6);
        assert_eq!(tally.of_last_day(25 * HOUR, 3), 1);
        assert_eq!(tally.of_last_day(26 * HOUR, 3), 0);
        // The same place again, a day later.
        tally.count(26 * HOUR, 3);
        assert_eq!(tally.of_last_day(26 * HOUR, 3), 1);
        tally.count(26 * HOUR, 99);
        assert_eq!(tally.of_last_day(26 * HOUR, 99), 0);
    }
}
