//! The connection below hyper: answers that hyper would refuse to make, and ends that it would not come to.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::faults::{How, Length};

/// What is to become of a connection: told by those who answer, done by [`Wire`] and the connection's task.
#[derive(Clone, Default)]
pub struct Control(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Anything of the state is set that concerns writing.
    busy: AtomicBool,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    raw: Option<Vec<u8>>,
    length: Option<Length>,
    /// Bytes that may still be written, and what happens then.
    limit: Option<(u64, How)>,
    at_flush: Option<How>,
    after_answer: Option<(How, Duration)>,
    deadline: Option<(How, Instant)>,
    broken: Option<How>,
}

impl Control {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("state of a connection")
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.0.busy.store(true, Ordering::Relaxed);
    }

    /// Another request has come: the connection does not end for an answer before it.
    pub fn begin(&self) {
        let mut state = self.state();
        (state.after_answer, state.deadline) = (None, None);
    }

    /// From now on nothing but these bytes is written.
    pub fn raw(&self, bytes: Vec<u8>) {
        self.set(|state| state.raw = Some(bytes));
    }

    /// The next head says something else of the length.
    pub fn length(&self, length: Length) {
        self.set(|state| state.length = Some(length));
    }

    /// The connection ends after so many bytes more.
    pub fn break_after(&self, bytes: u64, how: How) {
        self.set(|state| state.limit = Some((bytes, how)));
    }

    /// The connection ends when all that was written is on its way.
    pub fn break_at_flush(&self, how: How) {
        self.set(|state| state.at_flush = Some(how));
    }

    /// The connection ends so long after what was written is on its way, unless a request comes before.
    pub fn break_idle(&self, how: How, after: Duration) {
        self.set(|state| state.after_answer = Some((how, after)));
    }

    /// The connection ends.
    pub fn break_now(&self, how: How) {
        self.state().broken = Some(how);
        self.0.changed.notify_one();
    }

    /// Waits for the end of the connection.
    pub async fn broken(&self) -> How {
        loop {
            let deadline = {
                let state = self.state();
                if let Some(how) = state.broken {
                    return how;
                }
                state.deadline
            };
            let Some((how, at)) = deadline else {
                self.0.changed.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(at) => {
                    if self.state().deadline == deadline {
                        return how;
                    }
                }
                () = self.0.changed.notified() => {}
            }
        }
    }

    /// All that was written is on its way. True if that was all there ever is to be.
    fn flushed(&self) -> bool {
        let mut state = self.state();
        if let Some(how) = state.at_flush.take() {
            state.broken = Some(how);
        } else if let Some((how, after)) = state.after_answer.take() {
            state.deadline = Some((how, Instant::now() + after));
        } else {
            return false;
        }
        let is_end = state.broken.is_some();
        drop(state);
        self.0.changed.notify_one();
        is_end
    }
}

/// A stream under [`Control`].
pub struct Wire<S> {
    stream: S,
    control: Control,
    /// Bytes of the raw answer that are written.
    written: usize,
    /// The head, as long as it is not complete.
    head: Vec<u8>,
    /// What was taken over, but is not yet written.
    out: Vec<u8>,
}

impl<S> Wire<S> {
    /// Puts itself around a stream.
    pub const fn new(stream: S, control: Control) -> Self {
        Self {
            stream,
            control,
            written: 0,
            head: Vec::new(),
            out: Vec::new(),
        }
    }

    fn is_plain(&self) -> bool {
        !self.control.0.busy.load(Ordering::Relaxed)
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Ready(true) when the raw answer is out, Ready(false) when there is none.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let state = self.control.state();
        let Some(bytes) = state.raw.as_deref() else {
            return Poll::Ready(Ok(false));
        };
        while let Some(rest) = bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            self.written += ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
        }
        Poll::Ready(Ok(true))
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let limit = self.control.state().limit;
            let most = limit.map_or(usize::MAX, |(bytes, _)| bytes as usize);
            if let Some((0, how)) = limit {
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                self.control.break_now(how);
                return Poll::Pending;
            }
            let part = &self.out[..self.out.len().min(most)];
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, part))?;
            self.out.drain(..written);
            if let Some((left, _)) = &mut self.control.state().limit {
                *left -= written as u64;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what has to be looked at: takes all of it over, unless there is still something to write.
    fn poll_watched(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if ready!(self.poll_raw(cx))? {
            return Poll::Ready(Ok(data.len()));
        }
        ready!(self.poll_out(cx))?;
        let length = self.control.state().length.clone();
        if let Some(length) = length {
            self.head.extend_from_slice(data);
            if let Some(end) = self.head.windows(4).position(|part| part == b"\r\n\r\n") {
                let body = self.head.split_off(end);
                self.out = tell(&length, &self.head);
                self.out.extend(body);
                self.head.clear();
                self.control.state().length = None;
            }
        } else {
            self.out.extend_from_slice(data);
        }
        Poll::Ready(Ok(data.len()))
    }
}

/// The same head (without the empty line) with another length.
fn tell(length: &Length, head: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"content-length:";
    let mut lines: Vec<&[u8]> = head.split(|byte| *byte == b'\n').collect();
    let is_length = |line: &[u8]| line.to_ascii_lowercase().starts_with(NAME);
    let found = lines.iter().position(|line| is_length(line));
    let known = found.map(|at| String::from_utf8_lossy(&lines.remove(at)[NAME.len()..]).into_owned());
    let number = known
        .and_then(|text| text.trim().parse::<i64>().ok())
        .unwrap_or(0);
    let told = match length {
        Length::Add(more) => Some((number + more).to_string()),
        Length::Say(text) => Some(text.clone()),
        Length::Missing | Length::Chunked => None,
    };
    let line = told.map(|told| format!("Content-Length: {told}").into_bytes());
    lines.extend(line.as_deref());
    let lines = lines
        .into_iter()
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.collect::<Vec<_>>().join(&b"\r\n"[..])
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_plain() {
            return Pin::new(&mut self.stream).poll_write(cx, data);
        }
        self.poll_watched(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_plain() {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        }
        let first = data.iter().find(|slice| !slice.is_empty());
        self.poll_watched(cx, first.map_or(&[], |slice| slice))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_plain() {
            return Pin::new(&mut self.stream).poll_flush(cx);
        }
        ready!(self.poll_out(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.control.flushed() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
