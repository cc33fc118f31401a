//! What came of one request: the classification of everything that is no success.

use std::time::Duration;

use hyper::http::HeaderMap;
use xml::reader::{EventReader, XmlEvent};

use crate::error::{one_line, quoted, Code, Error};

/// Whether and how a failed request is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// It would fail again.
    Never,
    /// After a pause.
    Backoff,
    /// On a new connection, at once and without counting: the reused one had been closed.
    AtOnce,
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
            retry_after: None,
        }
    }

    /// A failure that trying again won't mend.
    pub(super) fn fatal(error: &Error) -> Self {
        Failure::new(error.code(), Retry::Never, error.message())
    }

    /// An answer that no server of S3 gives.
    pub(super) fn not_s3s(what: &str) -> Self {
        let text = format!("the server is not S3's: {what}; check the option Host");
        Failure::new(Code::Server, Retry::Backoff, text)
    }

    /// Classifies an answer that is not 2xx.
    pub(super) fn of_answer(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let document = ErrorDocument::parse(body);
        let s3_code = document.as_ref().map(|document| document.code.as_str());
        let mut classified = classify(status, s3_code);
        let region = header(headers, "x-amz-bucket-region").map(one_line);
        let text = match (&document, region) {
            (Some(document), _) => describe(document, headers),
            // All that an answer to HEAD can say.
            (None, Some(region)) if matches!(status, 301 | 307 | 400) => {
                classified = (Code::Config, Retry::Never);
                format!(
                    "the bucket is in another region: set Region => {}",
                    quoted(&region)
                )
            }
            (None, _) => describe_foreign(status, headers, body),
        };
        Failure {
            status: Some(status),
            s3_code: s3_code.map(str::to_owned),
            request_id: header(headers, "x-amz-request-id").map(|id| one_line(id).chars().take(64).collect()),
            retry_after: header(headers, "retry-after")
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
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
        (_, Some("RequestTimeout")) => (Code::Timeout, Retry::Backoff),
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
        (409 | 500.., _) => (Code::Server, Retry::Backoff),
        _ => (Code::Server, Retry::Never),
    }
}

fn describe(document: &ErrorDocument, headers: &HeaderMap) -> String {
    let ErrorDocument {
        code,
        message,
        region,
    } = document;
    let said = match message.as_str() {
        "" => code.clone(),
        message => format!("{code}: {message}"),
    };
    let region = header(headers, "x-amz-bucket-region").or(region.as_deref());
    match (advice(code), region) {
        (Some(advice), _) => format!("{said} ({advice})"),
        (None, Some(region)) if classify(400, Some(code)).0 == Code::Config => {
            format!(
                "{said} (the bucket is in another region: set Region => {})",
                quoted(region)
            )
        }
        _ => said,
    }
}

