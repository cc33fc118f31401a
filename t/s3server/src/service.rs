//! One request: log, faults, s3s, and what every answer of S3 has.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3ErrorCode};

use crate::address::{Hosts, Target};
use crate::args::Args;
use crate::auth::Guard;
use crate::body::{Received, Reception, Sent};
use crate::clock::Clock;
use crate::faults::{Fault, Faults, Length, Point};
use crate::log::{Exchange, Log};
use crate::region::Region;
use crate::store::{Store, Unconditional};
use crate::wire::Control;
use crate::{Error, answer, link};

/// The server behind all connections.
pub struct Server {
    /// Connections are logged by those who accept them.
    pub log: Arc<Log>,
    s3: S3Service,
    guard: Guard,
    faults: Faults,
    region: Option<Region>,
    owner: Option<String>,
    encryption: bool,
    /// Whether connections are left with Nagle's algorithm.
    pub nagle: bool,
    requests: AtomicU64,
}

impl Server {
    /// Sets up what the command line says.
    pub fn new(args: &Args) -> Result<Self, Error> {
        std::fs::create_dir_all(&args.root)?;
        let guard = Guard::new(args);
        let mut builder = S3ServiceBuilder::new(Store::new(&args.root)?);
        builder.set_auth(guard.clone());
        builder.set_access(guard.clone());
        builder.set_host(Hosts);
        // Dates are checked here, by a clock that can be wrong.
        let mut config = S3Config::default();
        config.presigned_url_max_skew_time_secs = u32::MAX;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        Ok(Self {
            log: Arc::new(Log::open(&args.log)?),
            s3: builder.build(),
            guard,
            faults: Faults::new(args.faults.clone()),
            region: args.region.clone().map(Region::new),
            owner: args.owner.clone(),
            encryption: args.encryption,
            nagle: args.nagle,
            requests: AtomicU64::new(0),
        })
    }

    /// Answers one request of a connection.
    pub async fn answer(
        self: Arc<Self>,
        connection: u64,
        control: Control,
        request: Request<Incoming>,
    ) -> Result<Response<Sent>, Infallible> {
        control.begin();
        let (head, body) = request.into_parts();
        let (method, headers) = (head.method.clone(), head.headers.clone());
        let target = Target::of(&head);
        let exchange = Arc::new(Exchange::new(Arc::clone(&self.log), connection, &head, &target));
        let (mut fault, mistake) = match self.faults.of(&target) {
            Ok(fault) => (fault, None),
            Err(message) => (Fault::default(), Some(message)),
        };
        fault.region = fault.region.or_else(|| self.region.clone());
        let turn = Turn {
            fault: &fault,
            target: &target,
            exchange: &exchange,
            control: &control,
        };
        if fault.break_at(Point::Upload).is_some_and(|end| end.after == 0) {
            turn.break_at(Point::Upload).await;
        }

        let (reception, mut body) = Reception::of(body, &headers, Arc::clone(&exchange), &fault, &control);
        if fault.break_at(Point::Received).is_some() {
            while let Some(Ok(_)) = body.frame().await {}
            turn.break_at(Point::Received).await;
        }
        let mut response = match mistake {
            None => {
                self.respond(&turn, Request::from_parts(head, body), &reception)
                    .await
            }
            Some(message) => {
                eprintln!("s3server: {message}");
                drop(body);
                answer::error(StatusCode::INTERNAL_SERVER_ERROR, "BadFaultRule", &message)
            }
        };
        reception.drain(&headers).await;
        if !fault.delay.is_zero() {
            tokio::time::sleep(fault.delay).await;
            exchange.fired("delay");
        }

        let code = answer::code(&mut response).await;
        exchange.answered(response.status(), code);
        turn.break_at(Point::Answered).await;
        self.finish(&turn, &method, &headers, &mut response);
        Ok(Sent::answer(response, &method, fault, control, exchange))
    }

