//! One request: log, faults, s3s, and what every answer of S3 has.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3ErrorCode};

use crate::address::{Hosts, Target};
use crate::args::Args;
use crate::auth::{Guard, check_link};
use crate::body::{Received, Reception, Sent};
use crate::connection::RawAnswer;
use crate::faults::{Fault, Faults};
use crate::log::{Exchange, Log};
use crate::store::{Store, Unconditional};
use crate::{Error, answer};

/// The server behind all connections.
pub struct Server {
    /// Connections are logged by those who accept them.
    pub log: Arc<Log>,
    s3: S3Service,
    faults: Faults,
    requests: AtomicU64,
}

impl Server {
    /// Sets up what the command line says.
    pub fn new(args: &Args) -> Result<Self, Error> {
        std::fs::create_dir_all(&args.root)?;
        let guard = Guard::new(args);
        let mut builder = S3ServiceBuilder::new(Store::new(&args.root)?);
        builder.set_auth(guard.clone());
        builder.set_access(guard);
        builder.set_host(Hosts);
        Ok(Self {
            log: Arc::new(Log::open(&args.log)?),
            s3: builder.build(),
            faults: Faults::new(args.faults.clone()),
            requests: AtomicU64::new(0),
        })
    }

    /// Answers one request of a connection.
    pub async fn answer(
        self: Arc<Self>,
        connection: u64,
        raw: RawAnswer,
        request: Request<Incoming>,
    ) -> Result<Response<Sent>, Infallible> {
        let (head, body) = request.into_parts();
        let (method, headers) = (head.method.clone(), head.headers.clone());
        let target = Target::of(&head);
        let exchange = Arc::new(Exchange::new(Arc::clone(&self.log), connection, &head, &target));
        let (reception, body) = Reception::of(body, &headers, Arc::clone(&exchange));

        let (fault, mut response) = match self.faults.of(&target) {
            Ok(fault) => {
                let response = self
                    .respond(&fault, Request::from_parts(head, body), &reception)
                    .await;
                (fault, response)
            }
            Err(message) => {
                eprintln!("s3server: {message}");
                drop(body);
                (
                    Fault::default(),
                    answer::error(StatusCode::INTERNAL_SERVER_ERROR, "BadFaultRule", &message),
                )
            }
        };
        reception.drain(&headers).await;
        if !fault.delay.is_zero() {
            tokio::time::sleep(fault.delay).await;
        }

        let code = answer::code(&mut response).await;
        exchange.answered(response.status(), code);
        self.finish(&fault, &method, &mut response);
        if let Some(bytes) = fault.raw {
            raw.set(bytes);
        }
        let (head, body) = response.into_parts();
        let body = Sent::new(body, &method, &head.headers, exchange);
        Ok(Response::from_parts(head, body))
    }

    async fn respond(
        &self,
        fault: &Fault,
        request: Request<Received>,
        reception: &Reception,
    ) -> Response<Body> {
        if let Some(answer) = &fault.answer {
            return answer.response();
        }
        if fault.raw.is_some() {
            return Response::new(Body::empty());
        }
        if fault.refuse_condition && request.headers().contains_key(header::IF_NONE_MATCH) {
            return answer::error(
                StatusCode::NOT_IMPLEMENTED,
                S3ErrorCode::NotImplemented.as_str(),
                "A header you provided implies functionality that is not implemented.",
            );
        }
        if let Err(error) = check_link(request.uri()) {
            return answer::s3_error(error);
        }
        let mut request = request.map(Body::http_body);
        if fault.ignore_condition {
            request.extensions_mut().insert(Unconditional);
        }
        let response = match self.s3.call(request).await {
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
        response
    }

    fn finish(&self, fault: &Fault, method: &Method, response: &mut Response<Body>) {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let is_head_error = method == Method::HEAD && response.status().as_u16() >= 300;
        if is_head_error {
            *response.body_mut() = Body::empty();
        }
        let headers = response.headers_mut();
        if is_head_error {
            headers.remove(header::CONTENT_LENGTH);
        }
        if fault.drop_etag {
            headers.remove(header::ETAG);
        }
        if fault.raw.is_some() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        headers.entry("x-amz-request-id").or_insert_with(|| {
            HeaderValue::try_from(format!("{number:016X}")).expect("hexadecimal digits are a header value")
        });
        headers
            .entry(header::SERVER)
            .or_insert(HeaderValue::from_static("s3server"));
    }
}
