//! How one content gets into the bucket, and when it is believed to be there.

use std::time::Duration;

use super::Store;
use crate::content_type::header_value;
use crate::error::{Code, Error, Result};
use crate::key::Key;
use crate::log::Level;
use crate::s3::{Budget, Client, Head, Output, Put, Upload, Write, ASK_ABOVE, LARGEST_OBJECT};

/// How long a new bucket may answer that it does not exist.
const NEW_BUCKET: Duration = Duration::from_secs(60);
const NEW_BUCKET_PAUSE: Duration = Duration::from_millis(500);

impl Store {
    /// What may be stored.
    pub(super) fn upload<'a>(
        &self,
        key: Option<&Key>,
        content: &'a [u8],
        content_type: Option<&str>,
    ) -> Result<Upload<'a>> {
        self.config.check_writable()?;
        if content.len() as u64 > LARGEST_OBJECT {
            let text = format!(
                "content of {} bytes is larger than S3 takes at once, {LARGEST_OBJECT}",
                content.len()
            );
            return Err(Error::new(Code::Argument, text));
        }
        let (content_type, warning) = header_value(content_type);
        let upload = Upload::new(key, content, content_type)?;
        if let Some(warning) = warning {
            self.tell(Level::Warning, format!("{}: {warning}", upload.key()));
        }
        Ok(upload)
    }

    pub(super) async fn store_upload(
        &self,
        client: &Client,
        budget: &Budget,
        upload: &Upload<'_>,
    ) -> Result<Stored> {
        client.keys_to_write(budget, "PUT").await?;
        loop {
            match self.store_once(client, budget, upload).await {
                Err(error)
                    if error.code() == Code::NoBucket
                        && self.local().bucket_is_new(NEW_BUCKET)
                        && budget.left() > NEW_BUCKET_PAUSE =>
                {
                    tokio::time::sleep(NEW_BUCKET_PAUSE).await;
                }
                Ok(stored) => return upload.prove().map(|()| stored),
                Err(error) => return Err(error),
            }
        }
    }

    async fn store_once(&self, client: &Client, budget: &Budget, upload: &Upload<'_>) -> Result<Stored> {
        let supports_condition = self.local().learned.supports_condition();
        let is_large = upload.size() > ASK_ABOVE;
        let mut asks = client.asks_first(upload.size()) || (is_large && !supports_condition);
        loop {
            if asks {
                if let Some(head) = ask(client, budget, upload.key()).await? {
                    return self.accept_or_mend(client, budget, upload, Some(head)).await;
                }
            }
            if !supports_condition {
                put_over(client, budget, upload).await?;
                return Ok(Stored::Perhaps);
            }
            let write = match is_large && !asks {
                true => Write::NewOrAsk,
                false => Write::New,
            };
            match client.put(budget, upload, write).await? {
                Put::Stored => return Ok(Stored::New),
                Put::Exists => return self.accept_or_mend(client, budget, upload, None).await,
                Put::ConditionRefused(_) => {
                    // Only if the same PUT succeeds without the condition was it the condition.
                    put_over(client, budget, upload).await?;
                    self.local().learned.forget_condition();
                    return Ok(Stored::Perhaps);
                }
                Put::Unclear(error) if budget.left().is_zero() => return Err(error),
                Put::Unclear(_) => asks = true,
            }
        }
    }

    /// There is an object under this key: it is believed only after it was seen to be whole.
    async fn accept_or_mend(
        &self,
        client: &Client,
        budget: &Budget,
        upload: &Upload<'_>,
        mut head: Option<Head>,
    ) -> Result<Stored> {
        // AWS computes the SHA-256 that it keeps; elsewhere it may be a mere file beside the object.
        if self.config.endpoint.is_aws() {
            if head.is_none() {
                head = client.head(budget, upload.key()).await.ok();
            }
            let whole = Head {
                size: Some(upload.size() as u64),
                checksum: Some(*upload.key()),
            };
            if head == Some(whole) {
                return Ok(Stored::Perhaps);
            }
        }
        match read(client, budget, upload.key(), &mut Discard).await {
            Ok(_) => Ok(Stored::Perhaps),
            Err(error) if error.code() == Code::Corrupt => {
                put_over(client, budget, upload).await?;
                let text = format!(
                    "a damaged object was written over with the whole content: {}",
                    error.message()
                );
                self.tell(Level::Warning, text);
                Ok(Stored::Perhaps)
            }
            // Gone meanwhile, or not ours to read.
            Err(error) if matches!(error.code(), Code::NotFound | Code::Denied) => {
                put_over(client, budget, upload).await?;
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

/// What HEAD says of the object; None where there is none.
async fn ask(client: &Client, budget: &Budget, key: &Key) -> Result<Option<Head>> {
    match client.head(budget, key).await {
        Ok(head) => Ok(Some(head)),
        // Without the right s3:ListBucket, 403 says nothing about the object.
        Err(error) if matches!(error.code(), Code::NotFound | Code::Denied) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The object, into `output`; read anew where it seems to be damaged, which may have happened on the way.
pub(super) async fn read(
    client: &Client,
    budget: &Budget,
    key: &Key,
    output: &mut dyn Output,
) -> Result<u64> {
    match client.get(budget, key, output, false).await {
        Err(error) if error.code() == Code::Corrupt && !budget.left().is_zero() => {
            client.get(budget, key, output, true).await
        }
        result => result,
    }
}

/// PUT whatever is there.
async fn put_over(client: &Client, budget: &Budget, upload: &Upload<'_>) -> Result<()> {
    match client.put(budget, upload, Write::Over).await? {
        Put::Stored => Ok(()),
        Put::ConditionRefused(error) | Put::Unclear(error) => Err(error),
        Put::Exists => Err(Error::new(Code::Internal, "a condition failed that was not sent")),
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
