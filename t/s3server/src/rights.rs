//! Who has which key, and which buckets anyone may read: what the command line says, and a file that tests and
//! the mock of STS write while the server runs, read anew for each request. A line of it is JSON, the last one about
//! a key or a bucket holds:
//!
//! | line | |
//! |---|---|
//! | `{"key":"ID","secret":"…","token":"…","expires":1700000000}` | a key; with `token` a temporary one; `expires` in seconds since 1970 |
//! | `{"drop_key":"ID"}` | no such key |
//! | `{"bucket":"b","public":true}` | whether anyone may read the bucket's objects |

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use s3s::Body;

use crate::address::Query;
use crate::answer;
use crate::args::Args;
use crate::credential::Credential;
use crate::faults::fields::Fields;

/// A key.
#[derive(Clone, Default)]
pub struct Key {
    /// What its requests are signed with.
    pub secret: String,
    token: Option<String>,
    /// Seconds since 1970.
    expires: Option<u64>,
}

/// Keys and public buckets.
#[derive(Clone, Default)]
pub struct Rights {
    keys: HashMap<String, Key>,
    public: HashSet<String>,
    file: Option<PathBuf>,
}

impl Rights {
    /// What the command line says.
    pub fn of(args: &Args) -> Self {
        let key = |(id, secret): (&String, &String)| {
            let key = Key {
                secret: secret.clone(),
                token: args.tokens.get(id).cloned(),
                expires: None,
            };
            (id.clone(), key)
        };
        Self {
            keys: args.keys.iter().map(key).collect(),
            public: args.public.clone(),
            file: args.rights.clone(),
        }
    }

    /// What holds now. An error is a line about the file.
    pub fn now(&self) -> Result<Self, String> {
        let mut now = self.clone();
        let Some(file) = &self.file else {
            return Ok(now);
        };
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("{}: {error}", file.display())),
        };
        for line in text.lines() {
            now.take(line).map_err(|error| format!("{error}: {line}"))?;
        }
        Ok(now)
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        let mut fields = Fields::of(serde_json::from_str(line).map_err(|error| error.to_string())?)?;
        if let Some(id) = fields.string("drop_key")? {
            self.keys.remove(&id);
        } else if let Some(bucket) = fields.string("bucket")? {
            if fields.flag("public", false)? {
                self.public.insert(bucket);
            } else {
                self.public.remove(&bucket);
            }
        } else {
            let id = fields.string("key")?.ok_or("neither key nor bucket")?;
            let key = Key {
                secret: fields.string("secret")?.ok_or("secret is missing")?,
                token: fields.string("token")?,
                expires: fields.number("expires")?,
            };
            self.keys.insert(id, key);
        }
        fields.end()
    }

    /// A key by its id.
    pub fn key(&self, id: &str) -> Option<&Key> {
        self.keys.get(id)
    }

    /// Whether anyone may read the bucket's objects.
    pub fn is_public(&self, bucket: &str) -> bool {
        self.public.contains(bucket)
    }

    /// The refusal of a request whose session token does not belong to its key, or is too old. What becomes of a key
    /// that is not there, or of a wrong signature, s3s says.
    pub fn refuse(&self, head: &Parts) -> Option<Response<Body>> {
        let query = Query::parse(head.uri.query());
        let id = Credential::of(head, &query)?.access_key;
        let key = self.keys.get(&id)?;
        let header = head.headers.get("x-amz-security-token");
        let header = header.and_then(|value| value.to_str().ok());
        let sent = header.or_else(|| query.get("X-Amz-Security-Token"));
        match (&key.token, sent) {
            // A temporary key alone is none, for AWS.
            (Some(_), None) => Some(answer::error_with(
                StatusCode::FORBIDDEN,
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
                &[("AWSAccessKeyId", &id)],
            )),
            (Some(token), Some(sent)) if token == sent => {
                let expired = key.expires.is_some_and(|expires| expires <= seconds_now());
                expired.then(|| token_error("ExpiredToken", "The provided token has expired.", sent))
            }
            (None, None) => None,
            (_, Some(sent)) => Some(token_error(
                "InvalidToken",
                "The provided token is malformed or otherwise invalid.",
                sent,
            )),
        }
    }
}

/// AWS repeats the token.
fn token_error(code: &str, message: &str, token: &str) -> Response<Body> {
    answer::error_with(StatusCode::BAD_REQUEST, code, message, &[("Token-0", token)])
}

fn seconds_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
