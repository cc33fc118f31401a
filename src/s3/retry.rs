//! What is tried again, when, and when to give up.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::outcome::{Contact, Failure, Retry};
use super::progress::look_at_sockets;
use crate::error::Code;

/// Pause before the second attempt, at most; it doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Corrections by what the server teaches, such as its region, within one operation.
const MOST_CORRECTIONS: u32 = 3;
/// Bytes a second that a transfer has to reach on the whole once the deadline is over.
const SLOWEST: u64 = 64_000;

/// The time and the attempts of one call.
pub struct Budget {
    start: Instant,
    deadline: Duration,
    retries: u32,
    /// What a transfer that moves may take beyond the deadline.
    beyond: Cell<Duration>,
    /// Kept of the time where no answer comes, to find out whether it is the server's fault.
    reserve: Duration,
    fails_fast: bool,
}

impl Budget {
    /// A budget that starts now.
    pub fn new(deadline: Duration, retries: u32) -> Self {
        Budget {
            start: Instant::now(),
            deadline,
            retries,
            beyond: Cell::new(Duration::ZERO),
            reserve: Duration::ZERO,
            fails_fast: false,
        }
    }

    /// Keeps so much of the time, but no more than a third of it, for a second opinion where no
    /// answer comes.
    pub fn reserving(self, time: Duration) -> Self {
        let reserve = time.min(self.deadline / 3);
        Budget { reserve, ..self }
    }

    /// Whether the call fails at once while the server is known to be down, instead of waiting.
    pub fn failing_fast(self, fails_fast: bool) -> Self {
        Budget { fails_fast, ..self }
    }

    pub(super) fn fails_fast(&self) -> bool {
        self.fails_fast
    }

    /// What is left for attempts that get no answer.
    pub(super) fn left_for_silence(&self) -> Duration {
        self.left().saturating_sub(self.reserve)
    }

    /// What is left until the deadline.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_sub(self.start.elapsed())
    }

    pub(super) fn start(&self) -> Instant {
        self.start
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Allows for the transfer of so many bytes.
    pub(super) fn allow_for(&self, size: u64) {
        let time = Duration::from_millis(size.saturating_mul(1000) / SLOWEST);
        self.beyond.set(self.beyond.get().max(time));
    }

    /// Ends when the call must end, whatever moves.
    pub(super) async fn over(&self) {
        let mut looked_at = None;
        loop {
            let end = self.start + self.deadline + self.beyond.get();
            if end > Instant::now() {
                tokio::time::sleep_until(end).await;
            } else if looked_at == Some(end) {
                return;
            } else {
                look_at_sockets().await;
                looked_at = Some(end);
            }
        }
    }
}

/// The last failure, and what was tried.
#[derive(Debug)]
pub(super) struct GivenUp {
    pub(super) failure: Failure,
    pub(super) attempts: u32,
}

