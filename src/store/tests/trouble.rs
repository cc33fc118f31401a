//! Answers that are broken, late, or none.

use std::time::Instant;

use super::*;

/// Whoever answers so can't have the content.
#[test]
fn success_before_the_content_was_sent_is_none() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap();
            let answer: &[u8] = match &head[..read.min(4)] {
                b"HEAD" => b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 0\r\n\r\n",
            };
            stream.write_all(answer).unwrap();
            kept.push(stream);
        }
    });
    let (server, _) = scripted(vec![]);
    let store = open(
        &server,
        &[("Host", &host), ("Retries", "0"), ("ReadTimeout", "2")],
    );
    let failed = put(&store, &content(30_000_000)).unwrap_err();
    assert_eq!(failed.code(), Code::Server, "{failed}");
    assert!(
        failed.message().contains("before the whole content was sent"),
        "{failed}"
    );
}

#[test]
fn damage_on_the_way_is_read_again_on_a_fresh_connection() {
    let object = content(1000);
    let (server, store) = scripted(vec![Some(answer(200, "ETag: \"1\"\r\n", &[7; 1000]))]);
    server.state().objects.insert(path(&object.0), object.1.clone());
    assert!(get(&store, &object.0).unwrap() == object.1);

    server.state().objects.insert(path(&object.0), b"short".to_vec());
    let failed = get(&store, &object.0).unwrap_err();
    assert_eq!(failed.code(), Code::Corrupt);
    assert!(failed.message().contains("its 5 bytes"), "{failed}");
    let state = server.state();
    let last: Vec<_> = state
        .requests
        .iter()
        .rev()
        .take(2)
        .map(|seen| seen.connection)
        .collect();
    assert_ne!(last[0], last[1]);
}

#[test]
fn broken_and_senseless_answers_are_tried_again() {
    let object = content(1000);
    let truncated = answer(200, "ETag: \"1\"\r\n", &object.1)[..500].to_vec();
    for bad in [
        b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: abc\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec(),
        b"HTTP/1.1 200 OK\r\nETag: \"\xe4\"\r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\nContent-Length: 1\r\n\r\nx".to_vec(),
        answer(
            200,
            &format!("ETag: \"1\"\r\nx-long: {}\r\n", "x".repeat(1_000_000)),
            b"",
        ),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx".to_vec(),
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        b"".to_vec(),
        truncated,
        error(500, "InternalError"),
        error(400, "RequestTimeout"),
        error(503, "SlowDown"),
    ] {
        let (server, store) = scripted(vec![Some(bad.clone())]);
        server.state().objects.insert(path(&object.0), object.1.clone());
        let shown = String::from_utf8_lossy(&bad).into_owned();
        assert!(get(&store, &object.0).expect(&shown) == object.1);
        assert_eq!(server.methods(), ["GET", "GET"], "{shown}");
    }
}

#[test]
fn headers_that_rusoto_can_not_parse_do_no_harm() {
    let object = content(10);
    let headers = "ETag: \"1\"\r\nx-amz-mp-parts-count: many\r\nx-amz-missing-meta: x\r\nx-amz-delete-marker: maybe\r\nx-amz-server-side-encryption-bucket-key-enabled: y\r\nx-amz-tagging-count: -\r\nx-amz-meta-a: ä\r\n";
    let (_server, store) = scripted(vec![
        Some(answer(200, headers, &object.1)),
        Some(answer(200, headers, b"")),
    ]);
    assert!(get(&store, &object.0).unwrap() == object.1);
    put(&store, &object).unwrap();
}

#[test]
fn a_chunked_object_of_unknown_length_is_read() {
    let object = content(300_000);
    let mut chunked = b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in object.1.chunks(7001) {
        chunked.extend(format!("{:x}\r\n", piece.len()).bytes());
        chunked.extend([piece, b"\r\n"].concat());
    }
    chunked.extend(b"0\r\n\r\n");
    let (_server, store) = scripted(vec![Some(chunked)]);
    assert!(get(&store, &object.0).unwrap() == object.1);
}

