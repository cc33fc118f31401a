//! The course of a body: its speed, the byte that is damaged, the place where it breaks off.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::faults::{Break, Fault, Point};
use crate::log::Exchange;
use crate::wire::Control;

/// What happens to the bytes of one body.
pub struct Course {
    point: Point,
    /// Bytes that are through.
    position: u64,
    /// Bytes that are here, but not yet passed on.
    rest: Bytes,
    /// Bytes per second.
    rate: Option<u64>,
    pause: Option<Pin<Box<Sleep>>>,
    flip: Option<u64>,
    end: Option<Break>,
    exchange: Arc<Exchange>,
    control: Control,
}

impl Course {
    /// What a rule wants of the body at `point`, which is the request's or the answer's.
    pub fn of(fault: &Fault, point: Point, exchange: &Arc<Exchange>, control: &Control) -> Self {
        let rate = match point {
            Point::Upload => fault.upload_rate,
            _ => fault.rate,
        };
        Self {
            point,
            position: 0,
            rest: Bytes::new(),
            rate,
            pause: None,
            flip: fault.flip_in(point),
            end: fault.break_at(point),
            exchange: Arc::clone(exchange),
            control: control.clone(),
        }
    }

    /// Whether all bytes that are here were passed on.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The bytes to come, when the source has so many of them.
    pub fn size_hint(&self, source: SizeHint) -> SizeHint {
        let here = self.rest.len() as u64;
        match source.exact() {
            Some(bytes) => SizeHint::with_exact(bytes + here),
            None => SizeHint::default(),
        }
    }

    /// The next frame of `source`, or a part of it. Pending forever where the body breaks off.
    pub fn poll_frame<B>(
        &mut self,
        cx: &mut Context<'_>,
        source: Pin<&mut B>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>>
    where
        B: Body<Data = Bytes>,
    {
        if self.rate.is_none() && self.flip.is_none() && self.end.is_none() {
            return source.poll_frame(cx);
        }
        if let Some(end) = self.end.filter(|end| end.after == self.position) {
            self.break_off(end);
            return Poll::Pending;
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if self.rest.is_empty() {
            match ready!(source.poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return Poll::Ready(other),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.next()))))
    }

    fn next(&mut self) -> Bytes {
        let mut size = self.rest.len() as u64;
        if let Some(end) = self.end {
            size = size.min(end.after - self.position);
        }
        if let Some(rate) = self.rate {
            size = size.min((rate / 10).max(1));
            self.pause = Some(Box::pin(sleep(Duration::from_secs_f64(
                size as f64 / rate as f64,
            ))));
            if self.position == 0 {
                self.exchange.fired(match self.point {
                    Point::Upload => "upload_rate",
                    _ => "rate",
                });
            }
        }
        let mut data = self.rest.split_to(size as usize);
        let place = self.flip.and_then(|offset| offset.checked_sub(self.position));
        if let Some(place) = place.filter(|place| *place < size) {
            let mut bytes = data.to_vec();
            bytes[place as usize] ^= 0xff;
            data = bytes.into();
            self.exchange.fired(format!("flip:{}", self.point.name()));
        }
        self.position += size;
        data
    }

    fn break_off(&mut self, end: Break) {
        self.end = None;
        self.exchange.fired(end.name());
        self.exchange.finish();
        match self.point {
            Point::Upload => self.control.break_now(end.how),
            _ => self.control.break_at_flush(end.how),
        }
        // No more of it, whoever asks.
        self.pause = Some(Box::pin(sleep(Duration::from_secs(86_400))));
        self.rate = Some(1);
    }
}
