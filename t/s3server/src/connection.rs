//! Connections: accepted, taken through TLS, served with HTTP/1.1, and ended in the way that a rule wants.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::faults::How;
use crate::service::Server;
use crate::tls::Tls;
use crate::wire::{Control, Wire};

/// Bytes that the kernel keeps of what a connection did not read: little, so that a client notices a server
/// that does not read. Linux takes twice as much.
const RECEIVE_BUFFER: u32 = 128 * 1024;
/// How long a connection that is closed on our side waits for the client to close its own.
const LINGER: Duration = Duration::from_secs(30);

/// Listens on a port of this machine; 0: any free one.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind((std::net::Ipv4Addr::LOCALHOST, port).into())?;
    socket.listen(1024)
}

/// Accepts until the process ends.
pub async fn accept(listener: TcpListener, tls: Option<Tls>, server: Arc<Server>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => _ = tokio::spawn(connection(stream, tls.clone(), Arc::clone(&server))),
            Err(error) => {
                eprintln!("s3server: accept: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<Tls>, server: Arc<Server>) {
    let id = server.log.connection(tls.is_some());
    // Head and body of an answer may go out in two segments: Nagle would hold back the second one.
    let _ = stream.set_nodelay(!server.nagle);
    let error = match stream.as_fd().try_clone_to_owned() {
        Err(error) => Some(error.to_string()),
        Ok(socket) => match tls {
            None => serve(stream, socket.into(), id, &server).await,
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => serve(stream, socket.into(), id, &server).await,
                Err(error) => Some(error.to_string()),
            },
        },
    };
    server.log.closed(id, error);
}

/// Serves a stream; `socket` is what is below it.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    socket: std::net::TcpStream,
    id: u64,
    server: &Arc<Server>,
) -> Option<String> {
    let control = Control::default();
    let wire = Wire::new(stream, control.clone());
    let service = service_fn(|request| Arc::clone(server).answer(id, control.clone(), request));
    let mut served = Box::pin(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(wire), service),
    );
    let how = tokio::select! {
        biased;
        result = &mut served => return result.err().map(|error| error.to_string()),
        how = control.broken() => how,
    };
    let ended = async {
        let mut socket = TcpStream::from_std(socket)?;
        match how {
            How::Stall => is_closed(&socket).await?,
            How::Reset => {
                socket.set_zero_linger()?;
                drop(served);
            }
            How::Close => {
                let socket_std = socket.into_std()?;
                socket_std.shutdown(Shutdown::Write)?;
                socket = TcpStream::from_std(socket_std)?;
                drop(served);
                // Bytes that nobody reads would make a reset of it.
                let mut sink = [0; 16 * 1024];
                let _ = tokio::time::timeout(LINGER, async {
                    while socket.read(&mut sink).await.is_ok_and(|read| read > 0) {}
                })
                .await;
            }
        }
        Ok::<_, io::Error>(())
    };
    let error = ended.await.err();
    Some(error.map_or_else(|| format!("{} by a rule", how.name()), |error| error.to_string()))
}

/// Waits for the client to close; what it sent is not read.
async fn is_closed(socket: &TcpStream) -> io::Result<()> {
    while !socket.ready(Interest::READABLE).await?.is_read_closed() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