#[test]
fn missing_denied_and_foreign_are_told_apart() {
    let key = Key::of(b"x");
    for (given, code) in [
        (error(404, "NoSuchKey"), Code::NotFound),
        (error(404, "NoSuchBucket"), Code::NoBucket),
        (error(403, "AccessDenied"), Code::Denied),
        (error(403, "SignatureDoesNotMatch"), Code::Credentials),
        (
            answer(404, "Content-Type: text/html\r\n", b"<html>not found</html>"),
            Code::Server,
        ),
        (answer(302, "Location: http://elsewhere/\r\n", b""), Code::Server),
    ] {
        let (server, store) = scripted(vec![Some(given)]);
        let failed = get(&store, &key).unwrap_err();
        assert_eq!(failed.code(), code, "{failed}");
        assert_eq!(server.methods(), ["GET"], "tried once");
        assert!(failed.message().contains("bucket files at 127.0.0.1"), "{failed}");
        assert!(!failed.message().contains("TOPSECRET") && !failed.message().contains('\n'));
        assert!(!store.is_proven());
    }
}

#[test]
fn an_outage_is_an_error_in_time() {
    // Nothing listens there: the listener is gone.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (server, _) = scripted(vec![]);
    let store = open(
        &server,
        &[
            ("Host", &format!("http://{free}")),
            ("Deadline", "1"),
            ("Retries", "20"),
        ],
    );
    let start = Instant::now();
    let failed = get(&store, &Key::of(b"x")).unwrap_err();
    assert_eq!(failed.code(), Code::Network);
    assert!(failed.message().contains("can't connect"), "{failed}");
    assert!(
        start.elapsed() < Duration::from_millis(1200),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_server_without_tls_is_named_at_once() {
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = plain.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in plain.incoming() {
            let mut stream = stream.unwrap();
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = std::io::Write::write_all(&mut stream, &answer(400, "", b"no TLS here"));
        }
    });
    let (server, _) = scripted(vec![]);
    let store = open(&server, &[("Host", host.as_str())]);
    let failed = get(&store, &Key::of(b"x")).unwrap_err();
    assert_eq!(failed.code(), Code::Network);
    assert!(
        failed.message().contains("Host => 'http://...'") && failed.message().contains("1 attempt"),
        "{failed}"
    );
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    // Accepts and never reads: the backlog takes the connection.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", silent.local_addr().unwrap());
    let (server, _) = scripted(vec![]);
    for (given, bound) in [
        ([("ReadTimeout", "0.3"), ("Retries", "1")], 1.5),
        ([("Deadline", "0.5"), ("Retries", "9")], 0.7),
    ] {
        for object in [content(10), content(30_000_000)] {
            let store = open(&server, &[&[("Host", host.as_str())][..], &given].concat());
            let start = Instant::now();
            let failed = put(&store, &object).unwrap_err();
            assert_eq!(failed.code(), Code::Timeout, "{failed}");
            let hashing = Duration::from_secs(2) * u32::from(object.1.len() > 1000);
            assert!(
                start.elapsed() < Duration::from_secs_f64(bound) + hashing,
                "{:?}",
                start.elapsed()
            );
        }
    }
}

#[test]
fn retries_are_attempts_after_the_first() {
    for (retries, attempts) in [("0", 1), ("2", 3)] {
        let server = Server::with(|_, _| Some(error(500, "InternalError")));
        let store = open(&server, &[("Retries", retries)]);
        let failed = get(&store, &Key::of(b"x")).unwrap_err();
        assert_eq!(failed.code(), Code::Server);
        assert_eq!(server.methods().len(), attempts);
    }
}