/// Runs `attempt` until it succeeds, fails for good, or the budget is spent, and as long as
/// `is_worth_it`. It is told whether to use a fresh connection.
pub(super) async fn run<T>(
    budget: &Budget,
    mut fresh: bool,
    is_worth_it: impl Fn() -> bool,
    mut attempt: impl AsyncFnMut(bool) -> Result<T, Failure>,
) -> Result<T, GivenUp> {
    let mut attempts = 0;
    let mut corrections = 0;
    // The attempt before, and what is to be told of those before this one.
    let mut before: Option<Failure> = None;
    let mut cause = None;
    loop {
        let mut failure = match attempt(fresh).await {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        if failure.code != Code::Timeout {
            cause = None;
        } else if let Some(before) = before {
            // That time was over says less than what came before, if that was not the same.
            if before.code != Code::Timeout || failure.retry == Retry::Never {
                cause = Some(before.text);
            }
            // How far it got, where there was too little time to get anywhere.
            if failure.contact == Contact::None {
                failure.contact = before.contact;
            }
        }
        if failure.retry == Retry::AtOnce && !fresh {
            fresh = true;
            before = None;
            continue;
        }
        if failure.retry == Retry::Corrected && corrections < MOST_CORRECTIONS {
            corrections += 1;
            before = None;
            continue;
        }
        attempts += 1;
        let pause = backoff(attempts).max(failure.retry_after.unwrap_or_default());
        let left = match failure.contact {
            Contact::Silent => budget.left_for_silence(),
            _ => budget.left(),
        };
        if failure.retry == Retry::Never || attempts > budget.retries || pause >= left || !is_worth_it() {
            if let Some(cause) = cause {
                failure.text = format!("{}; before that: {cause}", failure.text);
            }
            return Err(GivenUp { failure, attempts });
        }
        before = Some(failure);
        tokio::time::sleep(pause).await;
        fresh = false;
    }
}

/// Full jitter: <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>
fn backoff(attempts: u32) -> Duration {
    let most = FIRST_PAUSE
        .saturating_mul(1 << (attempts - 1).min(16))
        .min(LONGEST_PAUSE);
    most.mul_f64(random_fraction())
}

/// From 0 to 1. The process id and the clock keep workers that were forked from one parent, and so
/// share its random state, apart.
fn random_fraction() -> f64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    if let Ok(now) = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
        hasher.write_u32(now.subsec_nanos());
    }
    hasher.finish() as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_with(budget: &Budget, failures: Vec<Failure>) -> (Result<(), GivenUp>, Vec<bool>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let mut failures = failures.into_iter();
        let mut seen = Vec::new();
        let result = runtime.block_on(run(
            budget,
            false,
            || true,
            async |fresh| {
                seen.push(fresh);
                failures.next().map_or(Ok(()), Err)
            },
        ));
        (result, seen)
    }

    fn failure(retry: Retry) -> Failure {
        Failure::new(Code::Server, retry, "x")
    }

    #[test]
    fn what_may_pass_is_tried_again_as_often_as_allowed() {
        let (result, seen) = run_with(
            &Budget::new(Duration::from_secs(60), 2),
            vec![failure(Retry::Backoff); 2],
        );
        assert!(result.is_ok());
        assert_eq!(seen.len(), 3);
        let (result, seen) = run_with(
            &Budget::new(Duration::from_secs(60), 2),
            vec![failure(Retry::Backoff); 9],
        );
        assert_eq!(result.unwrap_err().attempts, 3);
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn what_will_not_pass_is_tried_once() {
        let (result, seen) = run_with(
            &Budget::new(Duration::from_secs(60), 9),
            vec![failure(Retry::Never); 2],
        );
        assert_eq!(result.unwrap_err().attempts, 1);
        assert_eq!(seen, [false]);
    }

    #[test]
    fn a_stale_connection_costs_no_attempt() {
        let (result, seen) = run_with(
            &Budget::new(Duration::from_secs(60), 0),
            vec![failure(Retry::AtOnce)],
        );
        assert!(result.is_ok());
        assert_eq!(seen, [false, true]);
        let (result, _) = run_with(
            &Budget::new(Duration::from_secs(60), 0),
            vec![failure(Retry::AtOnce); 2],
        );
        assert_eq!(result.unwrap_err().attempts, 1);
    }

    #[test]
    fn what_came_before_is_told_where_it_says_more() {
        let stall = || Failure {
            contact: Contact::Silent,
            ..Failure::new(Code::Timeout, Retry::Backoff, "stalled")
        };
        let late = || Failure::new(Code::Timeout, Retry::Never, "late");
        for (failures, text) in [
            (vec![stall(), stall(), stall()], "stalled"),
            (vec![stall(), late()], "late; before that: stalled"),
            (
                vec![failure(Retry::Backoff), stall(), stall()],
                "stalled; before that: x",
            ),
            (vec![stall(), failure(Retry::Never)], "x"),
        ] {
            let (result, _) = run_with(&Budget::new(Duration::from_secs(60), 2), failures);
            let given_up = result.unwrap_err().failure;
            assert_eq!(given_up.text, text);
            let contact = if given_up.code == Code::Timeout {
                Contact::Silent
            } else {
                Contact::None
            };
            assert_eq!(given_up.contact, contact, "{text}");
        }
    }

    #[test]
    fn no_attempt_starts_after_the_deadline() {
        let mut asked = failure(Retry::Backoff);
        asked.retry_after = Some(Duration::from_secs(7));
        let start = Instant::now();
        let (result, seen) = run_with(&Budget::new(Duration::from_secs(5), 9), vec![asked; 9]);
        assert!(result.is_err());
        assert_eq!(seen.len(), 1);
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        for attempts in 1..40 {
            assert!(backoff(attempts) <= LONGEST_PAUSE);
        }
        assert!(backoff(1) <= FIRST_PAUSE);
        assert_ne!(random_fraction(), random_fraction());
    }
}
