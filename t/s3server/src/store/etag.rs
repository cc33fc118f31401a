//! ETags. s3s-fs keeps the one of the upload in a file beside the object; here it is that of the bytes which
//! are there, also when a test has changed them.

use std::fs;
use std::path::Path;

use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{ETag, PutObjectOutput};
use s3s::{S3Error, S3Result};
use serde_json::{Map, Value};

use super::Store;

impl Store {
    /// The ETag of an object.
    pub fn etag(&self, bucket: &str, key: &str) -> S3Result<ETag> {
        let path = self.path(bucket, key)?;
        let [_, internal] = self.side_files(bucket, key);
        let etag = match kept(&path, &internal) {
            Some(etag) => etag,
            None => md5(&path).map_err(S3Error::internal_error)?,
        };
        Ok(ETag::Strong(etag))
    }

    /// Keeps ETag and checksum as they were told, whatever was stored.
    pub fn remember(&self, bucket: &str, key: &str, told: &PutObjectOutput) -> S3Result<()> {
        let mut known = Map::new();
        let etag = told.e_tag.as_ref().map(|etag| etag.value().to_owned());
        for (name, value) in [("e_tag", etag), ("checksum_sha256", told.checksum_sha256.clone())] {
            known.extend(value.map(|value| (name.to_owned(), Value::String(value))));
        }
        let [_, internal] = self.side_files(bucket, key);
        fs::write(internal, Value::from(known).to_string()).map_err(S3Error::internal_error)
    }
}

/// What stands beside the object, if the object has not changed since.
fn kept(path: &Path, internal: &Path) -> Option<String> {
    let changed = |path| fs::metadata(path).and_then(|data| data.modified()).ok();
    if changed(path)? > changed(internal)? {
        return None;
    }
    let text = fs::read_to_string(internal).ok()?;
    let known: Map<String, Value> = serde_json::from_str(&text).ok()?;
    known.get("e_tag")?.as_str().map(str::to_owned)
}

fn md5(path: &Path) -> std::io::Result<String> {
    let mut hash = Md5::new();
    if path.is_file() {
        hash.update(&fs::read(path)?);
    }
    Ok(super::commit::hex(&hash.finalize()))
}
