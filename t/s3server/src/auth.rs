//! Who may do what. s3s checks the signature; the rules of S3 that it leaves out stand here.

use std::path::PathBuf;
use std::sync::Arc;

use hyper::{HeaderMap, StatusCode, Uri, header};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::address::Query;
use crate::args::Args;

/// A presigned link lives a week at most (AWS, "Authenticating Requests: Using Query Parameters").
const LINK_LIFE: std::ops::RangeInclusive<i64> = 1..=604_800;

/// Access keys, their rights, and the buckets that are there.
#[derive(Clone)]
pub struct Guard(Arc<Rights>);

struct Rights {
    root: PathBuf,
    keys: std::collections::HashMap<String, String>,
    no_list: std::collections::HashSet<String>,
    tokens: std::collections::HashMap<String, String>,
    public: std::collections::HashSet<String>,
}

impl Guard {
    /// Takes what the command line says.
    pub fn new(args: &Args) -> Self {
        Self(Arc::new(Rights {
            root: args.root.clone(),
            keys: args.keys.clone(),
            no_list: args.no_list.clone(),
            tokens: args.tokens.clone(),
            public: args.public.clone(),
        }))
    }
}

/// The life of a presigned link, which s3s 0.14 does not limit; the rest of the link s3s checks.
pub fn check_link(uri: &Uri) -> S3Result<()> {
    let query = Query::parse(uri.query());
    let Some(expires) = query.get("X-Amz-Expires") else {
        return Ok(());
    };
    let message = match expires.parse() {
        Ok(seconds) if LINK_LIFE.contains(&seconds) => return Ok(()),
        Ok(seconds) if seconds > *LINK_LIFE.end() => {
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
             604800 seconds"
        }
        Ok(seconds) if seconds < 0 => "X-Amz-Expires must be non-negative",
        _ => "X-Amz-Expires should be a number",
    };
    Err(S3Error::with_message(
        S3ErrorCode::AuthorizationQueryParametersError,
        message,
    ))
}

#[async_trait::async_trait]
impl S3Auth for Guard {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.0
            .keys
            .get(access_key)
            .map(|secret| SecretKey::from(secret.as_str()))
            .ok_or_else(|| {
                s3_error!(
                    InvalidAccessKeyId,
                    "The AWS Access Key Id you provided does not exist in our records."
                )
            })
    }
}

#[async_trait::async_trait]
impl S3Access for Guard {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let rights = &*self.0;
        let operation = cx.s3_op().name();
        let query = Query::parse(cx.uri().query());
        let access_key = cx
            .credentials()
            .map(|credentials| credentials.access_key.as_str());
        if let Some(access_key) = access_key {
            check_headers_signed(cx.headers(), &query)?;
            rights.check_token(access_key, cx.headers(), &query)?;
        }
        if operation != "CreateBucket" {
            rights.check_bucket(cx.s3_path())?;
        }
        let may_list = match access_key {
            Some(access_key) => !rights.no_list.contains(access_key),
            None => {
                rights.check_public(operation, cx.s3_path(), &query)?;
                false
            }
        };
        if may_list {
            Ok(())
        } else {
            rights.check_without_list(operation, cx.s3_path())
        }
    }
}

impl Rights {
    fn check_token(&self, access_key: &str, headers: &HeaderMap, query: &Query) -> S3Result<()> {
        let sent = headers
            .get("x-amz-security-token")
            .and_then(|value| value.to_str().ok());
        let sent = sent.or_else(|| query.get("X-Amz-Security-Token"));
        if sent == self.tokens.get(access_key).map(String::as_str) {
            return Ok(());
        }
        let mut error = s3_error!(
            InvalidToken,
            "The provided token is malformed or otherwise invalid."
        );
        error.set_status_code(StatusCode::FORBIDDEN);
        Err(error)
    }

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

    fn check_public(&self, operation: &str, path: &S3Path, query: &Query) -> S3Result<()> {
        let S3Path::Object { bucket, .. } = path else {
            return Err(denied());
        };
        if !self.public.contains(&**bucket) || !["GetObject", "HeadObject"].contains(&operation) {
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
