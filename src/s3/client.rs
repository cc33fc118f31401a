//! The operations that the store needs, each tried again within its budget.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{select, Either};
use rusoto_core::{Client as Dispatcher, Region, RusotoError};
use rusoto_s3::{
    AbortMultipartUploadRequest, CreateBucketConfiguration, CreateBucketRequest,
    CreateMultipartUploadRequest, DeleteObjectRequest, GetObjectRequest, HeadObjectRequest, PutObjectRequest,
    S3Client, S3,
};

use super::connection::Connections;
use super::outcome::{Failure, Retry};
use super::retry::{self, Budget, GivenUp};
use super::transfer::{body_of, receive, Output};
use super::wire::{Answered, Exchange, Wire};
use crate::config::{AddressingStyle, Config, Endpoint};
use crate::error::{Code, Error, Result};
use crate::key::Key;

/// S3's words, and those of Alibaba OSS and Tencent COS, for a bucket that is addressed in the wrong style.
const WRONG_STYLE: [&str; 4] = [
    "SecondLevelDomainForbidden",
    "PathStyleDomainForbidden",
    "VirtualHostDomainRequired",
    "PathStyleRequestNotAllowed",
];

/// What came of a PUT.
#[derive(Debug, PartialEq, Eq)]
pub enum Put {
    /// The object is stored.
    Stored,
    /// The condition failed: there is an object under this key.
    Exists,
    /// The server may not support the condition.
    ConditionRefused(Error),
}

/// What HEAD says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// In bytes.
    pub size: u64,
    /// SHA-256 of the whole object, where the server keeps it.
    pub checksum: Option<Key>,
}

/// Speaks with one bucket.
pub struct Client {
    config: Arc<Config>,
    connections: Arc<Connections>,
    learned: Arc<Learned>,
}

/// What the server has taught this process about itself.
#[derive(Default)]
pub struct Learned {
    other_style: AtomicBool,
    notes: Mutex<Vec<String>>,
}

impl Learned {
    /// The endpoint in the addressing style in force.
    pub fn endpoint<'a>(&self, config: &'a Config) -> &'a Endpoint {
        match &config.other_endpoint {
            Some(other) if self.other_style.load(Ordering::Relaxed) => other,
            _ => &config.endpoint,
        }
    }

    /// Lines for the log about what was learned since the last time.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A definite addressing error: true if the other style is to be tried, once.
    fn try_other_style(&self, config: &Config, failure: &Failure) -> bool {
        let definite = failure
            .s3_code
            .as_deref()
            .is_some_and(|code| WRONG_STYLE.contains(&code));
        let Some(other) = config.other_endpoint.as_ref().filter(|_| definite) else {
            return false;
        };
        if self.other_style.swap(true, Ordering::Relaxed) {
            return false;
        }
        let style = match other.style() {
            AddressingStyle::Path => "path",
            AddressingStyle::Virtual => "virtual",
        };
        let note = format!(
            "{}: trying the other addressing style; set AddressingStyle => '{style}'",
            failure.text
        );
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(note);
        true
    }
}

/// What an exchange needs to know before it begins.
#[derive(Default)]
struct Plan {
    payload: Option<Key>,
    headers: Vec<(&'static str, String)>,
    fresh: bool,
    object: bool,
}

impl Client {
    /// Connects to nothing yet.
    pub fn new(config: Arc<Config>, learned: Arc<Learned>) -> Self {
        let connections = Arc::new(Connections::new(&config));
        Client {
            config,
            connections,
            learned,
        }
    }

