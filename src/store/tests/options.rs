//! Options whose effect is seen by the server. It plays the proxy where the host's name matters.

use super::*;

const AWS: [(&str, &str); 1] = [("Host", "http://s3.amazonaws.com")];

/// A store at AWS, or so it believes.
fn at_aws(server: &Server, given: &[(&str, &str)]) -> Store {
    open(server, &[&AWS[..], &[("Proxy", &server.host)], given].concat())
}

fn aws_path(key: &Key) -> String {
    format!("http://files.s3.amazonaws.com/{key}")
}

#[test]
fn a_proxy_is_asked_for_the_whole_url() {
    let server = Server::start();
    let user = server.host.replace("http://", "http://me:hunter%402@");
    let store = open(&server, &[&AWS[..], &[("Proxy", user.as_str())]].concat());
    let object = content(10);
    put(&store, &object).unwrap();
    assert_eq!(get(&store, &object.0).unwrap(), object.1);
    let state = server.state();
    let seen = &state.requests[0];
    assert_eq!(seen.target, aws_path(&object.0));
    assert_eq!(seen.header("host"), "files.s3.amazonaws.com");
    assert_eq!(
        seen.header("proxy-authorization"),
        format!("Basic {}", base64::encode("me:hunter@2"))
    );
    assert!(
        !seen.header("authorization").contains("proxy"),
        "the signature does not cover the proxy's header"
    );
}

#[test]
fn a_tunnel_is_opened_for_https() {
    for (reply, expected) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "it wants a user and a password",
        ),
        ("HTTP/1.1 503 Busy\r\n\r\n", "it answers 'HTTP/1.1 503 Busy'"),
        (
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "no TLS with files.s3.amazonaws.com",
        ),
    ] {
        let server =
            Server::with(move |seen, _| (seen.method == "CONNECT").then(|| reply.as_bytes().to_vec()));
        let store = open(
            &server,
            &[
                ("Host", "s3.amazonaws.com"),
                ("Proxy", &server.host),
                ("Retries", "0"),
            ],
        );
        let failed = get(&store, &Key::of(b"x")).unwrap_err();
        assert_eq!(failed.code(), Code::Network);
        assert!(failed.message().contains(expected), "{failed}");
        assert_eq!(server.state().requests[0].target, "files.s3.amazonaws.com:443");
    }
}

#[test]
fn what_is_written_goes_with_what_was_asked_for() {
    let server = Server::start();
    let store = open(
        &server,
        &[
            ("ServerSideEncryption", "aws:kms"),
            ("SSEKMSKeyId", "alias/rt"),
            ("StorageClass", "STANDARD_IA"),
            ("ExpectedBucketOwner", "123456789012"),
            ("Checksum", "always"),
        ],
    );
    let object = content(10);
    put(&store, &object).unwrap();
    get(&store, &object.0).unwrap();
    store.head(&object.0, None).unwrap();
    store.probe(None).unwrap();
    store.delete(&object.0, None).unwrap();
    let state = server.state();
    let written = [
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "alias/rt"),
        ("x-amz-storage-class", "STANDARD_IA"),
    ];
    for seen in &state.requests {
        assert_eq!(
            seen.header("x-amz-expected-bucket-owner"),
            "123456789012",
            "{}",
            seen.method
        );
        for (name, value) in written {
            let expected = if ["PUT", "POST"].contains(&seen.method.as_str()) {
                value
            } else {
                ""
            };
            assert_eq!(seen.header(name), expected, "{} {name}", seen.method);
        }
        let expected = if seen.method == "PUT" {
            object.0.base64()
        } else {
            String::new()
        };
        assert_eq!(seen.header("x-amz-checksum-sha256"), expected, "{}", seen.method);
    }
    assert_eq!(state.requests.len(), 6);
}

#[test]
fn encryption_that_the_server_ignores_is_warned_about_once() {
    let server = Server::start();
    let store = open(&server, &[("ServerSideEncryption", "AES256")]);
    for size in [10, 20] {
        put(&store, &content(size)).unwrap();
    }
    let warnings = warnings(&store);
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("ignore the option ServerSideEncryption"),
        "{warnings:?}"
    );
    let server = Server::with(|_, _| {
        Some(answer(
            200,
            "ETag: \"1\"\r\nx-amz-server-side-encryption: AES256\r\n",
            b"",
        ))
    });
    let store = open(&server, &[("ServerSideEncryption", "AES256")]);
    put(&store, &content(10)).unwrap();
    assert_eq!(super::warnings(&store), [""; 0]);
}

