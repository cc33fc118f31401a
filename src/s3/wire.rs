//! One HTTP exchange: the request that rusoto built goes out signed, to the right address, with the
//! headers that rusoto's model lacks; what comes back is checked before rusoto sees it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::http::header::{HeaderName, HeaderValue, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use hyper::http::HeaderMap;
use hyper::{Body, Request, Response};
use rusoto_core::request::{DispatchSignedRequestFuture, HttpDispatchError, HttpResponse};
use rusoto_core::signature::{SignedRequest, SignedRequestPayload};
use rusoto_core::{ByteStream, DispatchSignedRequest};

use super::answer::{checked, failure, has_document, header, is_no_object, AnswerBody};
use super::connection::Connections;
use super::credentials::Found;
use super::learned::corrected;
use super::listing::Listing;
use super::outcome::{date, Failure, Retry};
use super::progress::Stage;
use super::session::Expected;
use super::sign::{authorization, timestamp, Scope, Signable};
use crate::config::{Address, Config, Endpoint, Mask};
use crate::error::{one_line, Code};
use crate::key::Key;

const USER_AGENT: &str = concat!("rts3/", env!("CARGO_PKG_VERSION"));
/// Bytes of an answer that is no object: error documents and such.
const LARGEST_DOCUMENT: u64 = 256 * 1024;
/// Bytes of a listing: 1,000 objects, with names of 1,024 bytes, encoded.
const LARGEST_LISTING: u64 = 8 * 1024 * 1024;
const EMPTY_LISTING: &[u8] = b"<ListBucketResult/>";
/// Headers of an answer that rusoto may see. It unwraps what it parses of the others.
const KNOWN_HEADERS: [&str; 6] = [
    "content-length",
    "content-range",
    "etag",
    "content-type",
    "last-modified",
    "x-amz-server-side-encryption",
];
/// Headers that the signature covers, beside `x-amz-*`.
const SIGNED_HEADERS: [&str; 6] = [
    "host",
    "content-type",
    "content-disposition",
    "if-match",
    "if-none-match",
    "range",
];

/// What one exchange needs beside rusoto's request, and what it learns beside rusoto's answer.
pub(super) struct Exchange {
    pub(super) config: Arc<Config>,
    pub(super) endpoint: Endpoint,
    pub(super) connections: Arc<Connections>,
    /// What signs.
    pub(super) found: Arc<Found>,
    /// SHA-256 of a body that is streamed.
    pub(super) payload: Option<Key>,
    /// Headers that rusoto's model lacks.
    pub(super) headers: Vec<(&'static str, String)>,
    /// Whether to use a new connection.
    pub(super) fresh: bool,
    pub(super) connect_limit: Duration,
    /// What a success says.
    pub(super) expected: Expected,
    /// The query, instead of rusoto's.
    pub(super) query: Option<&'static str>,
    /// Added to this machine's clock, in seconds.
    pub(super) clock_offset: i64,
    pub(super) answered: Mutex<Answered>,
}

/// What an exchange learns beside rusoto's answer.
#[derive(Default)]
pub(super) struct Answered {
    pub(super) failure: Option<Failure>,
    /// `x-amz-checksum-sha256`, of the whole object, in base64.
    pub(super) checksum: Option<String>,
    /// Whether the answer tells where its body ends: else that is where the connection does.
    pub(super) has_end: bool,
    pub(super) listing: Option<Listing>,
    pub(super) document: Option<String>,
    /// By how many seconds the server's clock is ahead of this machine's.
    pub(super) server_ahead: Option<i64>,
    /// The signature that was sent.
    signature: String,
}

impl Exchange {
    pub(super) fn answered(&self) -> MutexGuard<'_, Answered> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>, request: SignedRequest) -> Result<HttpResponse, Failure> {
        let is_part = request.headers.contains_key("range");
        let is_write = matches!(request.method.as_str(), "PUT" | "DELETE");
        let is_read =
            request.method == "POST" || matches!(self.expected, Expected::Listing | Expected::Document);
        let (request, address) = self.prepare(request)?;
        let mut live = self
            .connections
            .take(&address, self.fresh, self.connect_limit)
            .await?;
        let answer = live
            .send(request)
            .await
            .map_err(|error| broken(&error, live.reused))?;
        // An upgrade that nobody asked for: hyper gives the connection up.
        if answer.status().is_informational() {
            return Err(Failure::not_s3s("it answers with status 101"));
        }
        let (head, body) = answer.into_parts();
        self.connections.progress.enter(Stage::Answered);
        self.answered().server_ahead = server_ahead(&head.headers);
        let most = match self.expected {
            Expected::Object if head.status.is_success() => u64::MAX,
            Expected::Listing => LARGEST_LISTING,
            _ => LARGEST_DOCUMENT,
        };
        let body = AnswerBody::new(body, most, (live, address.authority), &self.connections);
        let answer = Response::from_parts(head, body);
        let status = answer.status();
        if let Some(text) = is_no_object(&answer, self.expected, is_part) {
            Err(Failure {
                status: Some(status.as_u16()),
                ..Failure::new(Code::Server, Retry::Backoff, text)
            })
        } else if status.is_success() && (is_read || (is_write && has_document(&answer))) {
            let (head, document) = checked(answer, &self.mask()).await?;
            let document = self.take(document)?;
            self.success(Response::from_parts(head, ByteStream::from(document)))
        } else if status.is_success() {
            self.success(answer.map(ByteStream::new))
        } else {
            Err(failure(answer, &self.mask()).await)
        }
    }

