//! Store, Get and Delete against a server that may do anything; each test looks into the bucket.

use std::time::Instant;

use super::*;
use crate::s3::testing::{answer, error, Seen, Server, State};

const IF_NEW: &str = "PUT if-none-match:*";

pub(super) fn open(server: &Server, given: &[(&str, &str)]) -> Store {
    let fixed = [
        ("Bucket", "files"),
        ("Host", server.host.as_str()),
        ("AccessKeyId", "ID"),
        ("SecretAccessKey", "TOPSECRET"),
    ];
    let fixed = fixed
        .into_iter()
        .filter(|(name, _)| !given.iter().any(|(given, _)| given == name));
    let (config, mistakes) = Config::parse(fixed.chain(given.iter().copied())).unwrap();
    Store::new(config, mistakes)
}

/// A store whose server answers the first requests as `script` says, `None`: as a bucket does.
fn scripted(script: Vec<Option<Vec<u8>>>) -> (Server, Store) {
    let mut script = script.into_iter();
    let server = Server::with(move |_: &Seen, _: &mut State| script.next().flatten());
    let store = open(&server, &[]);
    (server, store)
}

pub(super) fn content(size: usize) -> (Key, Vec<u8>) {
    let content: Vec<u8> = (0..size as u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(size)
        .collect();
    (Key::of(&content), content)
}

fn path(key: &Key) -> String {
    format!("/files/{key}")
}

pub(super) fn put(store: &Store, (key, content): &(Key, Vec<u8>)) -> Result<()> {
    store.store(key, content, None, None)
}

impl Output for Vec<u8> {
    fn reserve(&mut self, size: usize) -> bool {
        self.resize(size, 0);
        true
    }

    fn write(&mut self, offset: usize, piece: &[u8]) {
        self[offset..offset + piece.len()].copy_from_slice(piece);
    }
}

pub(super) fn get(store: &Store, key: &Key) -> Result<Vec<u8>> {
    let mut output = Vec::new();
    let size = store.get(key, &mut output, None)?;
    output.truncate(size as usize);
    Ok(output)
}

pub(super) fn assert_stored(server: &Server, (key, content): &(Key, Vec<u8>)) {
    assert!(
        server.state().objects.get(&path(key)) == Some(content),
        "not stored whole"
    );
}

fn warnings(store: &Store) -> Vec<String> {
    std::iter::from_fn(|| store.next_message())
        .filter(|message| message.level == Level::Warning)
        .map(|message| message.text)
        .collect()
}

#[test]
fn small_content_takes_one_round_trip_and_one_connection() {
    let (server, store) = scripted(vec![]);
    for size in [0, 1, 10_000, ASK_FIRST] {
        let object = content(size);
        put(&store, &object).unwrap();
        assert_stored(&server, &object);
        assert!(get(&store, &object.0).unwrap() == object.1);
    }
    assert_eq!(
        server.methods(),
        [IF_NEW, "GET", IF_NEW, "GET", IF_NEW, "GET", IF_NEW, "GET"]
    );
    assert!(server.state().requests.iter().all(|seen| seen.connection == 0));
    let state = server.state();
    let first = &state.requests[0];
    assert_eq!(first.header("x-amz-content-sha256"), Key::of(b"").hex());
    assert!(!first.headers.keys().any(|name| name.contains("acl")));
}

#[test]
fn large_content_is_asked_for_first() {
    let (server, store) = scripted(vec![]);
    let object = content(ASK_FIRST + 1);
    put(&store, &object).unwrap();
    assert_stored(&server, &object);
    put(&store, &object).unwrap();
    assert_eq!(server.methods(), ["HEAD", IF_NEW, "HEAD", "GET"]);
    assert!(get(&store, &object.0).unwrap() == object.1);
}

#[test]
fn content_that_is_not_its_key_is_not_sent() {
    let (server, store) = scripted(vec![]);
    let failed = store.store(&Key::of(b"a"), b"b", None, None).unwrap_err();
    assert_eq!(failed.code(), Code::Mismatch);
    assert!(failed.message().contains("nothing was sent"));
    assert_eq!(server.methods(), [""; 0]);
}

#[test]
fn a_duplicate_is_believed_only_when_whole() {
    for size in [1000, ASK_FIRST + 1] {
        let object = content(size);
        let mut flipped = object.1.clone();
        flipped[size / 2] ^= 1;
        let longer = [object.1.as_slice(), b"x"].concat();
        for damaged in [object.1[..size - 1].to_vec(), flipped, longer, Vec::new()] {
            let (server, store) = scripted(vec![]);
            server.state().objects.insert(path(&object.0), damaged);
            assert_eq!(get(&store, &object.0).unwrap_err().code(), Code::Corrupt);
            put(&store, &object).unwrap();
            assert_stored(&server, &object);
            assert_eq!(server.methods().last().unwrap(), "PUT");
            let warnings = warnings(&store);
            assert!(
                warnings.len() == 1 && warnings[0].contains("written over"),
                "{warnings:?}"
            );
        }
        let (server, store) = scripted(vec![]);
        server.state().objects.insert(path(&object.0), object.1.clone());
        put(&store, &object).unwrap();
        assert_eq!(server.methods().last().unwrap(), "GET", "read back, not written");
        assert_eq!(warnings(&store), [""; 0]);
    }
}

#[test]
fn gone_or_forbidden_after_412_is_written() {
    let object = content(1000);
    for second in [error(404, "NoSuchKey"), error(403, "AccessDenied")] {
        let (server, store) = scripted(vec![Some(error(412, "PreconditionFailed")), Some(second)]);
        put(&store, &object).unwrap();
        assert_stored(&server, &object);
        assert_eq!(server.methods(), [IF_NEW, "GET", "PUT"]);
    }
}

#[test]
fn no_right_to_ask_is_no_answer() {
    let object = content(ASK_FIRST + 1);
    let (server, store) = scripted(vec![Some(
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec(),
    )]);
    put(&store, &object).unwrap();
    assert_stored(&server, &object);
}

#[test]
fn a_conflict_is_tried_again() {
    let object = content(1000);
    let (server, store) = scripted(vec![Some(error(409, "ConditionalRequestConflict"))]);
    put(&store, &object).unwrap();
    assert_stored(&server, &object);
    assert_eq!(server.methods(), [IF_NEW, IF_NEW]);
}

#[test]
fn success_without_an_etag_is_none() {
    let object = content(1000);
    let (server, store) = scripted(vec![Some(answer(200, "", b""))]);
    put(&store, &object).unwrap();
    assert_stored(&server, &object);
    assert_eq!(server.methods(), [IF_NEW, IF_NEW]);

    let server = Server::with(|_, _| Some(answer(200, "", b"<html>welcome</html>")));
    let store = open(&server, &[("Retries", "1")]);
    let failed = put(&store, &object).unwrap_err();
    assert_eq!(failed.code(), Code::Server);
    assert!(
        failed.message().contains("without an ETag") && failed.message().contains("2 attempts"),
        "{failed}"
    );
    // An index page instead of the object is no damaged object either.
    assert_eq!(get(&store, &object.0).unwrap_err().code(), Code::Server);
}

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
fn a_server_that_ignores_the_condition_gets_the_same_bytes_again() {
    let object = content(1000);
    let server = Server::with(|seen, state| {
        (seen.method == "PUT").then(|| {
            state.objects.insert(seen.target.clone(), seen.body.clone());
            answer(200, "ETag: \"1\"\r\n", b"")
        })
    });
    let store = open(&server, &[]);
    server
        .state()
        .objects
        .insert(path(&object.0), b"damaged".to_vec());
    put(&store, &object).unwrap();
    assert_stored(&server, &object);
}

#[test]
fn a_server_that_refuses_the_condition_is_not_asked_twice() {
    let server = Server::with(|seen, _| {
        (!seen.header("if-none-match").is_empty()).then(|| error(501, "NotImplemented"))
    });
    let store = open(&server, &[]);
    for size in [1000, 2000] {
        let object = content(size);
        put(&store, &object).unwrap();
        assert_stored(&server, &object);
    }
    assert_eq!(server.methods(), [IF_NEW, "PUT", "PUT"]);
}

#[test]
fn a_refusal_of_everything_says_nothing_about_the_condition() {
    let (server, store) = scripted(vec![
        Some(error(501, "NotImplemented")),
        Some(error(501, "NotImplemented")),
    ]);
    let object = content(1000);
    assert_eq!(put(&store, &object).unwrap_err().code(), Code::Server);
    put(&store, &object).unwrap();
    assert_eq!(server.methods(), [IF_NEW, "PUT", IF_NEW]);
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
fn a_get_or_a_store_proves_the_bucket() {
    let (_server, store) = scripted(vec![]);
    assert!(!store.is_proven());
    put(&store, &content(3)).unwrap();
    assert!(store.is_proven());
}

#[test]
fn delete_of_what_is_not_there_is_success() {
    let object = content(1000);
    let (server, store) = scripted(vec![]);
    put(&store, &object).unwrap();
    store.delete(&object.0, None).unwrap();
    assert!(server.state().objects.is_empty());
    store.delete(&object.0, None).unwrap();
    let (_server, store) = scripted(vec![
        Some(error(404, "NoSuchKey")),
        Some(error(404, "NoSuchBucket")),
    ]);
    store.delete(&object.0, None).unwrap();
    assert_eq!(store.delete(&object.0, None).unwrap_err().code(), Code::NoBucket);
}

#[test]
fn head_says_size_and_kept_checksum() {
    let object = content(1000);
    let (server, store) = scripted(vec![]);
    assert_eq!(store.head(&object.0, None).unwrap_err().code(), Code::NotFound);
    put(&store, &object).unwrap();
    assert_eq!(
        store.head(&object.0, None).unwrap(),
        Head {
            size: 1000,
            checksum: None
        }
    );
    assert_eq!(
        server
            .state()
            .requests
            .last()
            .unwrap()
            .header("x-amz-checksum-mode"),
        "ENABLED"
    );
    let kept = base64::encode(object.0.as_bytes());
    let told = |kind: &str| {
        format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 1000\r\nx-amz-checksum-sha256: {kept}\r\nx-amz-checksum-type: {kind}\r\n\r\n")
    };
    let (_server, store) = scripted(vec![
        Some(told("FULL_OBJECT").into_bytes()),
        Some(told("COMPOSITE").into_bytes()),
    ]);
    assert_eq!(store.head(&object.0, None).unwrap().checksum, Some(object.0));
    assert_eq!(store.head(&object.0, None).unwrap().checksum, None);
}

#[test]
fn a_missing_bucket_is_made_on_demand_and_waited_for() {
    let object = content(10);
    let server = Server::with({
        let mut invisible = 2;
        move |seen, state| {
            let object = seen.target.matches('/').count() > 1;
            let hidden = object && !state.no_bucket && invisible > 0;
            invisible -= i32::from(hidden);
            hidden.then(|| error(404, "NoSuchBucket"))
        }
    });
    server.state().no_bucket = true;
    let store = open(&server, &[("Region", "eu-west-1")]);
    assert_eq!(put(&store, &object).unwrap_err().code(), Code::NoBucket);
    assert_eq!(store.probe(None).unwrap_err().code(), Code::NoBucket);
    store.create_bucket(None).unwrap();
    let made = server.state().requests.last().unwrap().clone();
    assert_eq!(made.target, "/files");
    assert!(
        String::from_utf8_lossy(&made.body).contains("<LocationConstraint>eu-west-1</LocationConstraint>")
    );
    assert_eq!(made.header("x-amz-content-sha256"), Key::of(&made.body).hex());
    put(&store, &object).unwrap();
    assert_stored(&server, &object);
}

#[test]
fn the_bucket_is_not_made_against_the_configuration() {
    let (server, _) = scripted(vec![]);
    let store = open(&server, &[("CreateBucket", "0")]);
    assert_eq!(store.create_bucket(None).unwrap_err().code(), Code::Config);
    let (server, store) = scripted(vec![
        Some(error(409, "BucketAlreadyExists")),
        Some(error(409, "BucketAlreadyOwnedByYou")),
    ]);
    assert!(store.create_bucket(None).is_err());
    store.create_bucket(None).unwrap();
    assert_eq!(
        server.state().requests[0].body,
        b"",
        "us-east-1 must not be named"
    );
}

#[test]
fn probing_leaves_nothing() {
    let (server, store) = scripted(vec![]);
    assert_eq!(store.probe(None).unwrap(), "options");
    assert_eq!(server.methods(), ["POST", "DELETE"]);
    assert!(server.state().requests[1].target.ends_with("?uploadId=7"));
    assert!(server.state().objects.is_empty());
    let (_server, store) = scripted(vec![Some(error(403, "AccessDenied"))]);
    assert_eq!(store.probe(None).unwrap_err().code(), Code::Denied);
}

#[test]
fn a_mistake_that_touches_what_is_written_stops_writing_only() {
    let object = content(10);
    let server = Server::start();
    server.state().objects.insert(path(&object.0), object.1.clone());
    let store = open(&server, &[("Prefix", "../")]);
    assert!(store.next_message().unwrap().text.contains("option Prefix"));
    assert!(get(&store, &object.0).unwrap() == object.1);
    for refused in [
        put(&store, &object),
        store.delete(&object.0, None),
        store.probe(None).map(drop),
        store.create_bucket(None),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::Config);
        assert!(refused.message().contains("option Prefix"));
    }
    assert_eq!(server.methods(), ["GET"]);
}

/// Options whose effect is seen by the server.
#[test]
fn options_on_the_wire() {
    let object = content(10);
    let server = Server::start();
    let store = open(
        &server,
        &[
            ("Prefix", "rt ä/"),
            ("Region", "eu-west-1"),
            ("SessionToken", "TOPTOKEN"),
        ],
    );
    store
        .store(&object.0, &object.1, Some("text/html"), None)
        .unwrap();
    let seen = server.state().requests[0].clone();
    assert_eq!(seen.target, format!("/files/rt%20%C3%A4/{}", object.0));
    assert_eq!(format!("http://{}", seen.header("host")), server.host);
    assert_eq!(seen.header("content-type"), "text/html");
    assert_eq!(seen.header("content-disposition"), "attachment");
    assert_eq!(seen.header("content-length"), "10");
    assert_eq!(seen.header("x-amz-security-token"), "TOPTOKEN");
    let authorization = seen.header("authorization");
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=ID/"),
        "{authorization}"
    );
    assert!(authorization.contains("/eu-west-1/s3/aws4_request,SignedHeaders=content-disposition;content-type;host;if-none-match;x-amz-content-sha256;x-amz-date;x-amz-security-token,"), "{authorization}");

    let host = server.host.replace("127.0.0.1", "localhost");
    let store = open(&server, &[("AddressingStyle", "virtual"), ("Host", &host)]);
    store.store(&object.0, &object.1, None, None).unwrap();
    let seen = server.state().requests.last().unwrap().clone();
    assert_eq!(
        format!("http://{}", seen.header("host")),
        host.replace("localhost", "files.localhost")
    );
    assert_eq!(seen.target, format!("/{}", object.0));
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
fn a_server_that_does_not_answer_is_given_up() {
    // Accepts and never reads: the backlog takes the connection.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", silent.local_addr().unwrap());
    let (server, _) = scripted(vec![]);
    for (given, bound) in [
        ([("ReadTimeout", "0.3"), ("Retries", "1")], 1.0),
        ([("Deadline", "0.5"), ("Retries", "9")], 0.7),
    ] {
        let store = open(&server, &[&[("Host", host.as_str())][..], &given].concat());
        for object in [content(10), content(30_000_000)] {
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
        (0.3..0.8).contains(&start.elapsed().as_secs_f64()),
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

#[test]
fn nothing_is_started_before_the_first_call() {
    let (server, store) = scripted(vec![]);
    assert!(store.local().is_idle());
    assert_eq!(server.methods(), [""; 0]);
}