#[test]
fn nothing_is_sent_that_was_not_asked_for() {
    let server = Server::start();
    let object = content(10);
    put(&open(&server, &[]), &object).unwrap();
    let sent: Vec<String> = server.state().requests[0].headers.keys().cloned().collect();
    let expected = [
        "authorization",
        "content-length",
        "content-type",
        "host",
        "if-none-match",
        "user-agent",
        "x-amz-content-sha256",
        "x-amz-date",
    ];
    assert_eq!(sent, expected);
}

#[test]
fn the_checksum_goes_to_aws_unless_told_otherwise() {
    for (given, sent) in [("auto", true), ("never", false), ("always", true)] {
        let server = Server::start();
        let object = content(10);
        put(&at_aws(&server, &[("Checksum", given)]), &object).unwrap();
        let seen = server.state().requests[0].clone();
        assert_eq!(!seen.header("x-amz-checksum-sha256").is_empty(), sent, "{given}");
    }
}

/// AWS computes the checksum that it keeps; another server may keep what it was sent.
#[test]
fn a_kept_checksum_is_believed_at_aws_only() {
    for size in [10, ASK_ABOVE + 1] {
        let object = content(size);
        let told = format!(
            "ETag: \"1\"\r\nx-amz-checksum-sha256: {}\r\nContent-Length: {size}\r\n",
            object.0.base64()
        );
        let hook = move |seen: &crate::s3::testing::Seen, _: &mut crate::s3::testing::State| {
            (seen.method == "HEAD").then(|| format!("HTTP/1.1 200 OK\r\n{told}\r\n").into_bytes())
        };
        let server = Server::with(hook.clone());
        server
            .state()
            .objects
            .insert(aws_path(&object.0), object.1.clone());
        put(&at_aws(&server, &[]), &object).unwrap();
        assert_eq!(server.methods().last().unwrap(), "HEAD", "not read back");

        // The same answer elsewhere: the object is damaged.
        let server = Server::with(hook);
        server
            .state()
            .objects
            .insert(format!("/files/{}", object.0), vec![7; size]);
        put(&open(&server, &[]), &object).unwrap();
        assert_stored(&server, &object);
    }
}

/// A checksum of another content, or of parts, or none: read back.
#[test]
fn a_checksum_that_does_not_fit_is_not_believed() {
    let object = content(10);
    for told in [
        Key::of(b"other").base64(),
        format!("{}\r\nx-amz-checksum-type: COMPOSITE", object.0.base64()),
    ] {
        let server = Server::with(move |seen, _| {
            (seen.method == "HEAD").then(|| {
                format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 10\r\nx-amz-checksum-sha256: {told}\r\n\r\n").into_bytes()
            })
        });
        server.state().objects.insert(aws_path(&object.0), vec![7; 10]);
        put(&at_aws(&server, &[]), &object).unwrap();
        assert!(server.state().objects[&aws_path(&object.0)] == object.1);
    }
}

#[test]
fn the_other_addressing_style_is_tried_once() {
    let server = Server::with(|seen, _| {
        let by_path = seen.target.starts_with("/files/");
        by_path.then(|| error(403, "SecondLevelDomainForbidden"))
    });
    let host = server.host.replace("127.0.0.1", "localhost");
    let store = open(&server, &[("Host", &host), ("Retries", "0")]);
    let object = content(10);
    put(&store, &object).unwrap();
    assert_eq!(get(&store, &object.0).unwrap(), object.1);
    assert_eq!(
        server.methods(),
        ["PUT if-none-match:*", "PUT if-none-match:*", "GET"]
    );
    let warnings = warnings(&store);
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("set AddressingStyle => 'virtual'"),
        "{warnings:?}"
    );
    assert!(store
        .direct_url(&object.0, About::default())
        .unwrap()
        .starts_with(&host.replace("//", "//files.")));

    for given in [("AddressingStyle", "path"), ("Bucket", "Files")] {
        let server = Server::with(|_, _| Some(error(403, "SecondLevelDomainForbidden")));
        let store = open(&server, &[given]);
        assert!(get(&store, &object.0).is_err());
        assert_eq!(server.methods(), ["GET"], "{given:?}");
    }
    let server = Server::with(|_, _| Some(error(403, "SecondLevelDomainForbidden")));
    let store = open(
        &server,
        &[("Host", &server.host.replace("127.0.0.1", "localhost"))],
    );
    for _ in 0..2 {
        assert!(get(&store, &object.0).is_err());
    }
    assert_eq!(server.methods(), ["GET", "GET", "GET"], "no loop");
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
