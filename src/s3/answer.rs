//! The body of an answer, and the connection that it comes over; what an answer holds.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use hyper::body::{Bytes, HttpBody};
use hyper::http::header::CONTENT_RANGE;
use hyper::http::response::Parts;
use hyper::http::HeaderMap;
use hyper::{Body, Response, StatusCode};

use super::connection::{Connections, Live};
use super::document::{is_well_formed, ErrorDocument};
use super::outcome::{Failure, Retry};
use super::session::Expected;
use crate::config::Mask;
use crate::error::Code;

/// The body of an answer; it drives its connection, and gives it back at its end.
pub(super) struct AnswerBody {
    body: Body,
    /// Bytes that may still come.
    left: u64,
    live: Option<(Live, String)>,
    connections: Arc<Connections>,
}

impl AnswerBody {
    /// `most`: the bytes that may come; `live`: the connection and whose it is.
    pub(super) fn new(body: Body, most: u64, live: (Live, String), connections: &Arc<Connections>) -> Self {
        AnswerBody {
            body,
            left: most,
            live: Some(live),
            connections: Arc::clone(connections),
        }
    }

    fn finish(&mut self) {
        if let Some((live, authority)) = self.live.take() {
            self.connections.put_back(live, &authority);
        }
    }
}

impl Stream for AnswerBody {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let mut polled = Pin::new(&mut this.body).poll_data(cx);
        if polled.is_pending() {
            if let Some((live, _)) = &mut this.live {
                live.drive(cx);
                polled = Pin::new(&mut this.body).poll_data(cx);
            }
        }
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(piece))) => match this.left.checked_sub(piece.len() as u64) {
                Some(left) => {
                    this.left = left;
                    Poll::Ready(Some(Ok(piece)))
                }
                None => {
                    this.live = None;
                    Poll::Ready(Some(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the answer is too long",
                    ))))
                }
            },
            Poll::Ready(Some(Err(error))) => {
                this.live = None;
                Poll::Ready(Some(Err(io::Error::other(error))))
            }
        }
    }
}

/// An answer whose body nobody reads, such as that to a PUT, gives its connection back too.
impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Some((live, _)) = &mut self.live {
            let mut cx = Context::from_waker(futures::task::noop_waker_ref());
            let mut polled = Pin::new(&mut self.body).poll_data(&mut cx);
            if polled.is_pending() {
                live.drive(&mut cx);
                polled = Pin::new(&mut self.body).poll_data(&mut cx);
            }
            if matches!(polled, Poll::Ready(None)) {
                self.finish();
            }
        }
    }
}

/// Why an answer that says success can't be what was asked for.
pub(super) fn is_no_object(
    answer: &Response<AnswerBody>,
    expected: Expected,
    is_part: bool,
) -> Option<&'static str> {
    let is_object = expected == Expected::Object;
    match answer.status() {
        StatusCode::PARTIAL_CONTENT if !is_part => {
            Some("the answer is a part of the object, which was not asked for")
        }
        StatusCode::PARTIAL_CONTENT if is_object && !answer.headers().contains_key(CONTENT_RANGE) => {
            Some("the answer is a part of the object, and does not say which")
        }
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT if is_object => {
            Some("the answer says success, and has no object")
        }
        _ => None,
    }
}

/// Whether a success that should have no body has a document: a failure within it, or the page of some other
/// server.
pub(super) fn has_document(answer: &Response<AnswerBody>) -> bool {
    let kind = header(answer.headers(), "content-type").unwrap_or_default();
    let length = header(answer.headers(), "content-length").unwrap_or("0");
    (kind.contains("xml") || kind.contains("html")) && length != "0"
}

/// A success whose document rusoto is going to read, which never ends where XML is not well-formed.
pub(super) async fn checked(answer: Response<AnswerBody>, mask: &Mask) -> Result<(Parts, Vec<u8>), Failure> {
    let (head, body) = answer.into_parts();
    let (document, end) = read(body).await;
    if is_well_formed(&document) {
        return match ErrorDocument::parse(&document, mask) {
            Some(_) => Err(Failure::of_answer(
                head.status.as_u16(),
                &head.headers,
                &document,
                mask,
            )),
            None => Ok((head, document)),
        };
    }
    match end {
        Err(error) if error.kind() != io::ErrorKind::InvalidData => Err(Failure::new(
            Code::Network,
            Retry::Backoff,
            format!("the connection broke within the answer: {error}"),
        )),
        _ => Err(Failure::not_s3s("an answer that can't be parsed")),
    }
}

/// The failure that an answer other than 2xx means.
pub(super) async fn failure(answer: Response<AnswerBody>, mask: &Mask) -> Failure {
    let (head, body) = answer.into_parts();
    let (document, _) = read(body).await;
    Failure::of_answer(head.status.as_u16(), &head.headers, &document, mask)
}

/// A document, and how it ended: one that breaks off, or is too long, is judged by what arrived.
async fn read(mut body: AnswerBody) -> (Vec<u8>, io::Result<()>) {
    let mut document = Vec::new();
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => document.extend_from_slice(&piece),
            Err(error) => return (document, Err(error)),
        }
    }
    (document, Ok(()))
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
