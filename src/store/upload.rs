//! How one content gets into the bucket, and when it is believed to be there.

use std::time::Duration;

use super::Store;
use crate::content_type::{disposition, header_value};
use crate::error::{Code, Error, Result};
use crate::key::Key;
use crate::log::Level;
use crate::s3::{Budget, Client, Head, Output, Put, LARGEST_OBJECT};

/// Above this many bytes it is cheaper to ask first than to send what is there already.
pub(super) const ASK_FIRST: usize = 1024 * 1024;
/// How long a new bucket may answer that it does not exist.
const NEW_BUCKET: Duration = Duration::from_secs(60);
const NEW_BUCKET_PAUSE: Duration = Duration::from_millis(500);

impl Store {
    /// What may be stored; nothing is sent of anything else.
    pub(super) fn object<'a>(
        &self,
        key: Option<&Key>,
        content: &'a [u8],
        content_type: Option<&str>,
    ) -> Result<Object<'a>> {
        self.config.check_writable()?;
        if content.len() as u64 > LARGEST_OBJECT {
            let text = format!(
                "content of {} bytes is larger than S3 takes at once, {LARGEST_OBJECT}",
                content.len()
            );
            return Err(Error::new(Code::Argument, text));
        }
        let digest = Key::of(content);
        if let Some(key) = key.filter(|key| **key != digest) {
            let text = format!("the content given is not that of the key: its SHA-256 is {digest}, the key is {key}; nothing was sent");
            return Err(Error::new(Code::Mismatch, text));
        }
        let (content_type, warning) = header_value(content_type);
        if let Some(warning) = warning {
            self.tell(Level::Warning, format!("{digest}: {warning}"));
        }
        Ok(Object {
            key: digest,
            content,
            content_type,
        })
    }

    pub(super) async fn store_object(
        &self,
        client: &Client,
        budget: &Budget,
        object: &Object<'_>,
    ) -> Result<Stored> {
        client.keys_to_write(budget, "PUT").await?;
        loop {
            match self.store_once(client, budget, object).await {
                Err(error)
                    if error.code() == Code::NoBucket
                        && self.local().bucket_is_new(NEW_BUCKET)
                        && budget.left() > NEW_BUCKET_PAUSE =>
                {
                    tokio::time::sleep(NEW_BUCKET_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    async fn store_once(&self, client: &Client, budget: &Budget, object: &Object<'_>) -> Result<Stored> {
        if object.content.len() > ASK_FIRST {
            match client.head(budget, &object.key).await {
                Ok(head) => return self.accept_or_mend(client, budget, object, Some(head)).await,
                // Without the right s3:ListBucket, 403 says nothing about the object.
                Err(error) if matches!(error.code(), Code::NotFound | Code::Denied) => {}
                Err(error) => return Err(error),
            }
        }
        if !self.local().learned.supports_condition() {
            object.put_over(client, budget).await?;
            return Ok(Stored::Perhaps);
        }
        match object.put(client, budget, true).await? {
            Put::Stored => Ok(Stored::New),
            Put::Exists => self.accept_or_mend(client, budget, object, None).await,
            Put::ConditionRefused(_) => {
                // Only if the same PUT succeeds without the condition was it the condition.
                object.put_over(client, budget).await?;
                self.local().learned.forget_condition();
                Ok(Stored::Perhaps)
            }
        }
    }

    /// There is an object under this key: it is believed only after it was seen to be whole.
    async fn accept_or_mend(
        &self,
        client: &Client,
        budget: &Budget,
        object: &Object<'_>,
        mut head: Option<Head>,
    ) -> Result<Stored> {
        // AWS computes the SHA-256 that it keeps; elsewhere it may be a mere file beside the object.
        if self.config.endpoint.is_aws() {
            if head.is_none() {
                head = client.head(budget, &object.key).await.ok();
            }
            let whole = Head {
                size: Some(object.content.len() as u64),
                checksum: Some(object.key),
            };
            if head == Some(whole) {
                return Ok(Stored::Perhaps);
            }
        }
        match client.get(budget, &object.key, &mut Discard, false).await {
            Ok(_) => Ok(Stored::Perhaps),
            Err(error) if error.code() == Code::Corrupt => {
                object.put_over(client, budget).await?;
                let text = format!(
                    "a damaged object was written over with the whole content: {}",
                    error.message()
                );
                self.tell(Level::Warning, text);
                Ok(Stored::Perhaps)
            }
            // Gone meanwhile, or not ours to read.
            Err(error) if matches!(error.code(), Code::NotFound | Code::Denied) => {
                object.put_over(client, budget).await?;
                Ok(Stored::Perhaps)
            }
            Err(error) => Err(error),
        }
    }
}

/// The object is known to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// There was none before.
    New,
    /// It was there, or may have been: whoever found it unused may be about to delete it.
    Perhaps,
}

/// What is to be stored.
pub(super) struct Object<'a> {
    pub(super) key: Key,
    content: &'a [u8],
    content_type: String,
}

impl Object<'_> {
    async fn put(&self, client: &Client, budget: &Budget, condition: bool) -> Result<Put> {
        let Object {
            key,
            content,
            content_type,
        } = self;
        client
            .put(
                budget,
                key,
                content,
                content_type,
                disposition(content_type),
                condition,
            )
            .await
    }

    /// PUT whatever is there.
    async fn put_over(&self, client: &Client, budget: &Budget) -> Result<()> {
        match self.put(client, budget, false).await? {
            Put::Stored => Ok(()),
            Put::ConditionRefused(error) => Err(error),
            Put::Exists => Err(Error::new(Code::Internal, "a condition failed that was not sent")),
        }
    }
}

/// Reads and drops: only the digest matters.
pub(super) struct Discard;

impl Output for Discard {
    fn reserve(&mut self, _size: usize) -> bool {
        true
    }

    fn write(&mut self, _offset: usize, _piece: &[u8]) {}

    fn content(&self, _size: usize) -> Option<&[u8]> {
        None
    }
}
