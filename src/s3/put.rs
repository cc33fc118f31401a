//! PUT of an object: when it stores, and what its answers mean.

use futures::future::{select, Either};
use rusoto_s3::{PutObjectRequest, S3};
use tokio::time::Instant;

use super::client::Client;
use super::outcome::{Failure, Retry};
use super::retry::Budget;
use super::session::Operation;
use super::upload::Upload;
use crate::content_type::disposition;
use crate::error::{Code, Error, Result};

/// Of an empty object, where the ETag is the MD5; a content that is not empty never has it.
const MD5_OF_NOTHING: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// A request's head is shorter, in bytes.
const HEADS: u64 = 8192;

/// When a PUT is to store the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Whatever is there.
    Over,
    /// If there is no object yet.
    New,
    /// The same, but not tried again where the connection breaks in the middle: so a server may refuse what
    /// it has already.
    NewOrAsk,
}

/// What came of a PUT.
#[derive(Debug, PartialEq, Eq)]
pub enum Put {
    /// The object is stored.
    Stored,
    /// The condition failed: there is an object under this key.
    Exists,
    /// The server may not support the condition.
    ConditionRefused(Error),
    /// The connection broke in the middle: there may be an object, and the server may not want this one.
    Unclear(Error),
}

impl Client {
    /// Whether to ask for an object of so many bytes before it is sent.
    pub fn asks_first(&self, size: usize) -> bool {
        self.session.pace.asks_first(size)
    }

    /// Stores an object as [`Write`] says.
    pub(crate) async fn put(&self, budget: &Budget, upload: &Upload<'_>, write: Write) -> Result<Put> {
        let (key, size) = (upload.key(), upload.size());
        budget.allow_for(size as u64);
        let written = &self.config().written;
        let mut operation = Operation {
            payload: Some(*key),
            ..Operation::new(budget, "PUT", Some(key))
        };
        let is_conditional = write != Write::Over;
        if is_conditional {
            operation.headers.push(("if-none-match", "*".to_owned()));
        }
        if written.checksum {
            operation.headers.push(("x-amz-checksum-sha256", key.base64()));
        }
        let mut is_unclear = false;
        let put = self.session.run(&operation, async |s3, exchange| {
            let start = Instant::now();
            let (body, feed) = upload.body();
            let request = PutObjectRequest {
                bucket: self.config().bucket.clone(),
                key: self.object_key(key),
                content_type: Some(upload.content_type().to_owned()),
                content_disposition: disposition(upload.content_type()).map(str::to_owned),
                body: Some(body),
                server_side_encryption: written.encryption.clone(),
                ssekms_key_id: written.kms_key_id.clone(),
                storage_class: written.storage_class.clone(),
                expected_bucket_owner: written.bucket_owner.clone(),
                ..Default::default()
            };
            let put = std::pin::pin!(s3.put_object(request));
            let answer = match select(put, std::pin::pin!(feed)).await {
                Either::Left((answer, _)) => answer,
                Either::Right((fed, put)) => {
                    fed?;
                    put.await
                }
            };
            let progress = &self.session.connections.progress;
            let stored = answer.map_err(|error| {
                let failure = exchange.failure(error);
                is_unclear = write == Write::NewOrAsk
                    && failure.status.is_none()
                    && failure.retry == Retry::Backoff
                    && progress.bytes_sent() > HEADS;
                let retry = if is_unclear { Retry::Never } else { failure.retry };
                Failure { retry, ..failure }
            })?;
            // A success that did not wait for the content is none.
            if progress.bytes_sent() < size as u64 {
                return Err(Failure::not_s3s("success before the whole content was sent"));
            }
            let e_tag = stored.e_tag.as_deref().map(|tag| tag.trim_matches('"'));
            match e_tag {
                None | Some("") => return Err(Failure::not_s3s("success without an ETag")),
                Some(MD5_OF_NOTHING) if size > 0 => {
                    return Err(Failure::not_s3s(
                        "success, but the ETag is that of an empty object",
                    ));
                }
                Some(_) => {}
            }
            if written.encryption.is_some() && stored.server_side_encryption.is_none() {
                self.session.learned.note_unencrypted();
            }
            self.session.pace.note(size, start.elapsed());
            Ok(Put::Stored)
        });
        match put.await {
            Ok(stored) => Ok(stored),
            Err(given_up) if is_conditional && given_up.failure.status == Some(412) => Ok(Put::Exists),
            Err(given_up) => {
                let is_refusal = is_conditional && is_refusal(&given_up.failure);
                let error = self.session.describe(&operation, given_up);
                match (is_refusal, is_unclear) {
                    (true, _) => Ok(Put::ConditionRefused(error)),
                    (_, true) => Ok(Put::Unclear(error)),
                    _ => Err(error),
                }
            }
        }
    }
}

/// Whether an answer to a conditional PUT may mean that the condition is not supported: B2 and
/// StorageGRID say 501 NotImplemented, others find other words.
fn is_refusal(failure: &Failure) -> bool {
    failure.code == Code::Server && matches!(failure.status, Some(400 | 405 | 415 | 422 | 501))
}