    /// Takes what is not left to rusoto, which unwraps the numbers in it; the rest is.
    fn take(&self, document: Vec<u8>) -> Result<Vec<u8>, Failure> {
        match self.expected {
            Expected::Listing => {
                let listing = Listing::parse(&document)
                    .ok_or_else(|| Failure::not_s3s("an answer that is no listing"))?;
                self.answered().listing = Some(listing);
                Ok(EMPTY_LISTING.to_vec())
            }
            Expected::Document => {
                self.answered().document = Some(String::from_utf8_lossy(&document).into_owned());
                Ok(Vec::new())
            }
            _ => Ok(document),
        }
    }

    /// The request as it goes out, and where to.
    fn prepare(&self, mut request: SignedRequest) -> Result<(Request<Body>, Address), Failure> {
        let keys = &self.found.keys;
        let address = self.address(&request.path);
        if let Some(query) = self.query {
            query.clone_into(&mut request.canonical_query_string);
        }
        let (payload, body, length) = self.body(&mut request);
        let mut headers: Vec<(String, String)> = vec![
            ("host".to_owned(), address.authority.clone()),
            ("x-amz-date".to_owned(), timestamp(corrected(self.clock_offset))),
            ("x-amz-content-sha256".to_owned(), payload.clone()),
        ];
        if let Some(token) = &keys.session_token {
            headers.push(("x-amz-security-token".to_owned(), token.reveal().to_owned()));
        }
        for (name, values) in &request.headers {
            let skipped = matches!(name.as_str(), "host" | "content-length")
                || (length.is_none() && name == "content-type");
            for value in values.iter().filter(|_| !skipped) {
                headers.push((
                    name.to_ascii_lowercase(),
                    String::from_utf8_lossy(value).into_owned(),
                ));
            }
        }
        headers.extend(
            self.headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string())),
        );
        let signed = headers
            .iter()
            .filter(|(name, _)| name.starts_with("x-amz-") || SIGNED_HEADERS.contains(&name.as_str()))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let timestamp = headers[1].1.clone();
        let signable = Signable {
            method: &request.method,
            path: &address.path,
            query: &request.canonical_query_string,
            headers: signed,
            payload: &payload,
        };
        let scope = Scope {
            region: self.endpoint.region(),
            service: "s3",
            timestamp: &timestamp,
        };
        let authorization = authorization(keys, scope, signable);
        if let Some((_, signature)) = authorization.rsplit_once('=') {
            signature.clone_into(&mut self.answered().signature);
        }
        headers.push(("authorization".to_owned(), authorization));
        headers.push(("user-agent".to_owned(), USER_AGENT.to_owned()));

        // A proxy is asked for the whole URL, where it does not just open a tunnel.
        let proxy = self.config.proxy.as_ref().filter(|_| !address.https);
        let mut target = match proxy {
            Some(_) => address.url(),
            None => address.path.clone(),
        };
        if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization.as_ref()) {
            headers.push((
                "proxy-authorization".to_owned(),
                authorization.reveal().to_owned(),
            ));
        }
        if !request.canonical_query_string.is_empty() {
            target = format!("{target}?{}", request.canonical_query_string);
        }
        let mut out = Request::builder().method(request.method.as_str()).uri(target);
        if let Some(length) = length {
            out = out.header(CONTENT_LENGTH, length);
        }
        for (name, value) in &headers {
            out = out.header(name.as_str(), value.as_str());
        }
        let out = out.body(body).map_err(|error| {
            Failure::new(
                Code::Internal,
                Retry::Never,
                format!("a request that HTTP does not allow: {error}"),
            )
        })?;
        Ok((out, address))
    }

    /// What must not be shown of an answer: secrets, and the signature, should the server repeat them.
    fn mask(&self) -> Mask {
        let mask = self.config.mask.and(&self.answered().signature);
        mask.with(&self.found.keys.mask()).with(&self.found.earlier)
    }

    /// rusoto writes every path as `/bucket/key`, not encoded.
    fn address(&self, path: &str) -> Address {
        let bucket = &self.config.bucket;
        let object = path
            .strip_prefix('/')
            .and_then(|path| path.strip_prefix(bucket.as_str()))
            .and_then(|path| path.strip_prefix('/'))
            .unwrap_or_default();
        self.endpoint.address(bucket, object)
    }

    /// The payload's hash, the body, and its length where one is to be told.
    fn body(&self, request: &mut SignedRequest) -> (String, Body, Option<u64>) {
        let told = request
            .headers
            .get("content-length")
            .and_then(|values| values.first())
            .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        match request.payload.take() {
            None if request.method == "PUT" || request.method == "POST" => {
                (Key::of(b"").hex(), Body::empty(), Some(0))
            }
            None => (Key::of(b"").hex(), Body::empty(), None),
            Some(SignedRequestPayload::Buffer(bytes)) => {
                let length = bytes.len() as u64;
                (Key::of(&bytes).hex(), Body::from(bytes), Some(length))
            }
            Some(SignedRequestPayload::Stream(stream)) => {
                let payload = self
                    .payload
                    .map_or_else(|| "UNSIGNED-PAYLOAD".to_owned(), |key| key.hex());
                (payload, Body::wrap_stream(stream), told)
            }
        }
    }

    fn success(&self, answer: Response<ByteStream>) -> Result<HttpResponse, Failure> {
        let (head, body) = answer.into_parts();
        let mut headers = HeaderMap::<String>::default();
        let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
        let first = lengths.next();
        // hyper looks at this where there is a body.
        if let Some(other) = lengths.find(|other| Some(*other) != first) {
            return Err(nonsense(
                head.status.as_u16(),
                "content-length",
                other,
                &self.mask(),
            ));
        }
        for name in KNOWN_HEADERS {
            if let Some(value) = head.headers.get(name) {
                let text = value
                    .to_str()
                    .ok()
                    .filter(|text| name != "content-length" || text.parse::<i64>().is_ok_and(|n| n >= 0));
                match text {
                    Some(text) => headers.insert(HeaderName::from_static(name), text.to_owned()),
                    // Without it, whoever needs it says so.
                    None if !name.starts_with("content-") => None,
                    None => return Err(nonsense(head.status.as_u16(), name, value, &self.mask())),
                };
            }
        }
        let has_end = [CONTENT_LENGTH, TRANSFER_ENCODING]
            .iter()
            .any(|name| head.headers.contains_key(name));
        let mut answered = self.answered();
        answered.has_end = has_end;
        answered.checksum = full_checksum(&head.headers);
        drop(answered);
        Ok(HttpResponse {
            status: head.status,
            body,
            headers,
        })
    }
}

