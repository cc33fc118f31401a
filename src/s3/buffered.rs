//! What TLS reads and writes, single records and their heads, in larger pieces.

use std::io;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are moved at once: some of TLS's largest records, with what belongs to them.
const SIZE: usize = 4 * (16 * 1024 + 256);

/// Reads ahead, and writes when it is full or flushed.
pub(super) struct Buffered<S> {
    inner: S,
    received: Vec<u8>,
    /// Bytes of `received` that are there, and of those that were taken.
    filled: usize,
    taken: usize,
    unsent: Vec<u8>,
    /// Bytes of `unsent` that were sent.
    sent: usize,
}

impl<S> Buffered<S> {
    pub(super) fn new(inner: S) -> Self {
        Buffered {
            inner,
            received: Vec::new(),
            filled: 0,
            taken: 0,
            unsent: Vec::new(),
            sent: 0,
        }
    }
}

impl<S: AsyncWrite + Unpin> Buffered<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &self.unsent[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        self.unsent.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Buffered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.taken == this.filled {
            if buffer.remaining() >= SIZE {
                return Pin::new(&mut this.inner).poll_read(cx, buffer);
            }
            this.received.resize(SIZE, 0);
            let mut room = ReadBuf::new(&mut this.received);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut room))?;
            (this.taken, this.filled) = (0, room.filled().len());
        }
        let end = this.filled.min(this.taken + buffer.remaining());
        buffer.put_slice(&this.received[this.taken..end]);
        this.taken = end;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Buffered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.unsent.len() + bytes.len() > SIZE {
            ready!(this.poll_send(cx))?;
        }
        if bytes.len() >= SIZE {
            return Pin::new(&mut this.inner).poll_write(cx, bytes);
        }
        this.unsent.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker_ref;

    /// Moves at most `step` bytes a time, and has nothing ready every second time.
    #[derive(Default)]
    struct Slow {
        source: Vec<u8>,
        sink: Vec<u8>,
        step: usize,
        calls: usize,
        flushed: usize,
    }

    impl AsyncRead for Slow {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.calls += 1;
            if self.calls % 2 == 0 {
                return Poll::Pending;
            }
            let count = self.step.min(buffer.remaining()).min(self.source.len());
            buffer.put_slice(&self.source.drain(..count).collect::<Vec<_>>());
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.calls += 1;
            if self.calls % 2 == 0 {
                return Poll::Pending;
            }
            let count = self.step.min(bytes.len());
            self.sink.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushed += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn content(size: usize) -> Vec<u8> {
        (0..size)
            .map(|number| (number * 7 + number / 251) as u8)
            .collect()
    }

    #[test]
    fn everything_arrives_in_order_with_fewer_reads() {
        for (step, asked) in [(1000, 5), (SIZE, 16_384), (SIZE, 2 * SIZE), (usize::MAX, 5)] {
            let slow = Slow {
                source: content(300_000),
                step,
                ..Slow::default()
            };
            let mut buffered = Buffered::new(slow);
            let mut cx = Context::from_waker(noop_waker_ref());
            let mut found = Vec::new();
            let mut room = vec![0; asked];
            loop {
                let mut buffer = ReadBuf::new(&mut room);
                match Pin::new(&mut buffered).poll_read(&mut cx, &mut buffer) {
                    Poll::Pending => {}
                    Poll::Ready(result) => {
                        result.unwrap();
                        if buffer.filled().is_empty() {
                            break;
                        }
                        found.extend_from_slice(buffer.filled());
                    }
                }
            }
            assert!(found == content(300_000));
            assert!(buffered.inner.calls <= 2 * (300_000 / step.min(SIZE) + 2));
        }
    }

    #[test]
    fn everything_is_sent_in_order_when_it_is_flushed() {
        for (step, piece) in [(1000, 5), (SIZE, 16_406), (SIZE, 2 * SIZE), (usize::MAX, 5)] {
            let slow = Slow {
                step,
                ..Slow::default()
            };
            let mut buffered = Buffered::new(slow);
            let mut cx = Context::from_waker(noop_waker_ref());
            for mut bytes in content(300_000).chunks(piece) {
                while !bytes.is_empty() {
                    if let Poll::Ready(written) = Pin::new(&mut buffered).poll_write(&mut cx, bytes) {
                        bytes = &bytes[written.unwrap()..];
                    }
                }
            }
            while Pin::new(&mut buffered).poll_flush(&mut cx).is_pending() {}
            assert_eq!(buffered.inner.flushed, 1);
            assert!(buffered.inner.sink == content(300_000));
        }
    }
}
