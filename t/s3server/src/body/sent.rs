//! The body of an answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::{Method, Response, header};

use super::Course;
use crate::Error;
use crate::faults::{Fault, Length, Point};
use crate::log::Exchange;
use crate::wire::Control;

/// The body of an answer. The log line is written before the last bytes are handed over, so a client that
/// has the whole answer finds its line in the log.
pub struct Sent {
    body: s3s::Body,
    length: Option<u64>,
    sent: u64,
    chunked: bool,
    course: Course,
    fault: Fault,
    control: Control,
    exchange: Arc<Exchange>,
}

impl Sent {
    /// Wraps the body of the answer to a request with this method.
    pub fn answer(
        response: Response<s3s::Body>,
        method: &Method,
        fault: Fault,
        control: Control,
        exchange: Arc<Exchange>,
    ) -> Response<Self> {
        let (mut head, body) = response.into_parts();
        let stated = head
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let length = stated.or_else(|| body.size_hint().exact());
        let chunked = fault.length == Some(Length::Chunked);
        if chunked {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        let mut sent = Self {
            course: Course::of(&fault, Point::Body, &exchange, &control),
            body,
            length,
            sent: 0,
            chunked,
            fault,
            control,
            exchange,
        };
        if method == Method::HEAD || length == Some(0) || sent.body.is_end_stream() {
            sent.finish();
        }
        Response::from_parts(head, sent)
    }

    fn finish(&mut self) {
        if let Some((how, after)) = self.fault.after.take() {
            self.exchange.fired(format!("{}_ms", how.name()));
            self.control.break_idle(how, after);
        }
        self.exchange.finish();
    }

    fn is_complete(&self) -> bool {
        self.sent > 0 && self.length.is_some_and(|length| self.sent >= length)
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let frame = ready!(this.course.poll_frame(cx, Pin::new(&mut this.body)));
        match &frame {
            Some(Ok(frame)) => {
                this.sent = this.exchange.sent(frame.data_ref().map_or(0, Bytes::len));
                if this.is_end_stream() {
                    this.finish();
                }
            }
            Some(Err(_)) | None => this.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_complete() || self.course.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.chunked {
            return SizeHint::default();
        }
        self.course.size_hint(self.body.size_hint())
    }
}
