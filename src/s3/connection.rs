//! Connections to the server: made within a time limit, kept for the next request.
//!
//! A connection is driven by the request that uses it. Between two calls nothing runs, and a
//! request that ends early takes its connection with it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use hyper::client::conn::{self, Connection, SendRequest};
use hyper::{Body, Request, Response};
use native_tls::Protocol;
use once_cell::sync::OnceCell;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::buffered::Buffered;
use super::outcome::{Failure, Retry};
use super::progress::{Progress, Stage};
use super::proxy;
use super::resolve::Resolver;
use super::stream::{Socket, Stream};
use crate::config::{Address, Config, Mask, Proxy};
use crate::error::{seconds, Code};
use crate::process::check_descriptors;

/// S3 closes idle connections after about 20 s.
const KEEP_IDLE: Duration = Duration::from_secs(12);
/// What a new connection takes: its socket, and files that are read meanwhile.
const SPARE_DESCRIPTORS: usize = 4;
/// Bytes that may wait in the kernel to be sent.
#[cfg(target_os = "linux")]
const MOST_UNSENT: u32 = 128 * 1024;
/// When the next address of a name is tried beside the one that does not answer: RFC 8305.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// Makes and keeps the connections of one handle in one process.
pub(super) struct Connections {
    /// Bytes moved by the exchange under way; calls take turns.
    pub(super) progress: Progress,
    network: Network,
    proxy: Option<Proxy>,
    mask: Mask,
    /// PEM certificates trusted beside the system's.
    extra_authorities: Option<Vec<u8>>,
    idle: Mutex<Vec<Idle>>,
    /// The address of the last connection, until an exchange over it is complete: the next one goes elsewhere, if
    /// the name has other addresses.
    unproven: Mutex<Option<SocketAddr>>,
}

/// What the connections of several threads share: looking up a name once is enough, and so is reading
/// the system's certificate authorities.
#[derive(Clone, Default)]
pub struct Network {
    resolver: Resolver,
    tls: Arc<OnceCell<tokio_native_tls::TlsConnector>>,
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
    /// Whether the connection is over: it must not be driven any more.
    ended: bool,
}

impl Connections {
    /// As the configuration says: through its proxy, with its authorities.
    pub(super) fn new(config: &Config, network: &Network) -> Self {
        Connections {
            network: network.clone(),
            proxy: config.proxy.clone(),
            mask: config.mask.clone(),
            extra_authorities: config.extra_authorities.clone(),
            ..Connections::direct()
        }
    }

    /// Without a proxy, with the system's authorities.
    pub(super) fn direct() -> Self {
        Connections {
            proxy: None,
            mask: Mask::default(),
            extra_authorities: None,
            progress: Progress::new(),
            network: Network::default(),
            idle: Mutex::new(Vec::new()),
            unproven: Mutex::new(None),
        }
    }

    /// Whether a request to this address is one to the proxy, with the whole URL in it; https goes
    /// through a tunnel.
    pub(super) fn asks_proxy(&self, address: &Address) -> bool {
        self.proxy.is_some() && !address.https
    }

