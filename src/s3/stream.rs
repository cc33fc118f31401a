//! The bytes of a connection: counted, and sent without a signal, with or without TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_native_tls::TlsStream;

use super::buffered::Buffered;
use super::progress::{Progress, Stage};

/// Bytes from which on a piece is sent alone; smaller ones are sent together.
const LARGE_PIECE: usize = 16 * 1024;

/// How long a kept connection may leave the beginning of a request unacknowledged: a router on the way may have
/// forgotten it, or the other side be gone. A server that is only slow acknowledges at once.
const UNACKNOWLEDGED: Duration = Duration::from_secs(2);
/// So many bytes, and no more, do not have to wait for a server that reads slowly.
const BEGINNING: u64 = 32 * 1024;

/// A TCP connection that counts what it moves.
pub(super) struct Socket {
    tcp: TcpStream,
    progress: Progress,
    requests: u32,
    is_watched: bool,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream, progress: Progress) -> Self {
        Socket {
            tcp,
            progress,
            requests: 0,
            is_watched: false,
        }
    }

    /// Before something is sent: watches what a kept connection does with the beginning of a request.
    fn watch(&mut self) {
        let sent = self.progress.bytes_sent();
        if sent == 0 && self.progress.stage() == Stage::Waiting {
            self.requests = self.requests.saturating_add(1);
        }
        let is_watched = self.requests > 1 && sent < BEGINNING;
        #[cfg(target_os = "linux")]
        if is_watched != self.is_watched {
            let limit = is_watched.then_some(UNACKNOWLEDGED);
            let _ = SockRef::from(&self.tcp).set_tcp_user_timeout(limit);
        }
        self.is_watched = is_watched;
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
        self.watch();
        let polled = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.progress.sent(written);
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn the_beginning_of_a_request_on_a_kept_connection_is_watched() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let progress = Progress::new();
        progress.enter(Stage::Connecting);
        let mut socket = Socket::new(tcp, progress.clone());
        socket.write_all(b"TLS").await.unwrap();
        let mut seen = Vec::new();
        for size in [10, BEGINNING as usize, 1, 10] {
            if size == 10 {
                progress.enter(Stage::Waiting);
                socket.write_all(b"head").await.unwrap();
            }
            socket.write_all(&vec![0; size]).await.unwrap();
            seen.push(SockRef::from(&socket.tcp).tcp_user_timeout().unwrap());
        }
        assert_eq!(seen, [None, None, None, Some(UNACKNOWLEDGED)]);
        socket.write_all(&[0; BEGINNING as usize]).await.unwrap();
        socket.write_all(b"1").await.unwrap();
        assert!(SockRef::from(&socket.tcp).tcp_user_timeout().unwrap().is_none());
    }
}
