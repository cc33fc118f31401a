//! Transfers that are slow, and move.

use super::*;

/// What waits in the kernel to be sent has not moved: a slow upload moves all the time.
#[test]
fn a_slow_upload_is_no_stall() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    socket2::SockRef::from(&listener)
        .set_recv_buffer_size(32 * 1024)
        .unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let (mut buffer, mut seen) = (vec![0; 40_000], 0);
        while seen < 1_000_000 {
            seen += stream.read(&mut buffer).unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        let _ = stream.read(&mut buffer);
    });
    let (server, _) = scripted(vec![]);
    let store = open(
        &server,
        &[("Host", &host), ("Retries", "0"), ("ReadTimeout", "1.5")],
    );
    put(&store, &content(1_000_000)).unwrap();
}
