//! Faults on request: rules in a file that tests replace while the server runs. A rule is a JSON line:
//!
//! ```json
//! {"operation":"PutObject","bucket":"b","key":"prefix*","nth":[1,2],"do":{"answer":{"status":503}}}
//! ```
//!
//! Without `operation`, `bucket` or `key` it fits every one. Of the requests that it fits, counted from 1, it
//! fires for those in `nth` (`[1,3]`; `[2,"..."]` is from the second on) or from the `from`-th on, else for
//! all, and of these with the probability `chance` (0 to 1) if that is given. The first rule that fires
//! decides; those behind it don't see the request. A rule with nothing but `region` and `clock_s` in its `do`
//! is a state of the server: it applies, and the rules behind it are looked at all the same.
//!
//! What `do` can say; several fields go together where that makes sense:
//!
//! | field | what happens |
//! |---|---|
//! | `{"answer":{"status":409,"code":"…","message":"…","headers":{…},"body":"…","pad":N}}` | nothing is done, this is the answer. With a `code` and no `body` it is S3's XML, else the body as it stands. `pad`: so many bytes of blanks are put into the message, or behind the body |
//! | `{"raw":"HTTP/1.1 200 OK\r\n…"}` | these bytes are the answer, then the connection is closed |
//! | `{"ignore_condition":true}` | If-None-Match is not heeded, as in Garage 2.5 |
//! | `{"refuse_condition":true}` | 501 where there is an If-None-Match, as B2 and StorageGRID |
//! | `{"drop_etag":true}` | the answer lacks its ETag |
//! | `{"delay_ms":500}` | the answer comes so much later |
//! | `{"stall":{"at":POINT,"after":N}}` | nothing is read or sent from there on; the connection stays open until the client closes it |
//! | `{"reset":{"at":POINT,"after":N}}` | the connection is reset (RST) there |
//! | `{"close":{"at":POINT,"after":N}}` | the connection is closed (FIN, no TLS close_notify) there; with `body` this is a truncated answer |
//! | `{"rate":N}` | the answer's body goes out at N bytes per second |
//! | `{"upload_rate":N}` | the request's body is read at N bytes per second |
//! | `{"flip":{"at":"body","offset":N}}` | the byte at N of the answer's body has all its bits turned |
//! | `{"flip":{"at":"upload","offset":N}}` | likewise the byte at N of the request's body, before the server hashes it |
//! | `{"keep":"nothing"}` | PUT: success is answered and nothing is kept; an older object stays |
//! | `{"keep":{"bytes":N}}`, `{"keep":{"flip":N}}` | PUT: success, and only the first N bytes are kept, or all with the byte at N turned |
//! | `{"length":{"add":N}}` | Content-Length is wrong by N (negative: too small); the body is right, the connection stays open |
//! | `{"length":{"say":"abc"}}` | Content-Length is this text |
//! | `{"length":"missing"}` | no Content-Length: the body ends where the connection does |
//! | `{"length":"chunked"}` | chunks in place of Content-Length |
//! | `{"headers":{"name":"value"}}` | the answer has these headers (UTF-8) beside or in place of its own |
//! | `{"latin1_headers":{"name":"value"}}` | the same in ISO 8859-1 |
//! | `{"header_bytes":N}` | the answer has a header `x-amz-meta-long` with a value of N bytes |
//! | `{"close_ms":N}`, `{"reset_ms":N}` | so long after the complete answer the connection is closed (FIN) or reset, without having been announced |
//! | `{"region":{"name":"eu-central-1","refuse":HOW,"header":true,"xml":true,"location":"http://…"}}` | requests signed for another region are refused; see below |
//! | `{"clock_s":1200}` | the server's clock is so many seconds ahead (negative: behind): Date, and the check of the request's date |
//!
//! `POINT` is one of
//!
//! - `upload`: after N bytes of the request's body were read (0, the default: none is read). Nothing is done;
//! - `received`: the whole request has come. Nothing is done;
//! - `answered`: the request is carried out, no byte of the answer goes out;
//! - `head`: after N bytes (default 0) of the answer, counted from its first line;
//! - `body`: after N bytes (default 0) of the answer's body. Content-Length tells the whole.
//!
//! A point that the request or its answer does not reach (a body shorter than N) is none.
//!
//! `HOW` to refuse a request signed for another region:
//!
//! - `moved`: 301 PermanentRedirect;
//! - `malformed` (the default): 400 AuthorizationHeaderMalformed, AWS's words;
//! - `garage`: the same in the words of Garage 2.5, which has no header for it;
//! - `redirect`: 307 TemporaryRedirect with `location` (the path is put behind it).
//!
//! `header`: `x-amz-bucket-region` is told (default true, not with `garage`). `xml`: `<Region>` and `<Endpoint>`
//! are told (default true). HEAD gets the status and the header without a body.
//!
//! The log tells of each request in `fault` what was applied, joined by `+`, in the order in which it came
//! about: `answer`, `raw`, `ignore_condition`, `refuse_condition`, `drop_etag`, `delay`, `stall:POINT`,
//! `reset:POINT`, `close:POINT`, `rate`, `upload_rate`, `flip:body`, `flip:upload`, `keep`, `length`,
//! `headers`, `close_ms`, `reset_ms`, `region`, `clock`; null if nothing was.
//! A point that was not reached is not told, nor is a region or a clock that had nothing to refuse.

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
