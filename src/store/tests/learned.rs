//! What the server teaches: region and clock. The other addressing style: see `options`.

use chrono::{TimeDelta, Utc};

use super::*;

const SCOPE: &str = "/eu-west-1/s3/aws4_request";

fn signed_for_eu(seen: &Seen) -> bool {
    seen.header("authorization").contains(SCOPE)
}

/// A server whose bucket is in eu-west-1, and that says so with `refusal`; HEAD gets its head alone.
fn server_in_eu(refusal: &'static str) -> Server {
    Server::with(move |seen, _| {
        if signed_for_eu(seen) {
            return None;
        }
        let refusal = match (seen.method.as_str(), refusal.split_once("\r\n\r\n")) {
            // Without the headers too: a bare 400.
            ("HEAD", _) => "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            _ => refusal,
        };
        Some(refusal.as_bytes().to_vec())
    })
}

#[test]
fn a_wrong_region_is_corrected_once_and_remembered() {
    let document =
        "<Error><Code>AuthorizationHeaderMalformed</Code><Message>expecting 'eu-west-1'</Message></Error>";
    let with_document = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{document}",
        document.len()
    );
    for refusal in [
        "HTTP/1.1 301 Moved\r\nx-amz-bucket-region: eu-west-1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 307 Moved\r\nLocation: https://files.s3.eu-west-1.amazonaws.com/x\r\nContent-Length: 0\r\n\r\n",
        with_document.leak(),
    ] {
        for size in [10, ASK_ABOVE + 1] {
            let server = server_in_eu(refusal);
            let store = open(&server, &[("Retries", "0")]);
            let object = content(size);
            put(&store, &object).unwrap();
            assert_stored(&server, &object);
            assert!(get(&store, &object.0).unwrap() == object.1);
            let wrong = server.state().requests.iter().filter(|seen| !signed_for_eu(seen)).count();
            assert_eq!(wrong, if size > ASK_ABOVE { 2 } else { 1 }, "{refusal}");
            let warnings = warnings(&store);
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].contains("set Region => 'eu-west-1'"), "{warnings:?}");
        }
    }
}

/// A server that always names another region than the one signed for.
#[test]
fn a_server_that_sends_around_is_left() {
    let server = Server::with(|seen, _| {
        let other = if signed_for_eu(seen) {
            "us-west-2"
        } else {
            "eu-west-1"
        };
        let head = format!("HTTP/1.1 301 Moved\r\nx-amz-bucket-region: {other}\r\nContent-Length: 0\r\n\r\n");
        Some(head.into_bytes())
    });
    let store = open(&server, &[]);
    for _ in 0..10 {
        let failed = get(&store, &Key::of(b"x")).unwrap_err();
        assert_eq!(failed.code(), Code::Config);
        assert!(failed.message().contains("another region"), "{failed}");
    }
    assert!(server.methods().len() <= 20, "{}", server.methods().len());
    assert!(warnings(&store).len() <= 4);
}

#[test]
fn no_other_host_is_followed() {
    let elsewhere = Server::start();
    let location = format!("{}/files/x", elsewhere.host);
    for status in [301, 302, 303, 307, 308] {
        let location = location.clone();
        let server = Server::with(move |_, _| {
            let head =
                format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            Some(head.into_bytes())
        });
        let store = open(&server, &[]);
        assert!(get(&store, &Key::of(b"x")).is_err());
        assert!(put(&store, &content(10)).is_err());
        assert_eq!(server.methods().len(), 2, "{status}");
    }
    assert_eq!(elsewhere.methods(), [""; 0]);
}

/// A server whose clock can be set, in seconds ahead of ours.
fn server_with_clock(ahead: Arc<std::sync::atomic::AtomicI64>) -> Server {
    Server::with(move |seen, state| {
        let now = Utc::now() + TimeDelta::seconds(ahead.load(Relaxed));
        let date = now.format("%a, %d %b %Y %H:%M:%S GMT");
        let signed =
            chrono::NaiveDateTime::parse_from_str(seen.header("x-amz-date"), "%Y%m%dT%H%M%SZ").unwrap();
        let skew = (now.naive_utc() - signed).num_seconds().abs();
        let answer = if skew <= 900 {
            state.answer(seen)
        } else if seen.method == "HEAD" {
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec()
        } else {
            error(403, "RequestTimeTooSkewed")
        };
        let dated = String::from_utf8_lossy(&answer).replacen("\r\n", &format!("\r\nDate: {date}\r\n"), 1);
        Some(dated.into_bytes())
    })
}

#[test]
fn a_clock_that_is_off_is_corrected_until_it_is_right() {
    let ahead = Arc::new(std::sync::atomic::AtomicI64::new(0));
    let server = server_with_clock(Arc::clone(&ahead));
    let store = open(&server, &[("Retries", "0")]);
    let object = (Key::of(b"text"), b"text".to_vec());
    put(&store, &object).unwrap();
    for (seconds, asked, warned) in [
        (1200, 2, Some("1200 s behind")),
        (1201, 1, None),
        (0, 2, Some("right again")),
        (-1300, 2, Some("ahead of")),
        (-3, 2, Some("right again")),
        (600, 1, None),
        (86_400, 2, Some("behind")),
    ] {
        ahead.store(seconds, Relaxed);
        server.state().requests.clear();
        assert!(get(&store, &object.0).unwrap() == object.1, "{seconds}");
        assert_eq!(server.methods().len(), asked, "{seconds}");
        let warnings = warnings(&store);
        match warned {
            Some(text) => assert!(warnings.len() == 1 && warnings[0].contains(text), "{warnings:?}"),
            None => assert_eq!(warnings, [""; 0]),
        }
    }
}

/// HEAD can't say why.
#[test]
fn a_clock_that_is_off_is_corrected_after_head() {
    let ahead = Arc::new(std::sync::atomic::AtomicI64::new(5000));
    let server = server_with_clock(Arc::clone(&ahead));
    let store = open(&server, &[("Retries", "0")]);
    let failed = store.head(&Key::of(b"x"), None).unwrap_err();
    assert_eq!(failed.code(), Code::NotFound, "{failed}");
    assert_eq!(server.methods(), ["HEAD", "HEAD"]);
}

/// The clock is right, and still the server says no: no loop.
#[test]
fn a_server_with_strange_ideas_of_time_is_left() {
    let server = Server::with(|_, _| Some(error(403, "RequestTimeTooSkewed")));
    let store = open(&server, &[]);
    let failed = get(&store, &Key::of(b"x")).unwrap_err();
    assert_eq!(failed.code(), Code::Credentials);
    assert_eq!(server.methods(), ["GET"]);
    let moving = Arc::new(std::sync::atomic::AtomicI64::new(0));
    let server = Server::with(move |_, _| {
        let off = moving.fetch_add(100_000, Relaxed) + 100_000;
        let date = (Utc::now() + TimeDelta::seconds(off)).format("%a, %d %b %Y %H:%M:%S GMT");
        let answer = String::from_utf8(error(403, "RequestTimeTooSkewed")).unwrap();
        Some(
            answer
                .replacen("\r\n", &format!("\r\nDate: {date}\r\n"), 1)
                .into_bytes(),
        )
    });
    let store = open(&server, &[("Retries", "0")]);
    assert!(get(&store, &Key::of(b"x")).is_err());
    assert!(server.methods().len() <= 4, "{:?}", server.methods());
}
