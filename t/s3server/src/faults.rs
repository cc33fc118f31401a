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
//! A point that the request or its answer does not reach (a body of N bytes or fewer) is none.
//!
//! `HOW` to refuse a request signed for another region:
//!
//! - `moved`: 301 PermanentRedirect;
//! - `malformed` (the default): 400 AuthorizationHeaderMalformed, AWS's words;
//! - `garage`: the same in the words of Garage 2.5, which has no header for it;
//! - `redirect`: 307 TemporaryRedirect with `location` (the path is put behind it).
//!
//! `header`: `x-amz-bucket-region` is told (default true, not with `garage`). `xml`: `<Region>` and `<Endpoint>`
//! are told (default true). HEAD gets the status and the header without a body. A presigned link signed for
//! another region is, in AWS's words, `AuthorizationQueryParametersError`.
//!
//! A clock that is behind does not make a presigned link live longer: s3s looks at the real one, too.
//!
//! The log tells of each request in `fault` what was applied, joined by `+`, in the order in which it came
//! about: `answer`, `raw`, `ignore_condition`, `refuse_condition`, `drop_etag`, `delay`, `stall:POINT`,
//! `reset:POINT`, `close:POINT`, `rate`, `upload_rate`, `flip:body`, `flip:upload`, `keep`, `length`,
//! `headers`, `close_ms`, `reset_ms`, `region`, `clock`; null if nothing was.
//! A point that was not reached is not told, nor is a region or a clock that had nothing to refuse.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use s3s::Body;

use crate::address::Target;
use crate::answer;
use crate::region::Region;

pub mod fields;
mod parse;
mod rule;

use rule::Rule;

/// What is to happen to one request; the fields are explained above.
#[derive(Clone, Default)]
pub struct Fault {
    /// Nothing is done, this is the answer.
    pub answer: Option<Answer>,
    /// These bytes are the answer.
    pub raw: Option<Vec<u8>>,
    /// If-None-Match is not heeded.
    pub ignore_condition: bool,
    /// If-None-Match is 501.
    pub refuse_condition: bool,
    /// The answer lacks its ETag.
    pub drop_etag: bool,
    /// The answer comes so much later.
    pub delay: Duration,
    /// Where the connection breaks, at most one for each way.
    pub breaks: Vec<Break>,
    /// Bytes per second of the answer's body.
    pub rate: Option<u64>,
    /// Bytes per second of the request's body.
    pub upload_rate: Option<u64>,
    /// A byte to turn: in which body, and its place.
    pub flip: Option<(Point, u64)>,
    /// What is kept of an upload in place of all.
    pub keep: Option<Keep>,
    /// What is told of the body's length.
    pub length: Option<Length>,
    /// Further headers of the answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How the connection ends so long after a complete answer.
    pub after: Option<(How, Duration)>,
    /// The region that requests must be signed for.
    pub region: Option<Region>,
    /// Seconds that the server's clock is ahead.
    pub clock: Option<i64>,
}

/// The end of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// None: it stays open, and silent.
    Stall,
    /// RST.
    Reset,
    /// FIN.
    Close,
}

impl How {
    /// Its name in rules and log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stall => "stall",
            Self::Reset => "reset",
            Self::Close => "close",
        }
    }
}

/// A point in the course of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Within the request's body.
    Upload,
    /// The whole request has come.
    Received,
    /// It is carried out.
    Answered,
    /// Within the bytes of the answer.
    Head,
    /// Within the answer's body.
    Body,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Upload,
        Self::Received,
        Self::Answered,
        Self::Head,
        Self::Body,
    ];

    /// Its name in rules and log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Received => "received",
            Self::Answered => "answered",
            Self::Head => "head",
            Self::Body => "body",
        }
    }
}

/// Where and how a connection breaks.
#[derive(Clone, Copy)]
pub struct Break {
    /// How.
    pub how: How,
    /// Where.
    pub at: Point,
    /// After so many bytes there.
    pub after: u64,
}

impl Break {
    /// Its name in the log.
    pub fn name(self) -> String {
        format!("{}:{}", self.how.name(), self.at.name())
    }
}

/// What is kept of an upload that is reported as a success.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// So many bytes from its begin.
    Bytes(u64),
    /// All, but the byte at this place is turned.
    Flip(u64),
}

/// What is told of the answer's length.
#[derive(Clone, PartialEq, Eq)]
pub enum Length {
    /// The right number and so many more.
    Add(i64),
    /// This text.
    Say(String),
    /// Nothing: the body ends with the connection.
    Missing,
    /// Nothing: the body comes in chunks.
    Chunked,
}

/// An answer made up by a rule.
#[derive(Clone)]
pub struct Answer {
    status: StatusCode,
    code: Option<String>,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<String>,
    pad: usize,
}

impl Answer {
    /// The answer to send.
    pub fn response(&self) -> Response<Body> {
        let pad = " ".repeat(self.pad);
        let mut response = match (&self.body, &self.code) {
            (Some(body), _) => Response::new(Body::from(format!("{body}{pad}"))),
            (None, Some(code)) => answer::error(self.status, code, &format!("{}{pad}", self.message)),
            (None, None) => Response::new(Body::from(pad)),
        };
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers.iter().cloned());
        response
    }
}

impl Fault {
    /// Where the connection breaks at such a point: how, and after how many bytes.
    pub fn break_at(&self, point: Point) -> Option<Break> {
        self.breaks.iter().copied().find(|found| found.at == point)
    }

    /// The place of the byte to turn in this body.
    pub fn flip_in(&self, point: Point) -> Option<u64> {
        self.flip.and_then(|(at, offset)| (at == point).then_some(offset))
    }
}

/// A rule's text and its place among equal ones, so that counts outlive a file that is replaced.
type Name = (String, usize);

/// The file of rules, and how often each has fitted.
pub struct Faults {
    path: Option<PathBuf>,
    state: Mutex<State>,
    hasher: RandomState,
}

#[derive(Default)]
struct State {
    counts: HashMap<Name, u64>,
    requests: u64,
}

impl Faults {
    /// Without a file there are no faults.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            state: Mutex::default(),
            hasher: RandomState::new(),
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
        let mut state = self.state.lock().expect("counts");
        state.requests += 1;
        let before = std::mem::take(&mut state.counts);
        let mut rules: Vec<(Rule, Name)> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let place = rules.iter().filter(|(_, (known, _))| known == line).count();
            let name = (line.to_owned(), place);
            let rule = Rule::parse(line).map_err(|error| format!("{error}: {line}"))?;
            let count = before.get(&name).copied().unwrap_or(0);
            state.counts.insert(name.clone(), count);
            rules.push((rule, name));
        }
        let mut standing = Fault::default();
        for (rule, name) in rules {
            if !rule.fits(target) {
                continue;
            }
            let rule_hash = self.hasher.hash_one(&name);
            let count = state.counts.entry(name).or_default();
            *count += 1;
            let (count, request) = (*count, state.requests);
            let lot = || self.hasher.hash_one((request, count, rule_hash)) as f64 / u64::MAX as f64;
            if !rule.fires(count, lot) {
                continue;
            }
            let region = rule.fault.region.clone().or_else(|| standing.region.take());
            let clock = rule.fault.clock.or(standing.clock);
            if rule.is_standing {
                // The first one said holds.
                standing.region = standing.region.take().or(region);
                standing.clock = standing.clock.or(clock);
            } else {
                let fault = rule.fault;
                return Ok(Fault {
                    region,
                    clock,
                    ..fault
                });
            }
        }
        Ok(standing)
    }
}