    async fn respond(
        &self,
        turn: &Turn<'_>,
        request: Request<Received>,
        reception: &Reception,
    ) -> Response<Body> {
        let (fault, exchange) = (turn.fault, turn.exchange);
        if let Some(answer) = &fault.answer {
            exchange.fired("answer");
            return answer.response();
        }
        if fault.raw.is_some() {
            exchange.fired("raw");
            return Response::new(Body::empty());
        }
        let has_condition = request.headers().contains_key(header::IF_NONE_MATCH);
        if fault.refuse_condition && has_condition {
            exchange.fired("refuse_condition");
            return answer::error(
                StatusCode::NOT_IMPLEMENTED,
                S3ErrorCode::NotImplemented.as_str(),
                "A header you provided implies functionality that is not implemented.",
            );
        }
        let (head, body) = request.into_parts();
        if let Some(refusal) = self.refuse(turn, &head) {
            return refusal;
        }
        let overrides = match link::overrides(&head, turn.target) {
            Ok(headers) => headers,
            Err(error) => return answer::s3_error(error),
        };
        let reads = matches!(turn.target.operation, Some("GetObject" | "HeadObject"));
        let known = head.headers.get(header::IF_NONE_MATCH).filter(|_| reads).cloned();
        let request = Request::from_parts(head, body);
        let mut request = request.map(Body::http_body);
        if fault.ignore_condition && has_condition {
            exchange.fired("ignore_condition");
            request.extensions_mut().insert(Unconditional);
        }
        if let Some(keep) = fault.keep.filter(|_| turn.target.operation == Some("PutObject")) {
            exchange.fired("keep");
            request.extensions_mut().insert(keep);
        }
        let mut response = match self.s3.call(request).await {
            Ok(response) => response,
            Err(error) => answer::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                S3ErrorCode::InternalError.as_str(),
                &format!("{error:?}"),
            ),
        };
        // s3s 0.14 notices that the body is not what was signed, but says 500.
        if response.status().is_server_error() && reception.is_mismatch() {
            return answer::error(
                StatusCode::BAD_REQUEST,
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            );
        }
        if response.status().is_success() {
            response.headers_mut().extend(overrides);
            if is_known(known.as_ref(), response.headers()) {
                return answer::not_modified(response);
            }
        }
        match &fault.region {
            Some(region)
                if turn.target.operation == Some("GetBucketLocation") && response.status().is_success() =>
            {
                region.location_answer()
            }
            _ => response,
        }
    }

    /// What is refused before s3s sees it.
    fn refuse(&self, turn: &Turn<'_>, head: &Parts) -> Option<Response<Body>> {
        let region = turn.fault.region.as_ref();
        if let Some(refusal) = region.and_then(|region| region.refuse(head, turn.target)) {
            turn.exchange.fired("region");
            return Some(refusal);
        }
        if let Some(refusal) = link::refuse(head) {
            return Some(refusal);
        }
        let clock = turn.fault.clock.unwrap_or(0);
        if let Some(refusal) = Clock(clock).refuse(head) {
            if clock != 0 {
                turn.exchange.fired("clock");
            }
            return Some(refusal);
        }
        let rights = match self.guard.rights() {
            Ok(rights) => rights,
            Err(error) => return Some(answer::s3_error(error)),
        };
        if let Some(refusal) = rights.refuse(head) {
            return Some(refusal);
        }
        let owner = head.headers.get("x-amz-expected-bucket-owner");
        match (&self.owner, owner) {
            (Some(owner), Some(expected)) if expected.as_bytes() != owner.as_bytes() => Some(answer::error(
                StatusCode::FORBIDDEN,
                S3ErrorCode::AccessDenied.as_str(),
                "Access Denied",
            )),
            _ => None,
        }
    }

    fn finish(&self, turn: &Turn<'_>, method: &Method, asked: &HeaderMap, response: &mut Response<Body>) {
        let fault = turn.fault;
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let is_head_error = method == Method::HEAD && response.status().as_u16() >= 300;
        if is_head_error {
            *response.body_mut() = Body::empty();
        }
        let is_success = response.status().is_success();
        let headers = response.headers_mut();
        if is_head_error {
            headers.remove(header::CONTENT_LENGTH);
        }
        if fault.drop_etag && headers.remove(header::ETAG).is_some() {
            turn.exchange.fired("drop_etag");
        }
        if self.encryption && is_success && turn.target.operation == Some("PutObject") {
            for name in [
                "x-amz-server-side-encryption",
                "x-amz-server-side-encryption-aws-kms-key-id",
            ] {
                if let Some(value) = asked.get(name) {
                    headers.insert(name, value.clone());
                }
            }
        }
        if let Some(clock) = fault.clock.filter(|clock| *clock != 0) {
            let date = HeaderValue::try_from(Clock(clock).date()).expect("a date is a header value");
            headers.insert(header::DATE, date);
        }
        headers.entry("x-amz-request-id").or_insert_with(|| {
            HeaderValue::try_from(format!("{number:016X}")).expect("hexadecimal digits are a header value")
        });
        headers
            .entry(header::SERVER)
            .or_insert(HeaderValue::from_static("s3server"));
        turn.damage_head(headers);
    }
}

/// Whether the object is one that the client has already. s3s-fs 0.14 does not look.
fn is_known(known: Option<&HeaderValue>, headers: &HeaderMap) -> bool {
    let known = known.and_then(|value| value.to_str().ok());
    let etag = headers.get(header::ETAG).and_then(|value| value.to_str().ok());
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    match (known, etag) {
        (Some(known), Some(etag)) => known
            .split(',')
            .any(|tag| strong(tag) == strong(etag) || strong(tag) == "*"),
        _ => false,
    }
}

/// One request and what is to happen to it.
struct Turn<'a> {
    fault: &'a Fault,
    target: &'a Target,
    exchange: &'a Exchange,
    control: &'a Control,
}

impl Turn<'_> {
    /// Does not return if the connection is to break there.
    async fn break_at(&self, point: Point) {
        if let Some(end) = self.fault.break_at(point) {
            self.exchange.fired(end.name());
            self.exchange.finish();
            self.control.break_now(end.how);
            std::future::pending().await
        }
    }

    /// What rules change in the head of an answer.
    fn damage_head(&self, headers: &mut HeaderMap) {
        let (fault, exchange) = (self.fault, self.exchange);
        if !fault.headers.is_empty() {
            exchange.fired("headers");
            for (name, value) in &fault.headers {
                headers.insert(name, value.clone());
            }
        }
        if let Some(length) = &fault.length {
            exchange.fired("length");
            if *length != Length::Chunked {
                self.control.length(length.clone());
            }
        }
        if fault.raw.is_some() || fault.length == Some(Length::Missing) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(bytes) = &fault.raw {
            self.control.raw(bytes.clone());
        }
        if let Some(end) = fault.break_at(Point::Head) {
            exchange.fired(end.name());
            exchange.finish();
            self.control.break_after(end.after, end.how);
        }
    }
}
