//! One attempt at an operation, bounded; what it teaches; the error at the end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{select, Either};
use rusoto_core::{Client as Dispatcher, Region, RusotoError};
use rusoto_s3::S3Client;

use super::breaker::Breaker;
use super::connection::Connections;
use super::credentials::Credentials;
use super::learned::{Learned, CLOCK_ALLOWED};
use super::outcome::{Contact, Failure, Retry};
use super::pace::Pace;
use super::progress::{Stage, Stall, StallLimits};
use super::retry::{Budget, GivenUp};
use super::wire::{Answered, Exchange, Wire};
use crate::config::Config;
use crate::error::{seconds, Code, Error};
use crate::key::Key;

/// Everything that outlives one operation.
pub(super) struct Session {
    pub(super) config: Arc<Config>,
    pub(super) connections: Arc<Connections>,
    pub(super) learned: Arc<Learned>,
    pub(super) credentials: Arc<Credentials>,
    pub(super) breaker: Breaker,
    pub(super) pace: Pace,
}

/// One operation: who pays for it, what messages call it, what goes with its requests.
pub(super) struct Operation<'a> {
    pub(super) budget: &'a Budget,
    pub(super) name: &'static str,
    pub(super) key: Option<&'a Key>,
    /// SHA-256 of a body that is streamed.
    pub(super) payload: Option<Key>,
    /// Headers that rusoto's model lacks.
    pub(super) headers: Vec<(&'static str, String)>,
    /// Whether to begin with a fresh connection.
    pub(super) fresh: bool,
    /// What a success says.
    pub(super) expected: Expected,
    /// The query, instead of rusoto's.
    pub(super) query: Option<&'static str>,
}

/// What the answer to a success is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Nothing, or something small that rusoto reads.
    Small,
    /// An object: of any size.
    Object,
    /// A listing.
    Listing,
    /// A document that nobody here reads.
    Document,
}

impl<'a> Operation<'a> {
    pub(super) fn new(budget: &'a Budget, name: &'static str, key: Option<&'a Key>) -> Self {
        Operation {
            budget,
            name,
            key,
            payload: None,
            headers: Vec::new(),
            fresh: false,
            expected: Expected::Small,
            query: None,
        }
    }
}

impl Session {
    /// One attempt, bounded by stalls and by the budget.
    pub(super) async fn attempt<T>(
        &self,
        operation: &Operation<'_>,
        fresh: bool,
        work: &mut impl AsyncFnMut(S3Client, &Exchange) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let budget = operation.budget;
        let left = budget.left();
        if left.is_zero() {
            return Err(too_late());
        }
        let found = self.credentials.get(budget, self.learned.now()).await?;
        let endpoint = self.learned.endpoint(&self.config);
        let exchange = Arc::new(Exchange {
            found: Arc::clone(&found),
            config: Arc::clone(&self.config),
            endpoint: endpoint.clone(),
            connections: Arc::clone(&self.connections),
            payload: operation.payload,
            headers: operation.headers.clone(),
            fresh,
            connect_limit: self.config.connect_timeout.min(left),
            expected: operation.expected,
            query: operation.query,
            clock_offset: self.learned.clock_offset(),
            answered: Mutex::new(Answered::default()),
        });
        let region = Region::Custom {
            name: endpoint.region().to_owned(),
            endpoint: endpoint.address(&self.config.bucket, "").url(),
        };
        let s3 = S3Client::new_with_client(Dispatcher::new_not_signing(Wire(Arc::clone(&exchange))), region);
        let progress = self.connections.progress.clone();
        progress.enter(Stage::Begun);
        let patience = match budget.left_for_silence() {
            Duration::ZERO => left,
            time => time,
        };
        let limits = StallLimits {
            before_answer: self.config.read_timeout.min(patience),
            after: self.config.read_timeout.min(left),
        };
        let work = std::pin::pin!(work(s3, &exchange));
        let stalled = std::pin::pin!(progress.stalled(limits));
        let over = std::pin::pin!(budget.over());
        let result = match select(work, select(stalled, over)).await {
            Either::Left((result, _)) => result,
            Either::Right((Either::Left((why, _)), _)) => Err(stall(why)),
            Either::Right((Either::Right(_), _)) => Err(too_late()),
        };
        if result.is_ok() {
            self.learned.note_success();
        }
        let skewed = match &result {
            Err(failure) => is_skewed(&exchange, failure),
            Ok(_) => false,
        };
        let ahead = exchange.answered().server_ahead;
        let corrected =
            ahead.is_some_and(|ahead| self.learned.see_clock(ahead, exchange.clock_offset, skewed));
        result.map_err(|failure| {
            let corrected = (corrected && skewed)
                || self.learned.correct(&self.config, &exchange.endpoint, &failure)
                || self.credentials.refused(&found, budget, &failure);
            let contact = match (failure.code, self.contact()) {
                // A mistake of the caller's says nothing about the server, nor does haste.
                (Code::Mismatch, _) => Contact::None,
                (Code::Timeout, Contact::Unreachable | Contact::Silent) if !self.is_fair(left) => {
                    Contact::None
                }
                (_, contact) => contact,
            };
            Failure {
                contact,
                retry: if corrected {
                    Retry::Corrected
                } else {
                    failure.retry
                },
                ..failure
            }
        })
    }

