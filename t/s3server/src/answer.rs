//! Answers that don't come from s3s.

use hyper::{Response, StatusCode, header};
use s3s::{Body, S3Error, S3ErrorCode};

/// The longest error body in which a code is looked for, in bytes.
const ERROR_BODY: usize = 64 * 1024;

/// An S3 error with a status of its own choice.
pub fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    error_with(status, code, message, &[])
}

/// The same, with further elements: names and texts.
pub fn error_with(
    status: StatusCode,
    code: &str,
    message: &str,
    elements: &[(&str, &str)],
) -> Response<Body> {
    let elements: String = [("Code", code), ("Message", message)]
        .iter()
        .chain(elements)
        .map(|(name, text)| format!("<{name}>{}</{name}>", escape(text)))
        .collect();
    xml(
        status,
        &format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>{elements}</Error>"),
    )
}

/// An answer with XML.
pub fn xml(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/xml"),
    );
    response
}

/// An error of s3s as an answer.
pub fn s3_error(error: S3Error) -> Response<Body> {
    error.to_http_response().unwrap_or_else(|_| {
        self::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            S3ErrorCode::InternalError.as_str(),
            "",
        )
    })
}

/// The answer to somebody who has this object already: what describes it, without the object.
pub fn not_modified(mut response: Response<Body>) -> Response<Body> {
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.body_mut() = Body::empty();
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::CONTENT_DISPOSITION,
    ] {
        response.headers_mut().remove(name);
    }
    response
}

/// Reads the code from an error's body, and puts the body back.
pub async fn code(response: &mut Response<Body>) -> Option<String> {
    if response.status().as_u16() < 300 {
        return None;
    }
    let body = response.body_mut().store_all_limited(ERROR_BODY).await.ok()?;
    let text = String::from_utf8_lossy(&body);
    let (_, rest) = text.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code.to_owned())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
