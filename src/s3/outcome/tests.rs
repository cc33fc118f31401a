//! What answers mean.

use super::*;

fn of_answer(status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
    Failure::of_answer(status, headers, body, &Mask::default())
}

fn failure(status: u16, body: &str) -> Failure {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-request-id", "4711".parse().unwrap());
    headers.insert("content-type", "text/html".parse().unwrap());
    of_answer(status, &headers, body.as_bytes())
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

/// As AWS, Garage 2.5, MinIO, and AWS for a bucket that is minutes old say it.
#[test]
fn regions_are_found_wherever_they_stand() {
    let malformed =
        "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'";
    let scope = "Authorization header malformed, unexpected scope: '20260101/us-east-1/s3/aws4_request', expected: '20260101/eu-west-1/s3/aws4_request'";
    let table = [
        (
            301,
            "PermanentRedirect",
            "<Endpoint>b.s3-eu-west-1.amazonaws.com</Endpoint>".to_owned(),
        ),
        (
            307,
            "TemporaryRedirect",
            "<Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint>".to_owned(),
        ),
        (
            400,
            "AuthorizationHeaderMalformed",
            "<Region>eu-west-1</Region>".to_owned(),
        ),
        (
            400,
            "AuthorizationHeaderMalformed",
            format!("<Message>{malformed}</Message>"),
        ),
        (
            400,
            "AuthorizationHeaderMalformed",
            format!("<Message>{scope}</Message>"),
        ),
    ];
    for (status, code, more) in table {
        let document = format!("<Error><Code>{code}</Code>{more}</Error>");
        let failure = of_answer(status, &HeaderMap::new(), document.as_bytes());
        assert_eq!(failure.region.as_deref(), Some("eu-west-1"), "{document}");
    }
    let mut headers = HeaderMap::new();
    headers.insert(
        "location",
        "https://b.s3.eu-west-1.amazonaws.com/key".parse().unwrap(),
    );
    assert_eq!(of_answer(307, &headers, b"").region.as_deref(), Some("eu-west-1"));
    for (name, value) in [
        ("location", "https://evil.example.com/"),
        ("location", "https://s3.eu-west-1.amazonaws.com.evil.example/"),
        ("x-amz-bucket-region", "a.evil.example"),
        ("x-amz-bucket-region", "EU/WEST"),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        assert_eq!(of_answer(301, &headers, b"").region, None, "{value}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let asked = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", value.parse().unwrap());
        of_answer(503, &headers, b"").retry_after
    };
    assert_eq!(asked("7"), Some(Duration::from_secs(7)));
    let soon = (Utc::now() + chrono::TimeDelta::seconds(100)).to_rfc2822();
    assert!(asked(&soon).is_some_and(|time| time > Duration::from_secs(90)));
    assert_eq!(asked("Tue, 24 Nov 1998 17:00:00 GMT"), None);
    assert_eq!(asked("soon"), None);
}

#[test]
fn an_answer_to_head_names_the_region_too() {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-bucket-region", "eu-west-1".parse().unwrap());
    for status in [301, 307, 400] {
        let failure = of_answer(status, &headers, b"");
        assert_eq!(failure.code, Code::Config, "{status}");
        assert!(
            failure.text.ends_with("set Region => 'eu-west-1')"),
            "{}",
            failure.text
        );
    }
    assert_eq!(of_answer(404, &headers, b"").code, Code::Server);
    assert_eq!(of_answer(403, &headers, b"").region, None);
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
    let bomb =
        "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]><Error><Code>&b;</Code></Error>";
    assert!(failure(400, bomb).text.len() < 400);
    let huge = format!(
        "<Error><Code>X</Code><Message>{}</Message></Error>",
        "m".repeat(100_000)
    );
    assert!(failure(400, &huge).text.len() < 300);
}

#[test]
fn how_long_to_wait() {
    let asked = |given: &str, date: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", given.parse().unwrap());
        headers.insert("date", date.parse().unwrap());
        retry_after(&headers).map(|time| time.as_secs())
    };
    let date = "Fri, 24 May 2013 00:00:00 GMT";
    for (given, seconds) in [
        ("0", Some(0)),
        ("120", Some(120)),
        ("99999999999999999999", Some(u64::MAX)),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        // By the server's clock, whatever this machine's says.
        ("Fri, 24 May 2013 00:00:07 GMT", Some(7)),
        ("Thu, 23 May 2013 23:59:59 GMT", None),
    ] {
        assert_eq!(asked(given, date), seconds, "{given}");
    }
    assert_eq!(asked("Fri, 24 May 2013 00:00:07 GMT", "today"), None, "long past");
}
