//! Bodies on their way through: counted, and the request's compared with its signed hash.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::{HeaderMap, header};
use sha2::{Digest, Sha256};

use crate::faults::{Fault, Point};
use crate::log::Exchange;
use crate::wire::Control;

mod course;
mod sent;

pub use course::Course;
pub use sent::Sent;

/// How long the rest of a body is waited for after the answer is known.
const DRAIN: Duration = Duration::from_secs(1);

/// What is known of a request's body, and the part of it that nobody has read.
pub struct Reception {
    exchange: Arc<Exchange>,
    polled: AtomicBool,
    mismatch: AtomicBool,
    rest: Mutex<Option<Incoming>>,
}

impl Reception {
    /// Splits a body into the one to pass on and what we keep an eye on.
    pub fn of(
        body: Incoming,
        headers: &HeaderMap,
        exchange: Arc<Exchange>,
        fault: &Fault,
        control: &Control,
    ) -> (Arc<Self>, Received) {
        let course = Course::of(fault, Point::Upload, &exchange, control);
        let reception = Arc::new(Self {
            exchange,
            polled: AtomicBool::new(false),
            mismatch: AtomicBool::new(false),
            rest: Mutex::default(),
        });
        let signed = headers
            .get("x-amz-content-sha256")
            .and_then(|value| value.to_str().ok());
        let hash = signed
            .filter(|hex| hex.len() == 64)
            .map(|hex| (Sha256::new(), hex.to_ascii_lowercase()));
        let mut received = Received {
            body: Some(body),
            course,
            hash,
            reception: Arc::clone(&reception),
        };
        if received.is_end_stream() {
            received.compare();
        }
        (reception, received)
    }

    /// The body is complete and is not what was signed.
    pub fn is_mismatch(&self) -> bool {
        self.mismatch.load(Ordering::Relaxed)
    }

    /// Reads what nobody has read: hyper closes the connection on a client that is still sending, and the
    /// answer may be lost. A client that waits for "100 Continue" has not begun to send.
    pub async fn drain(&self, headers: &HeaderMap) {
        let rest = self.rest.lock().expect("rest of the body").take();
        let waits = headers.contains_key(header::EXPECT) && !self.polled.load(Ordering::Relaxed);
        if let Some(mut body) = rest.filter(|body| !waits && !body.is_end_stream()) {
            let _ = tokio::time::timeout(DRAIN, async {
                while let Some(Ok(frame)) = body.frame().await {
                    self.exchange.received(frame.data_ref().map_or(0, Bytes::len));
                }
            })
            .await;
        }
    }
}

/// The body of a request, as s3s reads it.
pub struct Received {
    body: Option<Incoming>,
    course: Course,
    hash: Option<(Sha256, String)>,
    reception: Arc<Reception>,
}

impl Received {
    fn compare(&mut self) {
        if let Some((hash, signed)) = self.hash.take() {
            let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            self.reception.mismatch.store(hex != signed, Ordering::Relaxed);
        }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.reception.polled.store(true, Ordering::Relaxed);
        let this = &mut *self;
        let Some(body) = this.body.as_mut() else {
            return Poll::Ready(None);
        };
        let frame = ready!(this.course.poll_frame(cx, Pin::new(body)));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.reception.exchange.received(data.len());
                    if let Some((hash, _)) = &mut self.hash {
                        hash.update(data);
                    }
                }
                if self.is_end_stream() {
                    self.compare();
                }
            }
            Some(Err(_)) => self.hash = None,
            None => self.compare(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.course.is_empty() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(
            || SizeHint::with_exact(0),
            |body| self.course.size_hint(body.size_hint()),
        )
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        *self.reception.rest.lock().expect("rest of the body") = self.body.take();
    }
}