    /// Stores `content`, whose key is `key`. `condition`: only if there is no object yet.
    pub async fn put(
        &self,
        budget: &Budget,
        key: &Key,
        content: &[u8],
        content_type: &str,
        disposition: Option<&str>,
        condition: bool,
    ) -> Result<Put> {
        let written = &self.config.written;
        let put = retry::run(budget, false, async |fresh| {
            let mut headers = Vec::new();
            if condition {
                headers.push(("if-none-match", "*".to_owned()));
            }
            if written.checksum {
                headers.push(("x-amz-checksum-sha256", key.base64()));
            }
            let plan = Plan {
                payload: Some(*key),
                headers,
                fresh,
                object: false,
            };
            budget.allow_for(content.len() as u64);
            self.attempt(budget, plan, async |s3, exchange| {
                let (body, feed) = body_of(content);
                let request = PutObjectRequest {
                    bucket: self.config.bucket.clone(),
                    key: self.config.object_key(&key.hex()),
                    content_type: Some(content_type.to_owned()),
                    content_disposition: disposition.map(str::to_owned),
                    body: Some(body),
                    expected_bucket_owner: self.config.written.bucket_owner.clone(),
                    server_side_encryption: self.config.written.encryption.clone(),
                    ssekms_key_id: self.config.written.kms_key_id.clone(),
                    storage_class: self.config.written.storage_class.clone(),
                    ..Default::default()
                };
                let put = std::pin::pin!(s3.put_object(request));
                let answer = match select(put, std::pin::pin!(feed)).await {
                    Either::Left((answer, _)) => answer,
                    Either::Right(((), put)) => put.await,
                };
                let stored = answer.map_err(|error| exchange.failure(error))?;
                // A success that did not wait for the content is none.
                if self.connections.progress.bytes_sent() < content.len() as u64 {
                    return Err(Failure::not_s3s("success before the whole content was sent"));
                }
                match stored.e_tag.as_deref() {
                    None | Some("") => Err(Failure::not_s3s("success without an ETag")),
                    Some(_) => Ok(()),
                }
            })
            .await
        })
        .await;
        match put {
            Ok(()) => Ok(Put::Stored),
            Err(given_up) if condition && given_up.failure.status == Some(412) => Ok(Put::Exists),
            Err(given_up) => {
                let refused = condition && is_refusal(&given_up.failure);
                let error = self.describe(budget, "PUT", Some(key), given_up);
                if refused {
                    Ok(Put::ConditionRefused(error))
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Asks whether there is an object under `key`.
    pub async fn head(&self, budget: &Budget, key: &Key) -> Result<Head> {
        retry::run(budget, false, async |fresh| {
            let plan = Plan {
                headers: vec![("x-amz-checksum-mode", "ENABLED".to_owned())],
                fresh,
                ..Plan::default()
            };
            self.attempt(budget, plan, async |s3, exchange| {
                let request = HeadObjectRequest {
                    bucket: self.config.bucket.clone(),
                    key: self.config.object_key(&key.hex()),
                    expected_bucket_owner: self.config.written.bucket_owner.clone(),
                    ..Default::default()
                };
                let head = s3
                    .head_object(request)
                    .await
                    .map_err(|error| exchange.head_failure(error))?;
                match head.content_length.map(u64::try_from) {
                    Some(Ok(size)) if head.e_tag.is_some() => Ok(Head {
                        size,
                        checksum: exchange.checksum(),
                    }),
                    _ => Err(Failure::not_s3s(
                        "an answer to HEAD without ETag or Content-Length",
                    )),
                }
            })
            .await
        })
        .await
        .map_err(|given_up| self.describe(budget, "HEAD", Some(key), given_up))
    }

    /// Reads the object under `key` into `output` and returns its size in bytes.
    ///
    /// # Errors
    /// [`Code::Corrupt`] where the whole object arrived and is not the content of `key`. What
    /// `output` holds then means nothing, as after any other error.
    pub async fn get(&self, budget: &Budget, key: &Key, output: &mut dyn Output, fresh: bool) -> Result<u64> {
        retry::run(budget, fresh, async |fresh| {
            let plan = Plan {
                fresh,
                object: true,
                ..Plan::default()
            };
            self.attempt(budget, plan, async |s3, exchange| {
                let request = GetObjectRequest {
                    bucket: self.config.bucket.clone(),
                    key: self.config.object_key(&key.hex()),
                    expected_bucket_owner: self.config.written.bucket_owner.clone(),
                    ..Default::default()
                };
                let object = s3
                    .get_object(request)
                    .await
                    .map_err(|error| exchange.failure(error))?;
                if object.e_tag.is_none() {
                    return Err(Failure::not_s3s("an answer to GET without an ETag"));
                }
                receive(budget, key, object, output).await
            })
            .await
        })
        .await
        .map_err(|given_up| self.describe(budget, "GET", Some(key), given_up))
    }

    /// Removes the object under `key`; it may never have been there.
    pub async fn delete(&self, budget: &Budget, key: &Key) -> Result<()> {
        let deleted = retry::run(budget, false, async |fresh| {
            self.attempt(
                budget,
                Plan {
                    fresh,
                    ..Plan::default()
                },
                async |s3, exchange| {
                    let request = DeleteObjectRequest {
                        bucket: self.config.bucket.clone(),
                        key: self.config.object_key(&key.hex()),
                        expected_bucket_owner: self.config.written.bucket_owner.clone(),
                        ..Default::default()
                    };
                    s3.delete_object(request)
                        .await
                        .map_err(|error| exchange.failure(error))?;
                    Ok(())
                },
            )
            .await
        })
        .await;
        match deleted {
            Err(given_up) if given_up.failure.code != Code::NotFound => {
                Err(self.describe(budget, "DELETE", Some(key), given_up))
            }
            _ => Ok(()),
        }
    }

    /// Makes the bucket; it may be there already, if it is ours.
    pub async fn create_bucket(&self, budget: &Budget) -> Result<()> {
        // us-east-1 must not be named, and "auto" is no region to make a bucket in.
        let region =
            Some(self.config.endpoint.region()).filter(|region| !["us-east-1", "auto"].contains(region));
        let made = retry::run(budget, false, async |fresh| {
            self.attempt(
                budget,
                Plan {
                    fresh,
                    ..Plan::default()
                },
                async |s3, exchange| {
                    let request = CreateBucketRequest {
                        bucket: self.config.bucket.clone(),
                        create_bucket_configuration: region.map(|region| CreateBucketConfiguration {
                            location_constraint: Some(region.to_owned()),
                        }),
                        ..Default::default()
                    };
                    s3.create_bucket(request)
                        .await
                        .map_err(|error| exchange.failure(error))?;
                    Ok(())
                },
            )
            .await
        })
        .await;
        match made {
            Err(given_up) if given_up.failure.s3_code.as_deref() != Some("BucketAlreadyOwnedByYou") => {
                Err(self.describe(budget, "CreateBucket", None, given_up))
            }
            _ => Ok(()),
        }
    }

    /// Finds out whether this configuration may write, without writing an object: begins an upload
    /// in parts, which takes the same right, and drops it.
    pub async fn probe(&self, budget: &Budget, key: &Key) -> Result<()> {
        let object_key = self.config.object_key(&key.hex());
        let upload = retry::run(budget, false, async |fresh| {
            self.attempt(
                budget,
                Plan {
                    fresh,
                    ..Plan::default()
                },
                async |s3, exchange| {
                    let request = CreateMultipartUploadRequest {
                        bucket: self.config.bucket.clone(),
                        key: object_key.clone(),
                        expected_bucket_owner: self.config.written.bucket_owner.clone(),
                        server_side_encryption: self.config.written.encryption.clone(),
                        ssekms_key_id: self.config.written.kms_key_id.clone(),
                        storage_class: self.config.written.storage_class.clone(),
                        ..Default::default()
                    };
                    let upload = s3
                        .create_multipart_upload(request)
                        .await
                        .map_err(|error| exchange.failure(error))?;
                    upload
                        .upload_id
                        .ok_or_else(|| Failure::not_s3s("an upload without an UploadId"))
                },
            )
            .await
        })
        .await
        .map_err(|given_up| self.describe(budget, "CreateMultipartUpload", Some(key), given_up))?;
        // Without the right to abort it, an empty upload is left, which holds no object.
        let _ = self
            .attempt(budget, Plan::default(), async |s3, exchange| {
                let request = AbortMultipartUploadRequest {
                    bucket: self.config.bucket.clone(),
                    key: object_key.clone(),
                    upload_id: upload.clone(),
                    expected_bucket_owner: self.config.written.bucket_owner.clone(),
                    ..Default::default()
                };
                s3.abort_multipart_upload(request)
                    .await
                    .map_err(|error| exchange.failure(error))
            })
            .await;
        Ok(())
    }

    /// One attempt, bounded by stalls and by the budget.
    async fn attempt<T>(
        &self,
        budget: &Budget,
        plan: Plan,
        work: impl AsyncFnOnce(S3Client, &Exchange) -> std::result::Result<T, Failure>,
    ) -> std::result::Result<T, Failure> {
        let left = budget.left();
        if left.is_zero() {
            return Err(Failure::new(Code::Timeout, Retry::Never, "the Deadline is over"));
        }
        let endpoint = self.learned.endpoint(&self.config);
        let exchange = Arc::new(Exchange {
            config: Arc::clone(&self.config),
            endpoint: endpoint.clone(),
            connections: Arc::clone(&self.connections),
            payload: plan.payload,
            headers: plan.headers,
            fresh: plan.fresh,
            connect_limit: self.config.connect_timeout.min(left),
            object: plan.object,
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
    fn describe(&self, budget: &Budget, operation: &str, key: Option<&Key>, given_up: GivenUp) -> Error {
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
        let hint = match (operation, failure.s3_code.as_deref()) {
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
            "{operation} {object}bucket {bucket} at {host}: {}{hint} [{}: {status}{attempts} in {seconds:.1} s{request}]",
            failure.text,
            failure.code.name(),
        );
        Error::new(failure.code, self.config.mask(&text))
    }
}

impl Exchange {
    /// What failed, as the wire has classified it.
    fn failure<E: std::fmt::Debug>(&self, error: RusotoError<E>) -> Failure {
        self.answered().failure.take().unwrap_or_else(|| match error {
            RusotoError::ParseError(_) | RusotoError::Unknown(_) => {
                Failure::not_s3s("an answer that can't be parsed")
            }
            _ => Failure::new(Code::Internal, Retry::Never, "the request could not be made"),
        })
    }

    /// An answer to HEAD has no error document, so a bare 404 is all that says "no such key"; or
    /// bucket: only for an operation that is followed by another one is this enough.
    fn head_failure<E: std::fmt::Debug>(&self, error: RusotoError<E>) -> Failure {
        let failure = self.failure(error);
        match failure.status {
            Some(404) if failure.s3_code.is_none() => Failure {
                code: Code::NotFound,
                ..failure
            },
            _ => failure,
        }
    }

    fn checksum(&self) -> Option<Key> {
        let answered = self.answered();
        Key::from_base64(answered.checksum.as_deref()?)
    }
}

/// Whether an answer to a conditional PUT may mean that the condition is not supported: B2 and
/// StorageGRID say 501 NotImplemented, others find other words.
fn is_refusal(failure: &Failure) -> bool {
    failure.code == Code::Server && matches!(failure.status, Some(400 | 405 | 415 | 422 | 501))
}

fn stall(limit: Duration) -> Failure {
    let text = format!("stalled: less than 1 kB moved within {} s", limit.as_secs_f32());
    Failure::new(Code::Timeout, Retry::Backoff, text)
}
