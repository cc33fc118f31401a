//! What came of one request: the classification of everything that is no success.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hyper::http::HeaderMap;

use super::document::ErrorDocument;
use crate::config::{is_region, region_in_address, Mask};
use crate::error::{one_line, quoted, Code};

/// Whether and how a failed request is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// It would fail again.
    Never,
    /// After a pause.
    Backoff,
    /// On a new connection, at once and without counting: the reused one had been closed.
    AtOnce,
    /// At once and without counting: the server has said what was wrong, and it was corrected.
    Corrected,
}

/// How far a request got, which says whether the server is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contact {
    /// It did not begin.
    None,
    /// No connection.
    Unreachable,
    /// A connection, but not the head of an answer.
    Silent,
    /// An answer, whatever it said.
    Answered,
}

/// A request that did not succeed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) code: Code,
    /// What failed, without the operation and the object.
    pub(super) text: String,
    pub(super) status: Option<u16>,
    /// S3's own error code, from the error document.
    pub(super) s3_code: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) retry: Retry,
    pub(super) contact: Contact,
    /// Where the server says that the request belongs.
    pub(super) region: Option<String>,
    /// How long the server asks to wait.
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(code: Code, retry: Retry, text: impl Into<String>) -> Self {
        Failure {
            code,
            text: text.into(),
            status: None,
            s3_code: None,
            request_id: None,
            retry,
            contact: Contact::None,
            region: None,
            retry_after: None,
        }
    }

    /// An answer that no server of S3 gives.
    pub(super) fn not_s3s(what: &str) -> Self {
        let text = format!("the server is not S3's: {what}; check the option Host");
        Failure::new(Code::Server, Retry::Backoff, text)
    }

    /// Classifies an answer that is not 2xx. What is shown of it goes through `mask`.
    pub(super) fn of_answer(status: u16, headers: &HeaderMap, body: &[u8], mask: &Mask) -> Self {
        let document = ErrorDocument::parse(body, mask);
        let s3_code = document.as_ref().map(|document| document.code.as_str());
        let mut classified = classify(status, s3_code);
        let region = region_hint(status, document.as_ref(), headers);
        let retry_after = retry_after(headers);
        // An answer to HEAD can't say SlowDown.
        if status == 503 && document.is_none() && retry_after.is_some() {
            classified.0 = Code::Throttled;
        }
        let mut text = match &document {
            Some(document) => describe(document, region.is_some()),
            None => describe_foreign(status, headers, body),
        };
        if let Some(region) = &region {
            // All that an answer to HEAD can say.
            if document.is_none() {
                classified = (Code::Config, Retry::Never);
            }
            text = format!(
                "{text} (the bucket is in another region: set Region => {})",
                quoted(region)
            );
        }
        Failure {
            status: Some(status),
            s3_code: s3_code.map(str::to_owned),
            request_id: header(headers, "x-amz-request-id")
                .map(|id| one_line(&mask.apply(id)).chars().take(64).collect()),
            region,
            retry_after,
            ..Failure::new(classified.0, classified.1, text)
        }
    }
}

/// The code and the retry that a status and S3's error code mean.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
fn classify(status: u16, s3_code: Option<&str>) -> (Code, Retry) {
    match (status, s3_code) {
        (_, Some("NoSuchKey")) => (Code::NotFound, Retry::Never),
        (_, Some("NoSuchBucket")) => (Code::NoBucket, Retry::Never),
        (_, Some("RequestTimeout")) | (408, None) => (Code::Timeout, Retry::Backoff),
        (
            _,
            Some(
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "InvalidToken"
                | "TokenRefreshRequired"
                | "RequestTimeTooSkewed",
            ),
        ) => (Code::Credentials, Retry::Never),
        (
            _,
            Some(
                "SlowDown"
                | "Throttling"
                | "ThrottlingException"
                | "TooManyRequests"
                | "RequestLimitExceeded",
            ),
        )
        | (429, _) => (Code::Throttled, Retry::Backoff),
        // The body arrived changed: Garage 2.5 says InvalidDigest.
        (_, Some("XAmzContentSHA256Mismatch" | "BadDigest" | "InvalidDigest" | "IncompleteBody")) => {
            (Code::Network, Retry::Backoff)
        }
        (_, Some("BucketAlreadyExists")) => (Code::Denied, Retry::Never),
        (_, Some("BucketAlreadyOwnedByYou")) => (Code::Server, Retry::Never),
        (_, Some("OperationAborted" | "ConditionalRequestConflict")) => (Code::Server, Retry::Backoff),
        (
            _,
            Some(
                "InvalidBucketName"
                | "PermanentRedirect"
                | "TemporaryRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException",
            ),
        ) => (Code::Config, Retry::Never),
        (401 | 403, _) => (Code::Denied, Retry::Never),
        (501 | 505, _) => (Code::Server, Retry::Never),
        // An error within a success.
        (200..=299 | 409 | 500.., _) => (Code::Server, Retry::Backoff),
        _ => (Code::Server, Retry::Never),
    }
}

