//! Objects as plain files: s3s-fs, with what S3 does and it doesn't put around it.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::io::AsyncSeekExt;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::io::ReaderStream;

use crate::Error;
use crate::faults::Keep;

mod commit;
mod etag;
use commit::Commit;

/// S3's type of an object that came without one.
const DEFAULT_TYPE: &str = "binary/octet-stream";
/// Bytes read from a file at once; s3s-fs reads 4 KiB.
const CHUNK: usize = 256 * 1024;

/// Put into the extensions of a request whose If-None-Match is not to be heeded.
#[derive(Clone)]
pub struct Unconditional;

/// The store. An object and the files that s3s-fs keeps beside it change together, under the key's lock.
pub struct Store {
    fs: FileSystem,
    root: PathBuf,
    locks: Vec<Arc<Mutex<()>>>,
    hasher: RandomState,
}

impl Store {
    /// Keeps buckets as directories in `root`.
    pub fn new(root: &Path) -> Result<Self, Error> {
        let fs = FileSystem::new(root).map_err(|error| format!("{}: {error:?}", root.display()))?;
        let locks = std::iter::repeat_with(Arc::default).take(64).collect();
        Ok(Self {
            fs,
            root: root.canonicalize()?,
            locks,
            hasher: RandomState::new(),
        })
    }

    fn lock(&self, bucket: &str, key: &str) -> Arc<Mutex<()>> {
        let hash = self.hasher.hash_one((bucket, key)) as usize;
        Arc::clone(&self.locks[hash % self.locks.len()])
    }

    async fn locked(&self, bucket: &str, key: &str) -> OwnedMutexGuard<()> {
        self.lock(bucket, key).lock_owned().await
    }

    /// The object's file. Keys are paths here, so those that name a way instead of a place are refused.
    fn path(&self, bucket: &str, key: &str) -> S3Result<PathBuf> {
        let plain = key.strip_suffix('/').unwrap_or(key);
        if plain.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(s3_error!(
                InvalidArgument,
                "this test server keeps keys as paths of files"
            ));
        }
        Ok(self.root.join(bucket).join(key))
    }

    fn existing(&self, bucket: &str, key: &str) -> S3Result<PathBuf> {
        let path = self.path(bucket, key)?;
        if path.is_dir() && !key.ends_with('/') || !path.exists() {
            return Err(s3_error!(NoSuchKey, "The specified key does not exist."));
        }
        Ok(path)
    }

    /// The files that s3s-fs 0.14 keeps beside an object and leaves behind when it is deleted.
    fn side_files(&self, bucket: &str, key: &str) -> [PathBuf; 2] {
        let name = format!(
            ".bucket-{}.object-{}",
            URL_SAFE_NO_PAD.encode(bucket),
            URL_SAFE_NO_PAD.encode(key)
        );
        ["metadata", "internal"].map(|kind| self.root.join(format!("{name}.{kind}.json")))
    }
}

fn check_if_match(condition: Option<&ETagCondition>, etag: Option<&ETag>) -> S3Result<()> {
    match (condition.and_then(ETagCondition::as_etag), etag) {
        (Some(wanted), Some(etag)) if !wanted.strong_cmp(etag) => Err(s3_error!(
            PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold"
        )),
        _ => Ok(()),
    }
}