/// The exchange as rusoto's dispatcher.
pub(super) struct Wire(pub(super) Arc<Exchange>);

impl DispatchSignedRequest for Wire {
    fn dispatch(&self, request: SignedRequest, _timeout: Option<Duration>) -> DispatchSignedRequestFuture {
        let exchange = Arc::clone(&self.0);
        Box::pin(async move {
            Arc::clone(&exchange).run(request).await.map_err(|failure| {
                let message = failure.text.clone();
                exchange.answered().failure = Some(failure);
                HttpDispatchError::new(message)
            })
        })
    }
}

/// Where a checksum of parts is told, it says nothing about the whole; and one of an object that can't be read
/// before it is restored does not make that one good for anything.
fn full_checksum(headers: &HeaderMap) -> Option<String> {
    let whole = header(headers, "x-amz-checksum-type").is_none_or(|kind| kind == "FULL_OBJECT");
    header(headers, "x-amz-checksum-sha256")
        .filter(|_| whole && !is_archived(headers))
        .map(str::to_owned)
}

fn is_archived(headers: &HeaderMap) -> bool {
    let is_restored =
        header(headers, "x-amz-restore").is_some_and(|restore| restore.contains("ongoing-request=\"false\""));
    let class = header(headers, "x-amz-storage-class");
    headers.contains_key("x-amz-archive-status")
        || matches!(class, Some("GLACIER" | "DEEP_ARCHIVE")) && !is_restored
}

fn server_ahead(headers: &HeaderMap) -> Option<i64> {
    let server = date(headers.get(DATE)?.to_str().ok()?)?;
    Some(server.timestamp() - chrono::Utc::now().timestamp())
}

fn nonsense(status: u16, name: &str, value: &HeaderValue, mask: &Mask) -> Failure {
    let shown = one_line(&mask.apply(&String::from_utf8_lossy(value.as_bytes())))
        .chars()
        .take(40)
        .collect::<String>();
    Failure {
        status: Some(status),
        ..Failure::new(
            Code::Server,
            Retry::Backoff,
            format!("the answer's {name} is '{shown}', which HTTP does not allow"),
        )
    }
}

fn broken(error: &hyper::Error, reused: bool) -> Failure {
    let mut text = error.to_string();
    let cause = std::error::Error::source(error).map(ToString::to_string);
    if let Some(cause) = cause.filter(|cause| !text.contains(cause)) {
        text = format!("{text}: {cause}");
    }
    if error.is_parse() {
        return Failure::new(
            Code::Server,
            Retry::Backoff,
            format!("the answer is not HTTP: {text}"),
        );
    }
    let retry = if reused { Retry::AtOnce } else { Retry::Backoff };
    Failure::new(Code::Network, retry, format!("the connection broke: {text}"))
}