    /// A kept connection if there is one that still lives, else a new one.
    pub(super) async fn take(
        &self,
        address: &Address,
        fresh: bool,
        limit: Duration,
    ) -> Result<Live, Failure> {
        self.progress.enter(Stage::Connecting);
        if fresh {
            self.idle().clear();
        }
        while let Some(mut live) = self.take_idle(&address.authority) {
            // Lets the runtime see what the socket has received meanwhile, such as its end.
            tokio::task::yield_now().await;
            if live.is_usable() {
                self.progress.enter_kept();
                return Ok(live);
            }
        }
        if let Err(error) = check_descriptors(SPARE_DESCRIPTORS) {
            // It says nothing about the server.
            self.progress.enter(Stage::Begun);
            return Err(network(format!(
                "no connection to {}: {error}",
                address.authority
            )));
        }
        if address.https {
            // Reading the system's authorities takes long on a busy machine, and is not the server's fault.
            self.tls()?;
        }
        let connecting = async {
            let stream = self.connect(address, limit).await?;
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
                    format!("no connection to {} within {}", address.authority, seconds(limit)),
                ))
            }
        };
        self.progress.enter(Stage::Waiting);
        Ok(Live {
            sender,
            connection: Box::pin(connection),
            reused: false,
            ended: false,
        })
    }

    /// Keeps a connection whose exchange is over for the next one.
    pub(super) fn put_back(&self, mut live: Live, authority: &str) {
        live.reused = true;
        *self.unproven() = None;
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

    fn unproven(&self) -> std::sync::MutexGuard<'_, Option<SocketAddr>> {
        self.unproven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self, address: &Address, limit: Duration) -> Result<Stream, Failure> {
        let (host, port) = match &self.proxy {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (&address.host, address.port),
        };
        let via = self.proxy.as_ref().map_or("", |_| "the proxy ");
        let mut addresses = self.network.resolver.lookup(host, port).await.map_err(|error| {
            if error.raw_os_error().is_some() {
                // This machine has no thread left for it: that says nothing about the server.
                self.progress.enter(Stage::Begun);
            }
            network(format!("can't look up {via}{host}: {error}"))
        })?;
        if let Some(unproven) = *self.unproven() {
            // The others in their order, it last.
            addresses.sort_by_key(|address| *address == unproven);
        }
        let tcp = connect_any(addresses, limit)
            .await
            .map_err(|error| network(format!("can't connect to {via}{host}:{port}: {error}")))?;
        *self.unproven() = tcp.peer_addr().ok();
        // Every write is a whole message or a large part of one.
        tcp.set_nodelay(true)
            .map_err(|error| network(format!("no socket to {via}{host}:{port}: {error}")))?;
        // What waits in the kernel to be sent looks like moved: a slow upload would seem to stall. It is
        // no bound for what is on its way.
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(&tcp).set_tcp_notsent_lowat(MOST_UNSENT);
        let mut socket = Socket::new(tcp, self.progress.clone());
        if !address.https {
            return Ok(Stream::Plain(socket));
        }
        if let Some(proxy) = &self.proxy {
            proxy::open_tunnel(&mut socket, proxy, address, &self.mask).await?;
        }
        let stream = self
            .tls()?
            .connect(&address.host, Buffered::new(socket))
            .await
            .map_err(|error| no_handshake(&address.authority, &error.to_string()))?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    fn tls(&self) -> Result<&tokio_native_tls::TlsConnector, Failure> {
        self.network.tls.get_or_try_init(|| {
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
        let (connection, ended) = (&mut self.connection, &mut self.ended);
        std::future::poll_fn(move |cx| {
            // The connection first: it fills the answer.
            if !*ended {
                *ended = connection.as_mut().poll(cx).is_ready();
            }
            answer.as_mut().poll(cx)
        })
        .await
    }

    /// Drives the connection on, for the body of an answer that is being read.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        // How it ends is seen by whoever reads from it.
        if !self.ended {
            self.ended = self.connection.as_mut().poll(cx).is_ready();
        }
    }

    /// Whether the other side has not closed it and the last exchange is complete.
    fn is_usable(&mut self) -> bool {
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        self.drive(&mut cx);
        !self.ended && self.sender.poll_ready(&mut cx).is_ready()
    }
}

/// Connects to the first address that answers. The next one is tried as soon as one fails, or does
/// not answer soon, so that each has its turn within the limit.
async fn connect_any(addresses: Vec<SocketAddr>, limit: Duration) -> io::Result<TcpStream> {
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let next_address = NEXT_ADDRESS.min(limit / 2 / count);
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        attempts.extend(waiting.next().map(TcpStream::connect));
        let patience = if waiting.len() > 0 {
            next_address
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

fn no_handshake(authority: &str, error: &str) -> Failure {
    let plain = error.contains("wrong version number") || error.contains("packet length too long");
    let advice = if error.contains("unable to get") || error.contains("self-signed certificate") {
        "; an authority that this machine does not know goes into the option CAFile"
    } else if plain {
        "; it may be a server without TLS: Host => 'http://...'"
    } else if error.contains("unsupported protocol") || error.contains("protocol version") {
        "; the server has no TLS 1.2 or later"
    } else {
        ""
    };
    let retry = if plain { Retry::Never } else { Retry::Backoff };
    Failure::new(
        Code::Network,
        retry,
        format!("no TLS with {authority}: {}{advice}", reason(error)),
    )
}

fn no_tls(error: native_tls::Error) -> Failure {
    Failure::new(Code::Config, Retry::Never, format!("TLS can't be used: {error}"))
}

/// OpenSSL's errors are `error:NUMBER:LIBRARY:FUNCTION:REASON:FILE:LINE:MORE`.
fn reason(error: &str) -> String {
    let parts: Vec<&str> = error.splitn(8, ':').map(str::trim).collect();
    match parts.as_slice() {
        ["error", _, _, _, reason, _, _, ""] => reason.to_string(),
        ["error", _, _, _, reason, _, _, more] => format!("{reason} {more}"),
        _ => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_openssl_says_is_readable() {
        let failed = "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:../ssl/statem/statem_clnt.c:1889:";
        for (said, shown) in [
            (
                format!("{failed} (hostname mismatch)"),
                "certificate verify failed (hostname mismatch)",
            ),
            (failed.to_owned(), "certificate verify failed"),
            ("unexpected EOF".to_owned(), "unexpected EOF"),
            ("error: 1:2".to_owned(), "error: 1:2"),
        ] {
            assert_eq!(reason(&said), shown);
        }
    }

    /// Addresses that swallow all that is sent to them: their queues are full.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn each_of_many_addresses_has_its_turn() {
        use socket2::{Domain, Socket as Raw, Type};
        let tcp = || Raw::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let alive = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let alive_at = alive.local_addr().unwrap();
        let mut held = Vec::new();
        let mut addresses = Vec::new();
        for number in 2..14 {
            let address = SocketAddr::from(([127, 0, 0, number], alive_at.port()));
            let deaf = tcp();
            deaf.bind(&address.into()).unwrap();
            deaf.listen(0).unwrap();
            held.push(deaf);
            for _ in 0..3 {
                let waiting = tcp();
                waiting.set_nonblocking(true).unwrap();
                let _ = waiting.connect(&address.into());
                held.push(waiting);
            }
            addresses.push(address);
        }
        addresses.push(alive_at);
        let limit = Duration::from_secs(1);
        let stream = tokio::time::timeout(limit, connect_any(addresses, limit)).await;
        assert_eq!(stream.unwrap().unwrap().peer_addr().unwrap(), alive_at);
    }
}
