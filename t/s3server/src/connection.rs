//! Connections: accepted, taken through TLS, served with HTTP/1.1.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::service::Server;

/// Accepts until the process ends.
pub async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, server: Arc<Server>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => _ = tokio::spawn(connection(stream, tls.clone(), Arc::clone(&server))),
            Err(error) => {
                eprintln!("s3server: accept: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, server: Arc<Server>) {
    let id = server.log.connection(tls.is_some());
    // Head and body of an answer may go out in two segments: Nagle would hold back the second one.
    let _ = stream.set_nodelay(true);
    let error = match tls {
        None => serve(stream, id, &server).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => serve(stream, id, &server).await,
            Err(error) => Some(error.to_string()),
        },
    };
    server.log.closed(id, error);
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, id: u64, server: &Arc<Server>) -> Option<String> {
    let raw = RawAnswer::default();
    let wire = Wire {
        stream,
        raw: raw.clone(),
        written: 0,
    };
    let service = service_fn(|request| Arc::clone(server).answer(id, raw.clone(), request));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(wire), service)
        .await;
    served.err().map(|error| error.to_string())
}

/// Bytes to put on the wire in place of what hyper writes: an answer that hyper would refuse to make.
#[derive(Clone, Default)]
pub struct RawAnswer(Arc<Mutex<Option<Vec<u8>>>>);

impl RawAnswer {
    /// From now on nothing but these bytes is written.
    pub fn set(&self, bytes: Vec<u8>) {
        *self.0.lock().expect("raw answer") = Some(bytes);
    }
}

struct Wire<S> {
    stream: S,
    raw: RawAnswer,
    written: usize,
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Ready(true) when the raw answer is out, Ready(false) when there is none.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let raw = self.raw.0.lock().expect("raw answer");
        let Some(bytes) = raw.as_deref() else {
            return Poll::Ready(Ok(false));
        };
        while let Some(rest) = bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            self.written += ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
        }
        Poll::Ready(Ok(true))
    }
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
        if ready!(self.poll_raw(cx))? {
            return Poll::Ready(Ok(data.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if ready!(self.poll_raw(cx))? {
            return Poll::Ready(Ok(data.iter().map(|slice| slice.len()).sum()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
