//! Connections to the server: made within a time limit, kept for the next request.
//!
//! A connection is driven by the request that uses it. Between two calls nothing runs, and a
//! request that ends early takes its connection with it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use hyper::client::conn::{self, Connection, SendRequest};
use hyper::{Body, Request, Response};
use native_tls::Protocol;
use once_cell::sync::OnceCell;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_native_tls::TlsStream;

use super::outcome::{Failure, Retry};
use super::progress::Progress;
use super::resolve::Resolver;
use crate::config::Address;
use crate::error::Code;

/// S3 closes idle connections after about 20 s.
const KEEP_IDLE: Duration = Duration::from_secs(12);
/// When the next address of a name is tried beside the one that does not answer: RFC 8305.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// Makes and keeps the connections of one handle in one process.
pub(super) struct Connections {
    /// Bytes moved by the exchange under way; calls take turns.
    pub(super) progress: Progress,
    resolver: Resolver,
    extra_authorities: Option<Vec<u8>>,
    tls: OnceCell<tokio_native_tls::TlsConnector>,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    live: Live,
    authority: String,
    since: Instant,
}

/// A connection with nothing under way.
pub(super) struct Live {
    sender: SendRequest<Body>,
    connection: Pin<Box<Connection<Stream, Body>>>,
    /// Whether it has carried a request before.
    pub(super) reused: bool,
}

impl Connections {
    /// `extra_authorities`: PEM certificates trusted beside the system's.
    pub(super) fn new(extra_authorities: Option<Vec<u8>>) -> Self {
        Connections {
            progress: Progress::new(),
            resolver: Resolver::default(),
            extra_authorities,
            tls: OnceCell::new(),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// A kept connection if there is one that still lives, else a new one.
    pub(super) async fn take(
        &self,
        address: &Address,
        fresh: bool,
        limit: Duration,
    ) -> Result<Live, Failure> {
        if fresh {
            self.idle().clear();
        }
        while let Some(mut live) = self.take_idle(&address.authority) {
            // Lets the runtime see what the socket has received meanwhile, such as its end.
            tokio::task::yield_now().await;
            if live.is_usable() {
                return Ok(live);
            }
        }
        let connecting = async {
            let stream = self.connect(address).await?;
            conn::Builder::new()
                .handshake(stream)
                .await
                .map_err(|error| network(format!("no HTTP with {}: {error}", address.authority)))
        };
        let (sender, connection) = match tokio::time::timeout(limit, connecting).await {
            Ok(result) => result?,
            Err(_) => {
                return Err(Failure::new(
                    Code::Timeout,
                    Retry::Backoff,
                    format!(
                        "no connection to {} within {} s",
                        address.authority,
                        limit.as_secs_f32()
                    ),
                ))
            }
        };
        self.progress.restart();
        Ok(Live {
            sender,
            connection: Box::pin(connection),
            reused: false,
        })
    }

    /// Keeps a connection whose exchange is over for the next one.
    pub(super) fn put_back(&self, mut live: Live, authority: &str) {
        live.reused = true;
        if live.is_usable() {
            self.idle().push(Idle {
                live,
                authority: authority.to_owned(),
                since: Instant::now(),
            });
        }
    }

    fn take_idle(&self, authority: &str) -> Option<Live> {
        let mut idle = self.idle();
        idle.retain(|kept| kept.since.elapsed() < KEEP_IDLE);
        let index = idle.iter().position(|kept| kept.authority == authority)?;
        Some(idle.swap_remove(index).live)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self, address: &Address) -> Result<Stream, Failure> {
        let addresses = self
            .resolver
            .lookup(&address.host, address.port)
            .await
            .map_err(|error| network(format!("can't look up {}: {error}", address.host)))?;
        let tcp = connect_any(addresses)
            .await
            .map_err(|error| network(format!("can't connect to {}: {error}", address.authority)))?;
        // Every write is a whole message or a large part of one.
        tcp.set_nodelay(true)
            .map_err(|error| network(format!("no socket to {}: {error}", address.authority)))?;
        let socket = Socket {
            tcp,
            progress: self.progress.clone(),
        };
        if !address.https {
            return Ok(Stream::Plain(socket));
        }
        let stream = self
            .tls()?
            .connect(&address.host, socket)
            .await
            .map_err(|error| network(tls_text(&address.authority, &error.to_string())))?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    fn tls(&self) -> Result<&tokio_native_tls::TlsConnector, Failure> {
        self.tls.get_or_try_init(|| {
            let mut builder = native_tls::TlsConnector::builder();
            builder.min_protocol_version(Some(Protocol::Tlsv12));
            if let Some(pem) = &self.extra_authorities {
                for certificate in native_tls::Certificate::stack_from_pem(pem).map_err(no_tls)? {
                    builder.add_root_certificate(certificate);
                }
            }
            Ok(builder.build().map_err(no_tls)?.into())
        })
    }
}

impl Live {
    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(&mut self, request: Request<Body>) -> hyper::Result<Response<Body>> {
        let mut answer = Box::pin(self.sender.send_request(request));
        let connection = &mut self.connection;
        let mut ended = false;
        std::future::poll_fn(move |cx| {
            // The connection first: it fills the answer.
            if !ended {
                ended = connection.as_mut().poll(cx).is_ready();
            }
            answer.as_mut().poll(cx)
        })
        .await
    }

    /// Drives the connection on, for the body of an answer that is being read.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        // How it ends is seen by whoever reads from it.
        let _ = self.connection.as_mut().poll(cx);
    }

    /// Whether the other side has not closed it and the last exchange is complete.
    fn is_usable(&mut self) -> bool {
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        self.connection.as_mut().poll(&mut cx).is_pending() && self.sender.poll_ready(&mut cx).is_ready()
    }
}

/// Connects to the first address that answers. The next one is tried as soon as one fails, or does
/// not answer soon.
async fn connect_any(addresses: Vec<std::net::SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        attempts.extend(waiting.next().map(TcpStream::connect));
        let patience = if waiting.len() > 0 {
            NEXT_ADDRESS
        } else {
            Duration::MAX
        };
        match tokio::time::timeout(patience, attempts.next()).await {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(error))) => last = error,
            Ok(None) => return Err(last),
            Err(_) => {}
        }
    }
}

fn network(text: String) -> Failure {
    Failure::new(Code::Network, Retry::Backoff, text)
}

fn tls_text(authority: &str, error: &str) -> String {
    let advice = match error.contains("certificate verify failed") {
        true => "; an authority that this machine does not know goes into the option CAFile",
        false => "",
    };
    format!("no TLS with {authority}: {error}{advice}")
}

fn no_tls(error: native_tls::Error) -> Failure {
    Failure::new(Code::Config, Retry::Never, format!("TLS can't be used: {error}"))
}

/// A TCP connection that counts what it moves.
pub(super) struct Socket {
    tcp: TcpStream,
    progress: Progress,
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
            Poll::Ready(_) => self.progress.moved(buffer.filled().len() - before),
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
            self.progress.moved(written);
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
    Tls(Box<TlsStream<Socket>>),
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
