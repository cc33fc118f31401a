//! Who may do what. s3s checks the signature; the rules of S3 that it leaves out stand here.

use std::path::PathBuf;
use std::sync::Arc;

use hyper::{HeaderMap, header};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::address::Query;
use crate::args::Args;
use crate::rights::Rights;

/// Access keys, their rights, and the buckets that are there.
#[derive(Clone)]
pub struct Guard(Arc<Rules>);

struct Rules {
    root: PathBuf,
    rights: Rights,
    no_list: std::collections::HashSet<String>,
}

impl Guard {
    /// Takes what the command line says.
    pub fn new(args: &Args) -> Self {
        Self(Arc::new(Rules {
            root: args.root.clone(),
            rights: Rights::of(args),
            no_list: args.no_list.clone(),
        }))
    }

    /// What holds now.
    pub fn rights(&self) -> S3Result<Rights> {
        let now = self.0.rights.now();
        now.map_err(|message| S3Error::with_message(S3ErrorCode::InternalError, message))
    }
}

#[async_trait::async_trait]
impl S3Auth for Guard {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let rights = self.rights()?;
        let key = rights.key(access_key).ok_or_else(|| {
            s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            )
        })?;
        Ok(SecretKey::from(key.secret.as_str()))
    }
}

#[async_trait::async_trait]
impl S3Access for Guard {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let rules = &*self.0;
        let operation = cx.s3_op().name();
        let query = Query::parse(cx.uri().query());
        let access_key = cx
            .credentials()
            .map(|credentials| credentials.access_key.as_str());
        if access_key.is_some() {
            check_headers_signed(cx.headers(), &query)?;
        }
        if operation != "CreateBucket" {
            rules.check_bucket(cx.s3_path())?;
        }
        let may_list = match access_key {
            Some(access_key) => !rules.no_list.contains(access_key),
            None => {
                check_public(&self.rights()?, operation, cx.s3_path(), &query)?;
                false
            }
        };
        if may_list {
            Ok(())
        } else {
            rules.check_without_list(operation, cx.s3_path())
        }
    }
}

impl Rules {
    /// s3s-fs 0.14 makes a bucket by itself on PUT into one that isn't there.
    fn check_bucket(&self, path: &S3Path) -> S3Result<()> {
        let (S3Path::Bucket { bucket } | S3Path::Object { bucket, .. }) = path else {
            return Ok(());
        };
        if self.root.join(&**bucket).is_dir() {
            return Ok(());
        }
        Err(s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }

    /// Who may not list may not learn either whether a key is there.
    fn check_without_list(&self, operation: &str, path: &S3Path) -> S3Result<()> {
        let missing = match (operation, path) {
            ("ListBuckets" | "HeadBucket" | "ListObjects" | "ListObjectsV2" | "ListMultipartUploads", _) => {
                true
            }
            ("GetObject" | "HeadObject", S3Path::Object { bucket, key }) => {
                !self.root.join(&**bucket).join(&**key).is_file()
            }
            _ => false,
        };
        if missing { Err(denied()) } else { Ok(()) }
    }
}

fn check_public(rights: &Rights, operation: &str, path: &S3Path, query: &Query) -> S3Result<()> {
    let S3Path::Object { bucket, .. } = path else {
        return Err(denied());
    };
    if !rights.is_public(bucket) || !["GetObject", "HeadObject"].contains(&operation) {
        return Err(denied());
    }
    if query.has_prefix("response-") {
        return Err(s3_error!(
            InvalidRequest,
            "Request specific response headers cannot be used for anonymous GET requests."
        ));
    }
    Ok(())
}

/// AWS refuses `x-amz-*` headers that the signature does not cover.
fn check_headers_signed(headers: &HeaderMap, query: &Query) -> S3Result<()> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let in_header = authorization.and_then(|value| value.split("SignedHeaders=").nth(1)?.split(',').next());
    let Some(signed) = in_header.or_else(|| query.get("X-Amz-SignedHeaders")) else {
        return Ok(());
    };
    let is_signed = |name: &str| signed.split(';').any(|word| word.trim() == name);
    let mut wanted = headers
        .keys()
        .map(header::HeaderName::as_str)
        .filter(|name| name.starts_with("x-amz-"));
    if is_signed("host") && wanted.all(is_signed) {
        return Ok(());
    }
    Err(s3_error!(
        AccessDenied,
        "There were headers present in the request which were not signed"
    ))
}

fn denied() -> S3Error {
    s3_error!(AccessDenied, "Access Denied")
}
