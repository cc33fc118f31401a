//! Presigned links, and what a request may say about its answer. The signature s3s checks; what AWS looks at before
//! stands here (AWS, "Authenticating Requests: Using Query Parameters").

use hyper::http::request::Parts;
use hyper::{HeaderMap, Response, StatusCode, header};
use s3s::{Body, S3Result, s3_error};

use crate::address::{Query, Target};
use crate::answer;

/// A presigned link lives a week at most.
const LINK_LIFE: std::ops::RangeInclusive<i64> = 1..=604_800;

const PARAMETERS: [&str; 6] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-Date",
    "X-Amz-SignedHeaders",
    "X-Amz-Expires",
];

/// The refusal of a link that is not well formed.
pub fn refuse(head: &Parts) -> Option<Response<Body>> {
    let query = Query::parse(head.uri.query());
    if !query.has_prefix("X-Amz-") {
        return None;
    }
    if head.headers.contains_key(header::AUTHORIZATION) {
        return Some(answer::error(
            StatusCode::BAD_REQUEST,
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter \
             or the Authorization header should be specified",
        ));
    }
    let message = mistake(&query)?;
    Some(answer::error(
        StatusCode::BAD_REQUEST,
        "AuthorizationQueryParametersError",
        &message,
    ))
}

fn mistake(query: &Query) -> Option<String> {
    if PARAMETERS.iter().any(|name| query.count(name) != 1) {
        let message = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                       X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.";
        return Some(message.into());
    }
    let of = |name| query.get(name).unwrap_or_default();
    if of("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" {
        return Some("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256\"".into());
    }
    let date = of("X-Amz-Date");
    if !is_date(date) {
        return Some("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"".into());
    }
    credential_mistake(of("X-Amz-Credential"), date).or_else(|| life_mistake(of("X-Amz-Expires")))
}

fn is_date(text: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        text.get(range)
            .is_some_and(|part| part.bytes().all(|b| b.is_ascii_digit()))
    };
    text.len() == 16 && digits(0..8) && digits(9..15) && text.get(8..9) == Some("T") && text.ends_with('Z')
}

fn credential_mistake(credential: &str, date: &str) -> Option<String> {
    let what = "Error parsing the X-Amz-Credential parameter";
    let parts: Vec<&str> = credential.split('/').collect();
    let [_, day, _, service, end] = parts.as_slice() else {
        return Some(format!(
            "{what}; the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"."
        ));
    };
    if !date.starts_with(day) || day.len() != 8 {
        return Some(format!(
            "{what}; incorrect date \"{day}\". This date must be that of X-Amz-Date."
        ));
    }
    if *service != "s3" {
        return Some(format!(
            "{what}; incorrect service \"{service}\". This endpoint belongs to \"s3\"."
        ));
    }
    (*end != "aws4_request")
        .then(|| format!("{what}; incorrect terminal \"{end}\". This endpoint uses \"aws4_request\"."))
}

fn life_mistake(expires: &str) -> Option<String> {
    let message = match expires.parse::<i64>() {
        Ok(seconds) if LINK_LIFE.contains(&seconds) => return None,
        Ok(seconds) if seconds > *LINK_LIFE.end() => {
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
             604800 seconds"
        }
        Ok(seconds) if seconds < 0 => "X-Amz-Expires must be non-negative",
        _ => "X-Amz-Expires should be a number",
    };
    Some(message.into())
}

/// What a signed request says about the headers of its answer; an error is the refusal.
pub fn overrides(head: &Parts, target: &Target) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if !matches!(target.operation, Some("GetObject" | "HeadObject")) {
        return Ok(headers);
    }
    let query = Query::parse(head.uri.query());
    for name in [
        header::CACHE_CONTROL,
        header::CONTENT_DISPOSITION,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_TYPE,
        header::EXPIRES,
    ] {
        let Some(text) = query.get(&format!("response-{name}")) else {
            continue;
        };
        let latin1: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
        let value = latin1.and_then(|bytes| header::HeaderValue::from_bytes(&bytes).ok());
        let value = value.ok_or_else(|| {
            s3_error!(
                InvalidArgument,
                "Header value cannot be represented using ISO-8859-1."
            )
        })?;
        headers.insert(name, value);
    }
    Ok(headers)
}
