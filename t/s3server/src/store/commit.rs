//! The last moment of an upload. s3s-fs looks at the condition before the body has come and at the checksums
//! after the file is in place; S3 does both when the body is complete and the object not yet there.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::{ETag, PutObjectInput, PutObjectOutput, StreamingBlob};
use s3s::{S3Error, S3Result, s3_error};
use tokio::sync::OwnedMutexGuard;

use crate::faults::Keep;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Holds the key's lock from the end of the body until s3s-fs is done with the object.
#[derive(Clone, Default)]
pub struct Commit(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    _locked: Option<OwnedMutexGuard<()>>,
    refusal: Option<S3Error>,
    told: Option<PutObjectOutput>,
}

impl Commit {
    /// Puts itself at the end of the body of `input`.
    pub fn of(
        input: &mut PutObjectInput,
        path: PathBuf,
        lock: Arc<tokio::sync::Mutex<()>>,
        keep: Option<Keep>,
    ) -> S3Result<Self> {
        let commit = Self::default();
        let Some(body) = input.body.take() else {
            return Err(s3_error!(IncompleteBody));
        };
        let only_new = input
            .if_none_match
            .as_ref()
            .is_some_and(s3s::dto::ETagCondition::is_any);
        let upload = Upload {
            body,
            digests: Digests::of(input, keep.is_some()),
            keep,
            position: 0,
            path,
            only_new,
            lock,
            commit: commit.clone(),
        };
        if keep.is_some() {
            forget_digests(input);
        }
        input.body = Some(StreamingBlob::wrap(stream::unfold(Some(upload), Upload::next)));
        Ok(commit)
    }

    /// Why the object must not appear, if so.
    pub fn refusal(&self) -> Option<S3Error> {
        self.0.lock().expect("commit").refusal.take()
    }

    /// What is told where not all is kept.
    pub fn told(&self) -> Option<PutObjectOutput> {
        self.0.lock().expect("commit").told.take()
    }
}

/// s3s-fs shall not notice that it gets something else.
fn forget_digests(input: &mut PutObjectInput) {
    input.checksum_crc32 = None;
    input.checksum_crc32c = None;
    input.checksum_crc64nvme = None;
    input.checksum_sha1 = None;
    input.checksum_sha256 = None;
    input.content_md5 = None;
    input.content_length = None;
}

struct Upload {
    body: StreamingBlob,
    digests: Digests,
    keep: Option<Keep>,
    position: u64,
    path: PathBuf,
    only_new: bool,
    lock: Arc<tokio::sync::Mutex<()>>,
    commit: Commit,
}

impl Upload {
    async fn next(upload: Option<Self>) -> Option<(std::io::Result<Bytes>, Option<Self>)> {
        let mut upload = upload?;
        match upload.body.next().await {
            Some(Ok(bytes)) => {
                upload.digests.update(&bytes);
                let bytes = upload.kept(bytes);
                Some((Ok(bytes), Some(upload)))
            }
            Some(Err(error)) => Some((Err(std::io::Error::other(error)), None)),
            None => upload.end().await.err().map(|error| (Err(error), None)),
        }
    }

    /// The part of these bytes that is kept.
    fn kept(&mut self, mut bytes: Bytes) -> Bytes {
        let (begin, length) = (self.position, bytes.len() as u64);
        self.position += length;
        match self.keep {
            Some(Keep::Bytes(most)) => bytes.truncate(most.saturating_sub(begin).min(length) as usize),
            Some(Keep::Flip(offset)) if (begin..begin + length).contains(&offset) => {
                let mut damaged = bytes.to_vec();
                damaged[(offset - begin) as usize] ^= 0xff;
                bytes = damaged.into();
            }
            _ => {}
        }
        bytes
    }

    async fn end(mut self) -> std::io::Result<()> {
        let locked = self.lock.lock_owned().await;
        let md5 = self.digests.found_md5.take().map(Md5::finalize);
        let md5 = md5.as_ref().map(|md5| &md5[..]);
        let told = self.keep.map(|_| self.digests.told(md5));
        let refusal = match self.digests.check(md5) {
            Ok(()) if self.only_new && self.path.exists() => Some(s3_error!(
                PreconditionFailed,
                "At least one of the pre-conditions you specified did not hold"
            )),
            Ok(()) => None,
            Err(error) => Some(error),
        };
        let refused = refusal.is_some() || self.keep == Some(Keep::Nothing);
        *self.commit.0.lock().expect("commit") = State {
            _locked: Some(locked),
            refusal,
            told,
        };
        if refused {
            Err(std::io::Error::other("the upload is refused"))
        } else {
            Ok(())
        }
    }
}

/// The digests that came with the request's headers, and those of what arrived.
struct Digests {
    stated: s3s::dto::Checksum,
    md5: Option<String>,
    found: ChecksumHasher,
    found_md5: Option<Md5>,
}

/// Hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Digests {
    fn of(input: &PutObjectInput, with_md5: bool) -> Self {
        let stated = s3s::dto::Checksum {
            checksum_crc32: input.checksum_crc32.clone(),
            checksum_crc32c: input.checksum_crc32c.clone(),
            checksum_crc64nvme: input.checksum_crc64nvme.clone(),
            checksum_sha1: input.checksum_sha1.clone(),
            checksum_sha256: input.checksum_sha256.clone(),
            ..Default::default()
        };
        let found = ChecksumHasher {
            crc32: stated.checksum_crc32.as_ref().map(|_| Crc32::new()),
            crc32c: stated.checksum_crc32c.as_ref().map(|_| Crc32c::new()),
            crc64nvme: stated.checksum_crc64nvme.as_ref().map(|_| Crc64Nvme::new()),
            sha1: stated.checksum_sha1.as_ref().map(|_| Sha1::new()),
            sha256: stated.checksum_sha256.as_ref().map(|_| Sha256::new()),
        };
        Self {
            stated,
            md5: input.content_md5.clone(),
            found,
            found_md5: (with_md5 || input.content_md5.is_some()).then(Md5::new),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.found.update(bytes);
        if let Some(md5) = &mut self.found_md5 {
            md5.update(bytes);
        }
    }

    /// The answer to an upload that arrived as it was sent.
    fn told(&self, md5: Option<&[u8]>) -> PutObjectOutput {
        PutObjectOutput {
            e_tag: md5.map(hex).map(ETag::Strong),
            checksum_sha256: self.stated.checksum_sha256.clone(),
            ..PutObjectOutput::default()
        }
    }

    fn check(self, md5: Option<&[u8]>) -> S3Result<()> {
        let found = self.found.finalize();
        let stated = self.stated;
        for (name, stated, found) in [
            ("CRC32", stated.checksum_crc32, found.checksum_crc32),
            ("CRC32C", stated.checksum_crc32c, found.checksum_crc32c),
            ("CRC64NVME", stated.checksum_crc64nvme, found.checksum_crc64nvme),
            ("SHA1", stated.checksum_sha1, found.checksum_sha1),
            ("SHA256", stated.checksum_sha256, found.checksum_sha256),
        ] {
            if stated != found {
                return Err(s3_error!(
                    BadDigest,
                    "The {name} you specified did not match the calculated checksum."
                ));
            }
        }
        if self.md5.is_some() && self.md5 != md5.map(|md5| STANDARD.encode(md5)) {
            return Err(s3_error!(
                BadDigest,
                "The Content-MD5 you specified did not match what we received."
            ));
        }
        Ok(())
    }
}
