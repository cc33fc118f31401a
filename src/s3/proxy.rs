//! Going through an HTTP proxy: CONNECT for https; for http the proxy is asked for the whole URL.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::outcome::{Failure, Retry};
use super::stream::Socket;
use crate::config::{Address, Mask, Proxy};
use crate::error::{quoted, Code};

const LONGEST_HEAD: usize = 16 * 1024;

/// Asks the proxy for a tunnel to the server. What it says goes through `mask`.
pub(super) async fn open_tunnel(
    socket: &mut Socket,
    proxy: &Proxy,
    address: &Address,
    mask: &Mask,
) -> Result<(), Failure> {
    let host = match address.host.contains(':') {
        true => format!("[{}]:{}", address.host, address.port),
        false => format!("{}:{}", address.host, address.port),
    };
    let authorization = proxy.authorization.as_ref().map_or(String::new(), |value| {
        format!("Proxy-Authorization: {}\r\n", value.reveal())
    });
    let request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n");
    let broken = |error: std::io::Error| failed(proxy, &format!("the connection broke: {error}"));
    socket.write_all(request.as_bytes()).await.map_err(broken)?;
    // Byte by byte: what follows the head belongs to TLS.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > LONGEST_HEAD {
            return Err(failed(proxy, "its answer is too long"));
        }
        head.push(socket.read_u8().await.map_err(broken)?);
    }
    let head = String::from_utf8_lossy(&head);
    let line = head.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some(status) if line.starts_with("HTTP/1.") && status.len() == 3 && status.starts_with('2') => Ok(()),
        Some("407") => Err(Failure {
            retry: Retry::Never,
            ..failed(
                proxy,
                "it wants a user and a password that are right: Proxy => 'http://user:password@host'",
            )
        }),
        _ => Err(failed(
            proxy,
            &format!("no tunnel to {host}: it answers {}", quoted(&mask.apply(line))),
        )),
    }
}

fn failed(proxy: &Proxy, what: &str) -> Failure {
    let text = format!("the proxy {}:{}: {what}", proxy.host, proxy.port);
    Failure::new(Code::Network, Retry::Backoff, text)
}
