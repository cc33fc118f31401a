//! An operation from leave to ask until its end: what it finds out about the server, and how it
//! behaves while the server is down.

use std::time::Duration;

use rusoto_s3::{GetObjectRequest, S3Client, S3};

use super::breaker::Admission;
use super::outcome::{Contact, Failure, Retry};
use super::retry::{self, Budget, GivenUp};
use super::session::{Operation, Session};
use super::wire::Exchange;
use crate::error::{seconds, Code};
use crate::key::Key;

/// How often a call that waits looks whether another worker has found the server back.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How long a call that has waited for a server waits on where it answers, but fails.
const NOT_READY: Duration = Duration::from_secs(5);

impl Session {
    /// Attempts the operation until it succeeds or is given up. While the server is known to be
    /// down, it fails at once, or waits within its budget, as the budget says.
    pub(super) async fn run<T>(
        &self,
        operation: &Operation<'_>,
        mut work: impl AsyncFnMut(S3Client, &Exchange) -> Result<T, Failure>,
    ) -> Result<T, GivenUp> {
        let budget = operation.budget;
        let mut waited = self
            .admit(operation)
            .await
            .map_err(|failure| GivenUp { failure, attempts: 0 })?;
        let mut attempts = 0;
        loop {
            let is_worth_it = || !(budget.fails_fast() && self.breaker.is_open());
            let result = retry::run(budget, operation.fresh, is_worth_it, async |fresh| {
                self.attempt(operation, fresh, &mut work).await
            })
            .await;
            let mut given_up = match result {
                Ok(value) => {
                    self.breaker.heard();
                    return Ok(value);
                }
                Err(given_up) => given_up,
            };
            attempts += given_up.attempts;
            given_up.attempts = attempts;
            let down = self.judge(operation, &given_up.failure).await;
            if budget.fails_fast() || (waited && self.is_last_chance(budget)) {
                return Err(given_up);
            }
            let goes_on = if down {
                // A server that never answered is rather a mistake in Host than an outage.
                self.breaker.has_ever_answered() && self.admit(operation).await.is_ok()
            } else {
                // It answers, but may not be back yet; or only this object is sick, so only this call waits.
                let waits = waited && is_failing(&given_up.failure) && budget.left() > NOT_READY;
                if waits {
                    tokio::time::sleep(NOT_READY).await;
                }
                waits
            };
            if !goes_on {
                return Err(given_up);
            }
            waited = true;
        }
    }

    /// Whether there is time for no more than one trial.
    fn is_last_chance(&self, budget: &Budget) -> bool {
        budget.left() <= self.config.connect_timeout + LOOK_AGAIN
    }

    /// Waits for leave to ask the server, as long as the budget allows. True: it had to wait.
    async fn admit(&self, operation: &Operation<'_>) -> Result<bool, Failure> {
        let mut waited = false;
        let budget = operation.budget;
        let limit = self.config.connect_timeout;
        loop {
            // Whoever waits and has little time left does not wait for the time that others set.
            let last_chance = !budget.fails_fast() && self.is_last_chance(budget);
            let trial = limit + LOOK_AGAIN;
            let left = match self.breaker.admit(trial, last_chance) {
                Admission::Granted => return Ok(waited),
                Admission::Refused(left) => left,
                Admission::Trial => match self.try_server(operation, limit).await {
                    true => return Ok(waited),
                    false => self.breaker.left().max(LOOK_AGAIN),
                },
            };
            if budget.fails_fast() || last_chance {
                let text = format!(
                    "not asked, because the server was down ({}); it is asked again in {}",
                    self.breaker.reason(),
                    seconds(left)
                );
                return Err(Failure::new(Code::Unavailable, Retry::Never, text));
            }
            waited = true;
            tokio::time::sleep(left.min(LOOK_AGAIN)).await;
        }
    }

    /// The trial: whether the server answers within `limit`.
    async fn try_server(&self, operation: &Operation<'_>, limit: Duration) -> bool {
        let left = operation.budget.left();
        let key = operation.key.filter(|_| self.breaker.is_open_for_failing());
        let failure = match self.ask(operation.budget, key, limit.min(left)).await {
            Err(failure) if failure.contact != Contact::Answered || is_failing(&failure) => failure,
            _ => {
                self.breaker.heard();
                return true;
            }
        };
        if left < limit || failure.contact == Contact::None {
            // It had no fair chance, or was not asked.
            self.breaker.end_trial();
        } else {
            self.breaker.open(&failure.text);
        }
        false
    }

    /// What a failure says about the server; true if it is down.
    async fn judge(&self, operation: &Operation<'_>, failure: &Failure) -> bool {
        match failure.contact {
            Contact::None => false,
            // A connection that took too long, while others are being answered, is a busy machine's.
            Contact::Unreachable
                if failure.code != Code::Timeout
                    || !self.breaker.has_answered_within(self.config.connect_timeout) =>
            {
                self.breaker.open(&failure.text);
                true
            }
            Contact::Unreachable | Contact::Silent => {
                self.breaker.silent(operation.key, &failure.text)
                    || self.second_opinion(operation, failure).await
            }
            Contact::Answered if is_failing(failure) => self.breaker.failing(operation.key, &failure.text),
            Contact::Answered => {
                self.breaker.heard();
                false
            }
        }
    }

    /// No answer came for one object: is it the server, or only this object?
    async fn second_opinion(&self, operation: &Operation<'_>, failure: &Failure) -> bool {
        let limit = self.config.connect_timeout.min(operation.budget.left());
        if !self.is_fair(limit) {
            return false;
        }
        match self.ask(operation.budget, None, limit).await {
            Err(Failure {
                contact: Contact::Unreachable | Contact::Silent,
                ..
            }) => {
                self.breaker.open(&failure.text);
                true
            }
            Err(told) if is_failing(&told) => self.breaker.failing(operation.key, &told.text),
            Err(told) if told.contact == Contact::None => false,
            _ => {
                self.breaker.heard();
                false
            }
        }
    }

    /// Asks for the first byte of an object, once, and for an answer within `limit`. Without a key it
    /// is one that nobody stores much: the empty content.
    pub(super) async fn ask(
        &self,
        budget: &Budget,
        key: Option<&Key>,
        limit: Duration,
    ) -> Result<(), Failure> {
        let empty = Key::of(b"");
        let key = key.unwrap_or(&empty);
        let operation = Operation::new(budget, "GET", Some(key));
        let mut work = async |s3: S3Client, exchange: &Exchange| {
            let request = GetObjectRequest {
                bucket: self.config.bucket.clone(),
                key: self.config.object_key(&key.hex()),
                range: Some("bytes=0-0".to_owned()),
                expected_bucket_owner: self.config.written.bucket_owner.clone(),
                ..Default::default()
            };
            let answer = s3.get_object(request).await;
            answer.map(drop).map_err(|error| exchange.failure(error))
        };
        let attempt = self.attempt(&operation, true, &mut work);
        match tokio::time::timeout(limit, attempt).await {
            Ok(result) => result,
            Err(_) => Err(Failure {
                contact: self.contact(),
                ..Failure::new(
                    Code::Timeout,
                    Retry::Never,
                    format!("no answer within {}", seconds(limit)),
                )
            }),
        }
    }
}

/// The server failed, though it is up; what it does not implement it does not fail at.
fn is_failing(failure: &Failure) -> bool {
    failure
        .status
        .is_some_and(|status| status >= 500 && !matches!(status, 501 | 505))
}
