//! Servers that no handshake comes to its end with.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// TLS 1.1.
const VERSION: [u8; 2] = [3, 2];
/// Ciphers of TLS 1.1 that such a server has.
const CIPHERS: [u16; 6] = [0xc014, 0xc013, 0xc00a, 0xc009, 0x0035, 0x002f];

/// Answers as a server that knows TLS 1.1 at most: with a ServerHello of that version, or with an alert where
/// the client has none of its ciphers. The client has to go then.
pub async fn refuse<T>(mut stream: TcpStream) -> io::Result<T> {
    let mut record = [0; 5];
    stream.read_exact(&mut record).await?;
    let mut hello = vec![0; usize::from(u16::from_be_bytes([record[3], record[4]]))];
    stream.read_exact(&mut hello).await?;
    let answer = match cipher(&hello) {
        Some(cipher) => {
            let mut body = Vec::from(VERSION);
            body.extend([0x5a; 32]);
            body.push(0);
            body.extend(cipher.to_be_bytes());
            body.push(0);
            let length = body.len() as u8;
            let mut record = vec![22, VERSION[0], VERSION[1], 0, length + 4, 2, 0, 0, length];
            record.extend(body);
            record
        }
        None => vec![21, VERSION[0], VERSION[1], 0, 2, 2, 40],
    };
    stream.write_all(&answer).await?;
    let _ = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut hello)).await;
    Err(io::Error::other("TLS 1.1 only"))
}

/// Reads what the client says, until it goes.
pub async fn stay_silent<T>(mut stream: TcpStream) -> io::Result<T> {
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Err(io::Error::other("silent"))
}

/// A cipher of TLS 1.1 that the client has, too.
fn cipher(hello: &[u8]) -> Option<u16> {
    // Type (1), length (3), version (2), random (32), then the session and the list of ciphers.
    let session = usize::from(*hello.get(38)?);
    let rest = hello.get(39 + session..)?;
    let length = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
    let offered = rest.get(2..2 + length)?;
    let mut offered = offered
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    offered.find(|cipher| CIPHERS.contains(cipher))
}