#[async_trait::async_trait]
impl S3 for Store {
    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        if self.root.join(&req.input.bucket).exists() {
            return Err(s3_error!(BucketAlreadyOwnedByYou, "You already own it."));
        }
        let location = format!("/{}", req.input.bucket);
        let mut response = self.fs.create_bucket(req).await?;
        response.output.location = Some(location);
        Ok(response)
    }

    async fn delete_bucket(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        let entries = std::fs::read_dir(self.root.join(&req.input.bucket));
        if entries.is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(s3_error!(
                BucketNotEmpty,
                "The bucket you tried to delete is not empty"
            ));
        }
        let response = self.fs.delete_bucket(req).await?;
        Ok(S3Response::with_status(
            response.output,
            hyper::StatusCode::NO_CONTENT,
        ))
    }

    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        if req.extensions.get::<Unconditional>().is_some() {
            req.input.if_none_match = None;
        }
        let keep = req.extensions.get::<Keep>().copied();
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        let path = self.path(&bucket, &key)?;
        let lock = self.lock(&bucket, &key);
        let commit = Commit::of(&mut req.input, path, lock, keep)?;
        let result = self.fs.put_object(req).await;
        match (commit.refusal(), commit.told()) {
            (Some(error), _) => Err(error),
            (None, Some(told)) => {
                if keep != Some(Keep::Nothing) {
                    result?;
                    self.remember(&bucket, &key, &told)?;
                }
                Ok(S3Response::new(told))
            }
            (None, None) => result,
        }
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = &req.input;
        let path = self.existing(&input.bucket, &input.key)?;
        let _locked = self.locked(&input.bucket, &input.key).await;
        let (range, if_match) = (input.range, input.if_match.clone());
        let with_checksum = input
            .checksum_mode
            .as_ref()
            .is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
        let etag = self.etag(&input.bucket, &input.key)?;
        check_if_match(if_match.as_ref(), Some(&etag))?;
        let mut response = self.fs.get_object(req).await?;
        let output = &mut response.output;
        output.e_tag = Some(etag);
        output.content_type.get_or_insert_with(|| DEFAULT_TYPE.into());
        output.checksum_type = sha256_type(with_checksum, &mut output.checksum_sha256);

        let mut file = tokio::fs::File::open(path)
            .await
            .map_err(s3s::S3Error::internal_error)?;
        let length = file.metadata().await.map_err(s3s::S3Error::internal_error)?.len();
        let part = match range {
            Some(range) => range.check(length)?,
            None => 0..length,
        };
        file.seek(std::io::SeekFrom::Start(part.start))
            .await
            .map_err(s3s::S3Error::internal_error)?;
        let part = tokio::io::AsyncReadExt::take(file, part.end - part.start);
        output.body = Some(StreamingBlob::wrap(ReaderStream::with_capacity(part, CHUNK)));
        Ok(response)
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = &req.input;
        self.existing(&input.bucket, &input.key)?;
        let _locked = self.locked(&input.bucket, &input.key).await;
        let if_match = input.if_match.clone();
        let with_checksum = input
            .checksum_mode
            .as_ref()
            .is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
        let etag = self.etag(&input.bucket, &input.key)?;
        check_if_match(if_match.as_ref(), Some(&etag))?;
        let mut response = self.fs.head_object(req).await?;
        let output = &mut response.output;
        output.e_tag = Some(etag);
        output.content_type.get_or_insert_with(|| DEFAULT_TYPE.into());
        output.checksum_type = sha256_type(with_checksum, &mut output.checksum_sha256);
        Ok(response)
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        self.path(&bucket, &key)?;
        let _locked = self.locked(&bucket, &key).await;
        let response = self.fs.delete_object(req).await?;
        for path in self.side_files(&bucket, &key) {
            let _ = tokio::fs::remove_file(path).await;
        }
        Ok(response)
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.fs.delete_objects(req).await
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        self.fs.copy_object(req).await
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.fs.get_bucket_location(req).await
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.fs.head_bucket(req).await
    }

    async fn list_buckets(
        &self,
        req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        self.fs.list_buckets(req).await
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        self.fs.list_objects(req).await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.fs.list_objects_v2(req).await
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.fs.create_multipart_upload(req).await
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.fs.upload_part(req).await
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.fs.complete_multipart_upload(req).await
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.fs.abort_multipart_upload(req).await
    }
}

/// S3 gives the kept checksum only to those who ask with `x-amz-checksum-mode: ENABLED`.
fn sha256_type(asked: bool, checksum: &mut Option<String>) -> Option<ChecksumType> {
    if !asked {
        *checksum = None;
    }
    checksum
        .as_ref()
        .map(|_| ChecksumType::from_static(ChecksumType::FULL_OBJECT))
}
