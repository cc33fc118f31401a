//! How an operation is carried out: attempts within a budget, each bounded; the error at the end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{select, Either};
use rusoto_core::{Client as Dispatcher, Region, RusotoError};
use rusoto_s3::S3Client;

use super::connection::Connections;
use super::learned::Learned;
use super::outcome::{Failure, Retry};
use super::retry::{self, Budget, GivenUp};
use super::wire::{Answered, Exchange, Wire};
use crate::config::Config;
use crate::error::{Code, Error};
use crate::key::Key;

/// Everything that outlives one operation.
pub(super) struct Session {
    pub(super) config: Arc<Config>,
    pub(super) connections: Arc<Connections>,
    pub(super) learned: Arc<Learned>,
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
    /// Whether the answer is an object: of any size.
    pub(super) object: bool,
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
            object: false,
        }
    }
}

impl Session {
    /// Attempts the operation until it succeeds or is given up.
    pub(super) async fn run<T>(
        &self,
        operation: &Operation<'_>,
        mut work: impl AsyncFnMut(S3Client, &Exchange) -> Result<T, Failure>,
    ) -> Result<T, GivenUp> {
        retry::run(operation.budget, operation.fresh, async |fresh| {
            self.attempt(operation, fresh, &mut work).await
        })
        .await
    }

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
            return Err(Failure::new(Code::Timeout, Retry::Never, "the Deadline is over"));
        }
        let endpoint = self.learned.endpoint(&self.config);
        let exchange = Arc::new(Exchange {
            config: Arc::clone(&self.config),
            endpoint: endpoint.clone(),
            connections: Arc::clone(&self.connections),
            payload: operation.payload,
            headers: operation.headers.clone(),
            fresh,
            connect_limit: self.config.connect_timeout.min(left),
            object: operation.object,
            answered: Mutex::new(Answered::default()),
        });
        let region = Region::Custom {
            name: endpoint.region().to_owned(),
            endpoint: endpoint.address(&self.config.bucket, "").url(),
        };
        let s3 = S3Client::new_with_client(Dispatcher::new_not_signing(Wire(Arc::clone(&exchange))), region);
        let progress = self.connections.progress.clone();
        progress.restart();
        let stall_limit = self.config.read_timeout.min(left);
        let work = std::pin::pin!(work(s3, &exchange));
        let stalled = std::pin::pin!(progress.stalled(stall_limit));
        let over = std::pin::pin!(budget.over());
        match select(work, select(stalled, over)).await {
            Either::Left((Err(failure), _)) if self.learned.try_other_style(&self.config, &failure) => {
                Err(Failure {
                    retry: Retry::AtOnce,
                    ..failure
                })
            }
            Either::Left((result, _)) => result,
            Either::Right((Either::Left(_), _)) => Err(stall(stall_limit)),
            Either::Right((Either::Right(_), _)) => {
                Err(Failure::new(Code::Timeout, Retry::Never, "the Deadline is over"))
            }
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
        Error::new(failure.code, self.config.mask(&text))
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

fn stall(limit: Duration) -> Failure {
    let text = format!("stalled: less than 1 kB moved within {} s", limit.as_secs_f32());
    Failure::new(Code::Timeout, Retry::Backoff, text)
}