/// The connection is made, but TLS never begins.
#[test]
fn connecting_is_bounded_and_tls_is_part_of_it() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("https://{}", silent.local_addr().unwrap());
    let (server, _) = scripted(vec![]);
    let store = open(
        &server,
        &[
            ("Host", host.as_str()),
            ("ConnectTimeout", "0.3"),
            ("Retries", "0"),
        ],
    );
    let start = Instant::now();
    let failed = get(&store, &Key::of(b"x")).unwrap_err();
    assert_eq!(failed.code(), Code::Timeout, "{failed}");
    assert!(failed.message().contains("within 0.3 s"), "{failed}");
    assert!(
        (0.3..3.0).contains(&start.elapsed().as_secs_f64()),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn the_last_message_says_what_came_before_the_deadline() {
    let server = Server::with({
        let mut first = true;
        move |_, _| {
            if std::mem::take(&mut first) {
                return Some(error(500, "InternalError"));
            }
            std::thread::sleep(Duration::from_secs(5));
            None
        }
    });
    let store = open(&server, &[("Deadline", "0.8")]);
    let failed = get(&store, &Key::of(b"x")).unwrap_err();
    assert_eq!(failed.code(), Code::Timeout);
    assert!(
        failed.message().contains("before that: InternalError"),
        "{failed}"
    );
}

#[test]
fn a_body_that_stalls_is_given_up_and_one_that_moves_is_not() {
    let object = content(6000);
    let slow = |pause: u64, piece: usize| {
        let body = object.1.clone();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes());
                for piece in body.chunks(piece) {
                    std::thread::sleep(Duration::from_millis(pause));
                    if stream.write_all(piece).is_err() {
                        break;
                    }
                }
            }
        });
        host
    };
    let (server, _) = scripted(vec![]);
    // 10 bytes in 10 ms are less than 1 kB in 300 ms.
    let store = open(
        &server,
        &[("Host", &slow(10, 10)), ("ReadTimeout", "0.3"), ("Retries", "0")],
    );
    let start = Instant::now();
    let failed = get(&store, &object.0).unwrap_err();
    assert_eq!(failed.code(), Code::Timeout, "{failed}");
    assert!(
        failed.message().contains("less than 1 kB moved within 0.3 s"),
        "{failed}"
    );
    assert!(start.elapsed() < Duration::from_secs(2));
    // 600 bytes in 100 ms are enough, though the whole takes three ReadTimeouts.
    let store = open(&server, &[("Host", &slow(100, 600)), ("ReadTimeout", "0.3")]);
    assert!(get(&store, &object.0).unwrap() == object.1);
}

#[test]
fn a_connection_closed_between_calls_costs_no_attempt() {
    let object = content(10);
    let server = Server::with(|_, state| {
        // Answers like a server that keeps alive, and closes.
        let stored = state.objects.values().next()?;
        Some(answer(200, "ETag: \"1\"\r\n", stored))
    });
    server.state().objects.insert(path(&object.0), object.1.clone());
    let store = open(&server, &[("Retries", "0")]);
    for _ in 0..5 {
        assert!(get(&store, &object.0).unwrap() == object.1);
    }
}

#[test]
fn threads_take_turns() {
    let (server, store) = scripted(vec![]);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..20 {
                    let object = content(1000 * thread + round + 1);
                    put(store, &object).unwrap();
                    assert!(get(store, &object.0).unwrap() == object.1);
                }
            });
        }
    });
    assert!(server.state().requests.iter().all(|seen| seen.connection == 0));
}

/// The reader behind it never ends where XML is not well-formed.
#[test]
fn a_success_with_anything_but_xml_ends() {
    for body in [
        "<html>",
        "hello",
        "<a><b></a>",
        "",
        "<InitiateMultipartUploadResult><Upl",
    ] {
        let (_server, store) = scripted(vec![Some(answer(200, "", body.as_bytes())); 5]);
        let failed = store.probe(Some(Duration::from_secs(2))).unwrap_err();
        assert_eq!(failed.code(), Code::Server, "{body}: {failed}");
    }
}

/// A gateway that strips ETag: the digest proves the content. A portal's page proves nothing.
#[test]
fn an_object_without_an_etag_is_read() {
    let object = content(1000);
    for headers in ["", "ETag: \"\u{e4}\"\r\n"] {
        let (_server, store) = scripted(vec![Some(answer(200, headers, &object.1))]);
        assert!(get(&store, &object.0).unwrap() == object.1);
    }
    let (_server, store) = scripted(vec![Some(answer(200, "", b"<html>welcome</html>")); 5]);
    let failed = get(&store, &object.0).unwrap_err();
    assert_eq!(failed.code(), Code::Server, "{failed}");
}
