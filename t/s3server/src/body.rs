//! Bodies on their way through: counted, and the request's compared with its signed hash.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::{HeaderMap, Method, header};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::log::Exchange;

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
    pub fn of(body: Incoming, headers: &HeaderMap, exchange: Arc<Exchange>) -> (Arc<Self>, Received) {
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
        let Some(body) = self.body.as_mut() else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
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
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        *self.reception.rest.lock().expect("rest of the body") = self.body.take();
    }
}

/// The body of an answer. The log line is written before the last bytes are handed over, so a client that
/// has the whole answer finds its line in the log.
pub struct Sent {
    body: s3s::Body,
    length: Option<u64>,
    exchange: Arc<Exchange>,
}

impl Sent {
    /// Wraps the body of the answer to a request with this method.
    pub fn new(body: s3s::Body, method: &Method, headers: &HeaderMap, exchange: Arc<Exchange>) -> Self {
        let stated = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let length = stated.or_else(|| body.size_hint().exact());
        if method == Method::HEAD || length == Some(0) || body.is_end_stream() {
            exchange.finish();
        }
        Self {
            body,
            length,
            exchange,
        }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let sent = self.exchange.sent(frame.data_ref().map_or(0, Bytes::len));
                if self.body.is_end_stream() || self.length.is_some_and(|length| sent >= length) {
                    self.exchange.finish();
                }
            }
            Some(Err(_)) | None => self.exchange.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