/// S3's words for a bucket that is in another region.
const ELSEWHERE: [&str; 5] = [
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "Redirect",
];

/// A number of seconds, or a moment.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = header(headers, "retry-after")?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    // By the clock of the server, which may not be this machine's.
    let now = header(headers, "date").and_then(date).unwrap_or_else(Utc::now);
    (date(value)? - now).to_std().ok()
}

/// Where a refusal says that the bucket is. It is only a name to sign for, and a label within AWS's
/// own host names: never another host.
fn region_hint(status: u16, document: Option<&ErrorDocument>, headers: &HeaderMap) -> Option<String> {
    let may_be = matches!(status, 301 | 307 | 400)
        && document.is_none_or(|document| ELSEWHERE.contains(&document.code.as_str()));
    if !may_be {
        return None;
    }
    let told = header(headers, "x-amz-bucket-region").map(str::to_owned);
    let told = told.or_else(|| document.and_then(ErrorDocument::region));
    let told = told.or_else(|| region_in_address(document?.endpoint.as_deref()?));
    told.or_else(|| region_in_address(header(headers, "location")?))
        .filter(|region| is_region(region))
}

/// A moment as HTTP writes it.
pub(super) fn date(value: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(value).ok().map(Into::into)
}

fn describe(document: &ErrorDocument, region_is_told: bool) -> String {
    let ErrorDocument { code, message, .. } = document;
    let said = match message.as_str() {
        "" => code.clone(),
        message => format!("{code}: {message}"),
    };
    match advice(code) {
        Some(advice) => format!("{said} ({advice})"),
        None if ELSEWHERE.contains(&code.as_str()) && !region_is_told => {
            format!("{said} (the bucket is in another region: check the options Region and Host)")
        }
        None => said,
    }
}

/// What an administrator can do about it.
fn advice(s3_code: &str) -> Option<&'static str> {
    Some(match s3_code {
        "RequestTimeTooSkewed" => {
            "this machine's clock and the server's differ by more than 15 minutes: set the clock"
        }
        "InvalidAccessKeyId" => "check the option AccessKeyId, or where the keys come from",
        "SignatureDoesNotMatch" => "check the option SecretAccessKey",
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            "check the option SessionToken, or where the temporary keys come from"
        }
        "NoSuchBucket" => "check the options Bucket, Host and Region, and whose account the keys belong to",
        "BucketAlreadyExists" => {
            "the bucket belongs to another account: choose another name for the option Bucket"
        }
        "InvalidBucketName" => "check the option Bucket",
        "InvalidObjectState" => "the object is archived: restore it in S3 before it can be read",
        "AccessDenied" => "the keys lack a right",
        "KMS.DisabledException" | "KMS.NotFoundException" | "KMSKeyDisabled" => {
            "the encryption key can't be used: see AWS KMS"
        }
        _ => return None,
    })
}

/// For answers without S3's error document.
fn describe_foreign(status: u16, headers: &HeaderMap, body: &[u8]) -> String {
    match status {
        // An answer to HEAD never has a body.
        403 if body.is_empty() => "access denied".to_owned(),
        404 if body.is_empty() => "not found".to_owned(),
        407 => "a proxy wants a user and a password that are right: Proxy => 'http://user:password@host'"
            .to_owned(),
        301..=303 | 307 | 308 => {
            "a redirect, which is not followed: check the options Host and Region".to_owned()
        }
        _ if body.is_empty() => format!("status {status}"),
        500.. => {
            let kind = header(headers, "content-type").unwrap_or("unknown type");
            format!("the server failed, or a proxy before it ({})", one_line(kind))
        }
        _ => {
            let kind = header(headers, "content-type").unwrap_or("unknown type");
            format!(
                "the answer is not one of S3's ({}): check the option Host",
                one_line(kind)
            )
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests;