    /// Whether a server that does not answer within this time may be called down: a call may have had next to
    /// nothing left of its deadline.
    pub(super) fn is_fair(&self, time: Duration) -> bool {
        time >= self.config.connect_timeout.min(self.config.deadline / 3) / 4
    }

    /// How far the exchange under way has got.
    pub(super) fn contact(&self) -> Contact {
        match self.connections.progress.stage() {
            Stage::Begun => Contact::None,
            Stage::Connecting => Contact::Unreachable,
            Stage::Waiting => Contact::Silent,
            Stage::Answered => Contact::Answered,
        }
    }

    /// An answer to HEAD that says nothing but that something was wrong: GET is told what, and what
    /// can be corrected then is.
    pub(super) async fn find_out(&self, operation: &Operation<'_>, failure: Failure) -> Failure {
        let says_nothing = failure.s3_code.is_none() && failure.region.is_none();
        if !says_nothing || !matches!(failure.status, Some(301 | 307 | 400)) {
            return failure;
        }
        let limit = self.config.connect_timeout.min(operation.budget.left());
        match self.ask(operation.budget, operation.key, limit).await {
            Err(told) if told.retry == Retry::Corrected || told.s3_code.is_some() => told,
            Ok(()) => Failure {
                retry: Retry::Backoff,
                ..failure
            },
            _ => failure,
        }
    }

    /// The error for a person: what was asked of whom, what failed, how often it was tried.
    pub(super) fn describe(&self, operation: &Operation<'_>, given_up: GivenUp) -> Error {
        let Operation {
            budget, name, key, ..
        } = operation;
        let GivenUp { failure, attempts } = given_up;
        let object = key.map_or(String::new(), |key| {
            format!("{} in ", self.config.object_key(&key.hex()))
        });
        let bucket = &self.config.bucket;
        let host = self.learned.endpoint(&self.config).address(bucket, "").authority;
        let status = failure
            .status
            .map_or(String::new(), |status| format!("HTTP {status}, "));
        let attempts = match attempts {
            0 => "no attempt".to_owned(),
            1 => "1 attempt".to_owned(),
            more => format!("{more} attempts"),
        };
        let hint = match (*name, failure.s3_code.as_deref()) {
            ("GET", Some("AccessDenied")) => {
                "; S3 says this also of an object that is not there, to keys without the right s3:ListBucket"
            }
            _ => "",
        };
        let seconds = budget.elapsed().as_secs_f32();
        let request = failure
            .request_id
            .map_or(String::new(), |id| format!(", request {id}"));
        let text = format!(
            "{name} {object}bucket {bucket} at {host}: {}{hint} [{}: {status}{attempts} in {seconds:.1} s{request}]",
            failure.text,
            failure.code.name(),
        );
        Error::new(failure.code, self.config.mask.apply(&text))
    }
}

impl Exchange {
    /// What failed, as the wire has classified it.
    pub(super) fn failure<E: std::fmt::Debug>(&self, error: RusotoError<E>) -> Failure {
        self.answered().failure.take().unwrap_or_else(|| match error {
            RusotoError::ParseError(_) | RusotoError::Unknown(_) => {
                Failure::not_s3s("an answer that can't be parsed")
            }
            _ => Failure::new(Code::Internal, Retry::Never, "the request could not be made"),
        })
    }

    /// An answer to HEAD has no error document, so a bare 404 is all that says "no such key"; or
    /// bucket: only for an operation that is followed by another one is this enough.
    pub(super) fn head_failure<E: std::fmt::Debug>(&self, error: RusotoError<E>) -> Failure {
        let failure = self.failure(error);
        match failure.status {
            Some(404) if failure.s3_code.is_none() => Failure {
                code: Code::NotFound,
                ..failure
            },
            _ => failure,
        }
    }

    pub(super) fn checksum(&self) -> Option<Key> {
        let answered = self.answered();
        Key::from_base64(answered.checksum.as_deref()?)
    }
}

/// Refused for its time. An answer to HEAD can't say it, but the clocks show it.
fn is_skewed(exchange: &Exchange, failure: &Failure) -> bool {
    match failure.s3_code.as_deref() {
        Some(code) => code == "RequestTimeTooSkewed",
        None => {
            let ahead = exchange.answered().server_ahead.unwrap_or(exchange.clock_offset);
            failure.status == Some(403) && (ahead - exchange.clock_offset).abs() > CLOCK_ALLOWED
        }
    }
}

fn stall(why: Stall) -> Failure {
    match why {
        Stall::Still(limit) => {
            let text = format!("stalled: less than 1 kB moved within {}", seconds(limit));
            Failure::new(Code::Timeout, Retry::Backoff, text)
        }
        Stall::Unheard => {
            let text = format!("the connection broke: {}", std::io::ErrorKind::TimedOut);
            Failure::new(Code::Network, Retry::AtOnce, text)
        }
    }
}

fn too_late() -> Failure {
    Failure::new(Code::Timeout, Retry::Never, "the Deadline is over")
}
