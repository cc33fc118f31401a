//! Faults on request: rules in a file that tests replace while the server runs. A rule is a JSON line:
//!
//! ```json
//! {"operation":"PutObject","bucket":"b","key":"prefix*","nth":[1,2],"do":{"answer":{"status":503}}}
//! ```
//!
//! Without `operation`, `bucket` or `key` it fits every one. `nth` are numbers of requests that it fitted,
//! the first one being 1. The first rule that fires decides; those behind it don't see the request. What
//! `do` can say are the fields of [`Fault`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use s3s::Body;
use serde_json::{Map, Value};

use crate::address::Target;
use crate::answer;

/// What is to happen to one request.
#[derive(Clone, Default)]
pub struct Fault {
    /// `{"answer":{"status":409,"code":"…","message":"…","headers":{…},"body":"…"}}`: nothing is done, this
    /// is the answer. With a `code` and no `body` it is S3's XML, else the body as it stands.
    pub answer: Option<Answer>,
    /// `{"raw":"HTTP/1.1 200 OK\r\n…"}`: these bytes are the answer, then the connection is closed.
    pub raw: Option<Vec<u8>>,
    /// `{"ignore_condition":true}`: If-None-Match is not heeded, as in Garage 2.5.
    pub ignore_condition: bool,
    /// `{"refuse_condition":true}`: 501 where there is an If-None-Match, as B2 and StorageGRID.
    pub refuse_condition: bool,
    /// `{"drop_etag":true}`: the answer lacks its ETag.
    pub drop_etag: bool,
    /// `{"delay_ms":500}`: the answer comes so much later.
    pub delay: Duration,
}

/// An answer made up by a rule.
#[derive(Clone)]
pub struct Answer {
    status: StatusCode,
    code: Option<String>,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<String>,
}

impl Answer {
    /// The answer to send.
    pub fn response(&self) -> Response<Body> {
        let mut response = match (&self.body, &self.code) {
            (Some(body), _) => Response::new(Body::from(body.clone())),
            (None, Some(code)) => answer::error(self.status, code, &self.message),
            (None, None) => Response::new(Body::empty()),
        };
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers.iter().cloned());
        response
    }
}

/// The file of rules, and how often each has fitted.
pub struct Faults {
    path: Option<PathBuf>,
    /// By the rule's text and its place among equal ones, so that counts outlive a file that is replaced.
    counts: Mutex<HashMap<(String, usize), u64>>,
}

impl Faults {
    /// Without a file there are no faults.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            counts: Mutex::default(),
        }
    }

    /// What is to happen to this request. An error is a line about the rule that can't be understood.
    pub fn of(&self, target: &Target) -> Result<Fault, String> {
        let Some(path) = &self.path else {
            return Ok(Fault::default());
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let mut counts = self.counts.lock().expect("counts");
        let before = std::mem::take(&mut *counts);
        let mut rules: Vec<(Rule, (String, usize))> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let place = rules.iter().filter(|(_, (known, _))| known == line).count();
            let name = (line.to_owned(), place);
            let rule = Rule::parse(line).map_err(|error| format!("{error}: {line}"))?;
            counts.insert(name.clone(), before.get(&name).copied().unwrap_or(0));
            rules.push((rule, name));
        }
        for (rule, name) in rules {
            if rule.fits(target) {
                let count = counts.entry(name).or_default();
                *count += 1;
                if rule.nth.as_ref().is_none_or(|nth| nth.contains(count)) {
                    return Ok(rule.fault);
                }
            }
        }
        Ok(Fault::default())
    }
}

struct Rule {
    operation: Option<String>,
    bucket: Option<String>,
    key: Option<String>,
    nth: Option<Vec<u64>>,
    fault: Fault,
}

impl Rule {
    fn fits(&self, target: &Target) -> bool {
        self.operation
            .as_deref()
            .is_none_or(|name| target.operation == Some(name))
            && self
                .bucket
                .as_deref()
                .is_none_or(|name| target.bucket.as_deref() == Some(name))
            && self.key.as_deref().is_none_or(|pattern| {
                let key = target.key.as_deref().unwrap_or_default();
                pattern
                    .strip_suffix('*')
                    .map_or(key == pattern, |prefix| key.starts_with(prefix))
            })
    }

    fn parse(line: &str) -> Result<Self, String> {
        let mut fields = Fields::of(serde_json::from_str(line).map_err(|error| error.to_string())?)?;
        let nth = fields.take("nth", |value| {
            value.as_array()?.iter().map(Value::as_u64).collect()
        })?;
        let rule = Self {
            operation: fields.string("operation")?,
            bucket: fields.string("bucket")?,
            key: fields.string("key")?,
            nth,
            fault: Fault::parse(
                fields
                    .take("do", |value| Some(value.clone()))?
                    .unwrap_or_default(),
            )?,
        };
        // A mark that makes a rule different from an equal one before, so that it counts anew.
        fields.take("set", |value| Some(value.clone()))?;
        fields.end().map(|()| rule)
    }
}

impl Fault {
    fn parse(value: Value) -> Result<Self, String> {
        let mut fields = Fields::of(value)?;
        let answer = fields
            .take("answer", |value| Some(value.clone()))?
            .map(Answer::parse)
            .transpose()?;
        let fault = Self {
            answer,
            raw: fields.string("raw")?.map(String::into_bytes),
            ignore_condition: fields.take("ignore_condition", Value::as_bool)?.unwrap_or(false),
            refuse_condition: fields.take("refuse_condition", Value::as_bool)?.unwrap_or(false),
            drop_etag: fields.take("drop_etag", Value::as_bool)?.unwrap_or(false),
            delay: Duration::from_millis(fields.take("delay_ms", Value::as_u64)?.unwrap_or(0)),
        };
        fields.end().map(|()| fault)
    }
}

impl Answer {
    fn parse(value: Value) -> Result<Self, String> {
        let mut fields = Fields::of(value)?;
        let status = fields.take("status", |value| {
            StatusCode::from_u16(value.as_u64()?.try_into().ok()?).ok()
        })?;
        let headers = fields.take("headers", |value| {
            let header = |(name, value): (&String, &Value)| {
                Some((
                    name.parse::<HeaderName>().ok()?,
                    HeaderValue::from_bytes(value.as_str()?.as_bytes()).ok()?,
                ))
            };
            value.as_object()?.iter().map(header).collect::<Option<Vec<_>>>()
        })?;
        let answer = Self {
            status: status.ok_or("status is missing")?,
            code: fields.string("code")?,
            message: fields
                .string("message")?
                .unwrap_or_else(|| "made up by a rule".into()),
            headers: headers.unwrap_or_default(),
            body: fields.string("body")?,
        };
        fields.end().map(|()| answer)
    }
}

/// A JSON object that is taken apart; what is left over was misspelt.
struct Fields(Map<String, Value>);

impl Fields {
    fn of(value: Value) -> Result<Self, String> {
        match value {
            Value::Object(map) => Ok(Self(map)),
            other => Err(format!("an object is wanted, not {other}")),
        }
    }

    fn take<T>(&mut self, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<Option<T>, String> {
        match self.0.remove(name) {
            Some(value) => read(&value)
                .map(Some)
                .ok_or_else(|| format!("{name} can't be {value}")),
            None => Ok(None),
        }
    }

    fn string(&mut self, name: &str) -> Result<Option<String>, String> {
        self.take(name, |value| value.as_str().map(str::to_owned))
    }

    fn end(self) -> Result<(), String> {
        self.0
            .keys()
            .next()
            .map_or(Ok(()), |name| Err(format!("unknown field {name}")))
    }
}