/// What an administrator can do about it.
fn advice(s3_code: &str) -> Option<&'static str> {
    Some(match s3_code {
        "RequestTimeTooSkewed" => {
            "this machine's clock and the server's differ by more than 15 minutes: set the clock"
        }
        "InvalidAccessKeyId" => "check the option AccessKeyId",
        "SignatureDoesNotMatch" => "check the option SecretAccessKey",
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => "check the option SessionToken",
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

/// S3's error document.
struct ErrorDocument {
    code: String,
    message: String,
    region: Option<String>,
}

impl ErrorDocument {
    /// None for anything that is not `<Error>` with a `<Code>`.
    fn parse(body: &[u8]) -> Option<Self> {
        let mut path: Vec<String> = Vec::new();
        let (mut code, mut message, mut region) = (String::new(), String::new(), None::<String>);
        for event in EventReader::new(body) {
            match event.ok()? {
                XmlEvent::StartElement { name, .. } => path.push(name.local_name),
                XmlEvent::EndElement { .. } => {
                    path.pop();
                    if path.is_empty() {
                        break;
                    }
                }
                XmlEvent::Characters(text) | XmlEvent::CData(text) => match path.as_slice() {
                    [root, leaf] if root == "Error" => match leaf.as_str() {
                        "Code" => code.push_str(&text),
                        "Message" => message.push_str(&text),
                        "Region" => region.get_or_insert_default().push_str(&text),
                        _ => {}
                    },
                    _ => {}
                },
                _ => {}
            }
        }
        let short = |text: &str, most: usize| one_line(text).chars().take(most).collect::<String>();
        (!code.trim().is_empty()).then(|| ErrorDocument {
            code: short(&code, 64),
            message: short(&message, 200),
            region: region.map(|region| short(&region, 63)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, body: &str) -> Failure {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-request-id", "4711".parse().unwrap());
        headers.insert("content-type", "text/html".parse().unwrap());
        Failure::of_answer(status, &headers, body.as_bytes())
    }

    fn document(code: &str) -> String {
        format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>Why\nnot</Message><Region>eu-west-1</Region></Error>")
    }

    #[test]
    fn codes_and_retries() {
        let table = [
            (404, "NoSuchKey", Code::NotFound, Retry::Never),
            (404, "NoSuchBucket", Code::NoBucket, Retry::Never),
            (400, "RequestTimeout", Code::Timeout, Retry::Backoff),
            (403, "AccessDenied", Code::Denied, Retry::Never),
            (403, "InvalidObjectState", Code::Denied, Retry::Never),
            (403, "SignatureDoesNotMatch", Code::Credentials, Retry::Never),
            (403, "RequestTimeTooSkewed", Code::Credentials, Retry::Never),
            (409, "ConditionalRequestConflict", Code::Server, Retry::Backoff),
            (503, "SlowDown", Code::Throttled, Retry::Backoff),
            (500, "InternalError", Code::Server, Retry::Backoff),
            (501, "NotImplemented", Code::Server, Retry::Never),
            (400, "XAmzContentSHA256Mismatch", Code::Network, Retry::Backoff),
            (301, "PermanentRedirect", Code::Config, Retry::Never),
            (400, "AuthorizationHeaderMalformed", Code::Config, Retry::Never),
            (400, "InvalidArgument", Code::Server, Retry::Never),
        ];
        for (status, s3_code, code, retry) in table {
            let failure = failure(status, &document(s3_code));
            assert_eq!((failure.code, failure.retry), (code, retry), "{status} {s3_code}");
            assert!(
                failure.text.starts_with(&format!("{s3_code}: Why not")),
                "{}",
                failure.text
            );
            assert_eq!(failure.request_id.as_deref(), Some("4711"));
        }
    }

    #[test]
    fn another_region_is_named() {
        let text = failure(301, &document("PermanentRedirect")).text;
        assert!(text.contains("set Region => 'eu-west-1'"), "{text}");
    }

    #[test]
    fn an_answer_to_head_names_the_region_too() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-bucket-region", "eu-west-1".parse().unwrap());
        for status in [301, 307, 400] {
            let failure = Failure::of_answer(status, &headers, b"");
            assert_eq!(failure.code, Code::Config, "{status}");
            assert!(
                failure.text.ends_with("set Region => 'eu-west-1'"),
                "{}",
                failure.text
            );
        }
        assert_eq!(Failure::of_answer(404, &headers, b"").code, Code::Server);
    }

    /// What a proxy, a web server or a wrong Host answers is never taken for a missing object.
    #[test]
    fn an_answer_that_is_not_s3s_says_nothing_about_the_object() {
        for body in [
            "<html><Error><Code>NoSuchKey</Code></Error></html>",
            "NoSuchKey",
            "<Error>",
            "<Error><Code/></Error>",
        ] {
            let failure = failure(404, body);
            assert_eq!(failure.code, Code::Server, "{body}");
            assert!(
                failure.text.contains("not one of S3's (text/html)"),
                "{}",
                failure.text
            );
            assert!(failure.s3_code.is_none());
        }
    }

    #[test]
    fn entity_bombs_and_huge_messages_are_harmless() {
        let bomb = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]><Error><Code>&b;</Code></Error>";
        assert!(failure(400, bomb).text.len() < 400);
        let huge = format!(
            "<Error><Code>X</Code><Message>{}</Message></Error>",
            "m".repeat(100_000)
        );
        assert!(failure(400, &huge).text.len() < 300);
    }
}
