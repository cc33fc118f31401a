//! The body of an answer, and the connection that it comes over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use hyper::body::{Bytes, HttpBody};
use hyper::Body;

use super::connection::{Connections, Live};

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
                    Poll::Ready(Some(Err(io::Error::other("the answer is too long"))))
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
