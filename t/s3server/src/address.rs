//! What a request is about, from its first line and its Host: bucket, key and operation. s3s finds the same
//! for itself once the signature is right; faults and the log want it for every request.

use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, header};
use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// A bucket's own host is a name in one of these domains; every other host is path-style.
const DOMAINS: [&str; 2] = [".localhost", ".s3.test"];

/// The bucket that a host name (with or without port) stands for.
pub fn bucket_in_host(host: &str) -> Option<&str> {
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    DOMAINS
        .iter()
        .find_map(|domain| name.strip_suffix(domain))
        .filter(|b| !b.is_empty() && *b != "s3")
}

/// Tells s3s the same.
pub struct Hosts;

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        Ok(match bucket_in_host(host) {
            Some(bucket) => VirtualHost::new(host).with_bucket(bucket),
            None => VirtualHost::new(host),
        })
    }
}

/// What a request is about.
pub struct Target {
    /// S3's name of the operation, where it is one that this server knows.
    pub operation: Option<&'static str>,
    /// Bucket name.
    pub bucket: Option<String>,
    /// Object key, decoded.
    pub key: Option<String>,
}

impl Target {
    /// Reads it from the head of a request.
    pub fn of(head: &Parts) -> Self {
        let path = urlencoding::decode(head.uri.path())
            .unwrap_or_default()
            .into_owned();
        let path = path.strip_prefix('/').unwrap_or(&path);
        let host = head
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        let (bucket, key) = match bucket_in_host(host) {
            Some(bucket) => (bucket, path),
            None => path.split_once('/').unwrap_or((path, "")),
        };
        let some = |word: &str| (!word.is_empty()).then(|| word.to_owned());
        let (bucket, key) = (some(bucket), some(key));
        let query = Query::parse(head.uri.query());
        let operation = match (&bucket, &key) {
            (None, _) => (head.method == Method::GET).then_some("ListBuckets"),
            (Some(_), None) => bucket_operation(&head.method, &query),
            (Some(_), Some(_)) => object_operation(&head.method, &query, &head.headers),
        };
        Self {
            operation,
            bucket,
            key,
        }
    }
}

fn bucket_operation(method: &Method, query: &Query) -> Option<&'static str> {
    Some(match (method, query) {
        (&Method::HEAD, _) => "HeadBucket",
        (&Method::PUT, q) if q.has("policy") => "PutBucketPolicy",
        (&Method::PUT, q) if q.is_plain() => "CreateBucket",
        (&Method::DELETE, q) if q.is_plain() => "DeleteBucket",
        (&Method::POST, q) if q.has("delete") => "DeleteObjects",
        (&Method::GET, q) if q.has("location") => "GetBucketLocation",
        (&Method::GET, q) if q.has("policy") => "GetBucketPolicy",
        (&Method::GET, q) if q.has("uploads") => "ListMultipartUploads",
        (&Method::GET, q) if q.get("list-type") == Some("2") => "ListObjectsV2",
        (&Method::GET, _) => "ListObjects",
        _ => return None,
    })
}

fn object_operation(method: &Method, query: &Query, headers: &HeaderMap) -> Option<&'static str> {
    let copy = headers.contains_key("x-amz-copy-source");
    Some(match (method, query.has("uploadId")) {
        (&Method::PUT, true) if copy => "UploadPartCopy",
        (&Method::PUT, true) => "UploadPart",
        (&Method::POST, true) => "CompleteMultipartUpload",
        (&Method::DELETE, true) => "AbortMultipartUpload",
        (&Method::GET, true) => "ListParts",
        (&Method::POST, false) if query.has("uploads") => "CreateMultipartUpload",
        (&Method::PUT, false) if copy => "CopyObject",
        (&Method::PUT, false) => "PutObject",
        (&Method::GET, _) => "GetObject",
        (&Method::HEAD, _) => "HeadObject",
        (&Method::DELETE, false) => "DeleteObject",
        _ => return None,
    })
}

/// A query string, decoded.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Splits and decodes; what can't be decoded is left as it is.
    pub fn parse(query: Option<&str>) -> Self {
        let decode =
            |word: &str| urlencoding::decode(word).map_or_else(|_| word.to_owned(), |w| w.into_owned());
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(n, v)| (decode(n), decode(v)))
                .collect(),
        )
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the name occurs, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// How often the name occurs.
    pub fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|(n, _)| n == name).count()
    }

    /// Whether a name begins so.
    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.0.iter().any(|(name, _)| name.starts_with(prefix))
    }

    /// Nothing in it but a signature: no sub-resource is asked for.
    fn is_plain(&self) -> bool {
        self.0
            .iter()
            .all(|(name, _)| name.starts_with("X-Amz-") || name == "x-id")
    }
}
