//! The operations that the store needs, each tried again within its budget.

use std::sync::Arc;

use rusoto_s3::{
    AbortMultipartUploadRequest, CreateBucketConfiguration, CreateBucketRequest,
    CreateMultipartUploadRequest, DeleteObjectRequest, GetObjectRequest, HeadObjectRequest, S3,
};
use tokio::time::Instant;

use super::breaker::Breaker;
use super::connection::{Connections, Network};
use super::credentials::{are_personal, Credentials, Found};
use super::learned::Learned;
use super::outcome::{Failure, Retry};
use super::pace::Pace;
use super::retry::{self, Budget};
use super::session::{Expected, Operation, Session};
use super::transfer::{Download, Output};
use crate::config::Config;
use crate::error::{Code, Error, Result};
use crate::key::Key;
use crate::log::Log;
use crate::process::Page;

/// What HEAD says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// In bytes, where the server tells it.
    pub size: Option<u64>,
    /// SHA-256 of the whole object, where the server keeps it.
    pub checksum: Option<Key>,
}

/// Speaks with one bucket.
pub struct Client {
    pub(super) session: Session,
}

impl Client {
    /// Connects to nothing yet. `learned` and `credentials` are kept up to date, `page` too; `network` is shared
    /// with other clients; `log` is told what happens.
    pub fn new(
        config: Arc<Config>,
        learned: Arc<Learned>,
        credentials: Arc<Credentials>,
        network: &Network,
        page: &'static Page,
        log: Arc<Log>,
    ) -> Self {
        let connections = Arc::new(Connections::new(&config, network));
        Client {
            session: Session {
                config,
                connections,
                learned,
                credentials,
                breaker: Breaker::new(page, log),
                pace: Pace(page),
            },
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.session.config
    }

    pub(super) fn object_key(&self, key: &Key) -> String {
        self.config().object_key(&key.hex())
    }

    /// The keys that sign.
    pub async fn keys(&self, budget: &Budget, name: &'static str) -> Result<Arc<Found>> {
        let operation = Operation::new(budget, name, None);
        let session = &self.session;
        let found = retry::run(
            budget,
            false,
            || true,
            async |_| session.credentials.get(budget, session.learned.now()).await,
        );
        found
            .await
            .map_err(|given_up| session.describe(&operation, given_up))
    }

    /// The same, if they may write: others who run this RT must be able to read what was stored.
    pub async fn keys_to_write(&self, budget: &Budget, name: &'static str) -> Result<Arc<Found>> {
        let found = self.keys(budget, name).await?;
        let source = found.source.name();
        match are_personal(found.source, self.config()) {
            false => Ok(found),
            true => Err(Error::new(
                Code::Config,
                format!(
                    "nothing is written with keys from {source}: another user who runs this RT, such as the web server's or cron's, may not have them, and could not read it; set CredentialSource => '{source}' if all have them, or give the keys in another way"
                ),
            )),
        }
    }

    /// Asks whether there is an object under `key`.
    pub async fn head(&self, budget: &Budget, key: &Key) -> Result<Head> {
        let mut operation = Operation::new(budget, "HEAD", Some(key));
        // Backblaze's server refuses what it does not know.
        if self.config().written.checksum {
            operation
                .headers
                .push(("x-amz-checksum-mode", "ENABLED".to_owned()));
        }
        let head = self.session.run(&operation, async |s3, exchange| {
            let start = Instant::now();
            let request = HeadObjectRequest {
                bucket: self.config().bucket.clone(),
                key: self.object_key(key),
                expected_bucket_owner: self.config().written.bucket_owner.clone(),
                ..Default::default()
            };
            let answer = s3.head_object(request).await;
            self.session.pace.note(0, start.elapsed());
            let head = match answer {
                Ok(head) => head,
                Err(error) => {
                    let failure = exchange.head_failure(error);
                    return Err(self.session.find_out(&operation, failure).await);
                }
            };
            if head.e_tag.is_none() {
                return Err(Failure::not_s3s("an answer to HEAD without an ETag"));
            }
            Ok(Head {
                size: head.content_length.and_then(|size| u64::try_from(size).ok()),
                checksum: exchange.checksum(),
            })
        });
        head.await
            .map_err(|given_up| self.session.describe(&operation, given_up))
    }

    /// Reads the object under `key` into `output` and returns its size in bytes.
    ///
    /// # Errors
    /// [`Code::Corrupt`] where the whole object arrived and is not the content of `key`. What
    /// `output` holds then means nothing, as after any other error.
    pub async fn get(&self, budget: &Budget, key: &Key, output: &mut dyn Output, fresh: bool) -> Result<u64> {
        let operation = Operation {
            fresh,
            expected: Expected::Object,
            ..Operation::new(budget, "GET", Some(key))
        };
        let mut download = Download::new(key, output);
        let size = self.session.run(&operation, async |s3, exchange| {
            let (range, if_match) = download.rest().unzip();
            let is_rest = range.is_some();
            let request = GetObjectRequest {
                bucket: self.config().bucket.clone(),
                key: self.object_key(key),
                range,
                if_match,
                expected_bucket_owner: self.config().written.bucket_owner.clone(),
                ..Default::default()
            };
            let object = match s3.get_object(request).await {
                Ok(object) => object,
                Err(error) => {
                    let failure = exchange.failure(error);
                    // It is not the object any more that it was; or Range is not understood, or not answered well.
                    let is_changed =
                        is_rest && matches!(failure.status, Some(204..=206 | 400 | 412 | 416 | 501));
                    if is_changed {
                        download.restart();
                    }
                    let retry = if is_changed { Retry::Backoff } else { failure.retry };
                    return Err(Failure { retry, ..failure });
                }
            };
            let has_end = exchange.answered().has_end;
            download.receive(budget, object, has_end).await
        });
        size.await
            .map_err(|given_up| self.session.describe(&operation, given_up))
    }

    /// Removes the object under `key`; it may never have been there.
    pub async fn delete(&self, budget: &Budget, key: &Key) -> Result<()> {
        let operation = Operation::new(budget, "DELETE", Some(key));
        let deleted = self.session.run(&operation, async |s3, exchange| {
            let request = DeleteObjectRequest {
                bucket: self.config().bucket.clone(),
                key: self.object_key(key),
                expected_bucket_owner: self.config().written.bucket_owner.clone(),
                ..Default::default()
            };
            s3.delete_object(request)
                .await
                .map(drop)
                .map_err(|error| exchange.failure(error))
        });
        match deleted.await {
            Err(given_up) if given_up.failure.code != Code::NotFound => {
                Err(self.session.describe(&operation, given_up))
            }
            _ => Ok(()),
        }
    }

    /// Makes the bucket; it may be there already, if it is ours.
    pub async fn create_bucket(&self, budget: &Budget) -> Result<()> {
        let operation = Operation::new(budget, "CreateBucket", None);
        let made = self.session.run(&operation, async |s3, exchange| {
            // us-east-1 must not be named, and "auto" is no region to make a bucket in.
            let region =
                Some(exchange.endpoint.region()).filter(|region| !["us-east-1", "auto"].contains(region));
            let request = CreateBucketRequest {
                bucket: self.config().bucket.clone(),
                create_bucket_configuration: region.map(|region| CreateBucketConfiguration {
                    location_constraint: Some(region.to_owned()),
                }),
                ..Default::default()
            };
            s3.create_bucket(request)
                .await
                .map(drop)
                .map_err(|error| exchange.failure(error))
        });
        match made.await {
            Err(given_up) if given_up.failure.s3_code.as_deref() != Some("BucketAlreadyOwnedByYou") => {
                Err(self.session.describe(&operation, given_up))
            }
            _ => Ok(()),
        }
    }

    /// Finds out whether this configuration may write, without writing an object: begins an upload
    /// in parts, which takes the same right, and drops it.
    pub async fn probe(&self, budget: &Budget, key: &Key) -> Result<()> {
        let written = &self.config().written;
        let operation = Operation::new(budget, "CreateMultipartUpload", Some(key));
        let begun = self.session.run(&operation, async |s3, exchange| {
            let request = CreateMultipartUploadRequest {
                bucket: self.config().bucket.clone(),
                key: self.object_key(key),
                server_side_encryption: written.encryption.clone(),
                ssekms_key_id: written.kms_key_id.clone(),
                storage_class: written.storage_class.clone(),
                expected_bucket_owner: written.bucket_owner.clone(),
                ..Default::default()
            };
            let upload = s3
                .create_multipart_upload(request)
                .await
                .map_err(|error| exchange.failure(error))?;
            upload
                .upload_id
                .ok_or_else(|| Failure::not_s3s("an upload without an UploadId"))
        });
        let upload = begun
            .await
            .map_err(|given_up| self.session.describe(&operation, given_up))?;
        let operation = Operation::new(budget, "AbortMultipartUpload", Some(key));
        let abort = &mut async |s3: rusoto_s3::S3Client, exchange: &super::wire::Exchange| {
            let request = AbortMultipartUploadRequest {
                bucket: self.config().bucket.clone(),
                key: self.object_key(key),
                upload_id: upload.clone(),
                expected_bucket_owner: written.bucket_owner.clone(),
                ..Default::default()
            };
            s3.abort_multipart_upload(request)
                .await
                .map_err(|error| exchange.failure(error))
        };
        // Without the right to abort it, an empty upload is left, which holds no object.
        let _ = self.session.attempt(&operation, false, abort).await;
        Ok(())
    }
}
