//! Whose signature a request has.

use hyper::header;
use hyper::http::request::Parts;

use crate::address::Query;

/// What stands behind `Credential=`, or in `X-Amz-Credential`.
pub struct Credential {
    /// The access key's id.
    pub access_key: String,
    /// `DATE/REGION/s3/aws4_request`.
    pub scope: String,
}

impl Credential {
    /// That of a request, if it is signed.
    pub fn of(head: &Parts, query: &Query) -> Option<Self> {
        let authorization = head.headers.get(header::AUTHORIZATION);
        let text = match authorization.and_then(|value| value.to_str().ok()) {
            Some(text) => text.split("Credential=").nth(1)?.split(',').next()?.trim(),
            None => query.get("X-Amz-Credential")?,
        };
        let (access_key, scope) = text.split_once('/')?;
        Some(Self {
            access_key: access_key.to_owned(),
            scope: scope.to_owned(),
        })
    }

    /// The region of the scope.
    pub fn region(&self) -> &str {
        self.scope.split('/').nth(1).unwrap_or_default()
    }
}
