//! The bytes of a connection: counted, and sent without a signal, with or without TLS.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_native_tls::TlsStream;

use super::buffered::Buffered;
use super::progress::Progress;

/// Bytes from which on a piece is sent alone; smaller ones are sent together.
const LARGE_PIECE: usize = 16 * 1024;

/// A TCP connection that counts what it moves.
pub(super) struct Socket {
    tcp: TcpStream,
    progress: Progress,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream, progress: Progress) -> Self {
        Socket { tcp, progress }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.progress.forget(self.tcp.as_raw_fd());
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.tcp).poll_read(cx, buffer);
        match polled {
            // A server that sends head and body of an answer in two segments, with Nagle's
            // algorithm on, waits for our ACK in between, which Linux delays by 40 ms: seen with
            // s3s 0.14 and Garage 2.5. The option does not last, so it is set at every wait.
            Poll::Pending => {
                #[cfg(target_os = "linux")]
                let _ = self.tcp.set_quickack(true);
            }
            Poll::Ready(_) => {
                if !self.progress.received(buffer.filled().len() - before) {
                    return Poll::Ready(Err(io::Error::other("an answer whose head never ends")));
                }
            }
        }
        polled
    }
}

/// Never vectored: writev on a socket that the server has closed raises SIGPIPE, which would kill
/// a process of Perl's; a plain write is sent with MSG_NOSIGNAL.
impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.progress.sent(written, self.tcp.as_raw_fd());
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// A connection with or without TLS.
pub(super) enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Buffered<Socket>>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    /// Else hyper would copy all contents into a buffer of its own first.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut pieces = pieces.iter().filter(|piece| !piece.is_empty());
        let first = match pieces.next() {
            None => return self.poll_write(cx, &[]),
            Some(first) if first.len() >= LARGE_PIECE => return self.poll_write(cx, first),
            Some(first) => first,
        };
        // A request's head, and the content or its beginning.
        let mut together = Vec::with_capacity(LARGE_PIECE);
        together.extend_from_slice(first);
        for piece in pieces {
            let room = LARGE_PIECE - together.len();
            together.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        self.poll_write(cx, &together)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
