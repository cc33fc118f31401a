//! Answers that say success and are none, or that would keep whoever reads them busy.

use std::time::Instant;

use super::*;

const HTML: &str = "Content-Type: text/html\r\nETag: \"1\"\r\n";
const XML: &str = "Content-Type: application/xml\r\nETag: \"1\"\r\n";

/// Breaks off every whole answer, and gives the rest as `rest` says.
fn breaking(object: &[u8], rest: impl Fn(usize) -> Vec<u8> + Send + 'static) -> Server {
    let whole = answer(200, "ETag: \"1\"\r\n", object);
    Server::with(move |seen, _| {
        let range = seen.header("range").trim_start_matches("bytes=");
        Some(match range.trim_end_matches('-').parse() {
            Ok(from) => rest(from),
            Err(_) => whole[..whole.len() - 400].to_vec(),
        })
    })
}

/// What is not the rest of the object says nothing about the object.
#[test]
fn a_part_that_does_not_say_which_is_no_damage() {
    let object = content(1000);
    for status in [204, 205, 206] {
        let bytes = object.1.clone();
        let server = breaking(&bytes.clone(), move |from| {
            answer(status, "ETag: \"1\"\r\n", &bytes[from..])
        });
        let store = open(&server, &[("Retries", "1")]);
        let failed = get(&store, &object.0).unwrap_err();
        assert_eq!(failed.code(), Code::Server, "{failed}");
    }
}

/// Where an answer does not tell its length, the connection's end may be too early.
#[test]
fn an_answer_of_unknown_length_that_ends_early_is_no_damage() {
    let object = content(1000);
    let whole = [b"HTTP/1.0 200 OK\r\nETag: \"1\"\r\n\r\n", object.1.as_slice()].concat();
    let cut = whole[..500].to_vec();
    let (_server, store) = scripted(vec![Some(cut.clone()), Some(whole)]);
    assert!(get(&store, &object.0).unwrap() == object.1);
    let (_server, store) = scripted(vec![Some(cut); 9]);
    let failed = get(&store, &object.0).unwrap_err();
    assert_eq!(failed.code(), Code::Network, "{failed}");
}

/// A duplicate that arrived damaged is looked at once more before anything is said or written.
#[test]
fn damage_on_the_way_does_not_condemn_a_duplicate() {
    let object = content(1000);
    let damaged = answer(200, "ETag: \"1\"\r\n", &[7; 1000]);
    let (server, store) = scripted(vec![None, Some(damaged)]);
    server.state().objects.insert(path(&object.0), object.1.clone());
    put(&store, &object).unwrap();
    assert_eq!(server.methods(), [IF_NEW, "GET", "GET"]);
    assert_eq!(warnings(&store), [""; 0]);
}

#[test]
fn a_failure_within_a_success_is_none() {
    let object = content(1000);
    let busy = "<Error><Code>InternalError</Code><Message>busy</Message></Error>";
    let (server, store) = scripted(vec![Some(answer(200, XML, busy.as_bytes()))]);
    put(&store, &object).unwrap();
    assert_stored(&server, &object);

    for (headers, body, says) in [
        (XML, busy, "InternalError: busy"),
        (HTML, "<html>Log in<br></html>", "not S3's"),
    ] {
        let (server, store) = scripted(vec![Some(answer(200, headers, body.as_bytes())); 10]);
        let failed = put(&store, &object).unwrap_err();
        assert_eq!(failed.code(), Code::Server, "{failed}");
        assert!(failed.message().contains(says), "{failed}");
        let failed = store.delete(&object.0, None).unwrap_err();
        assert_eq!(failed.code(), Code::Server, "{failed}");
        assert!(server.state().objects.is_empty());
    }
}

/// What HEAD tells of an HTML file, and success without a body, are not read.
#[test]
fn the_type_of_an_object_is_no_document() {
    let object = content(5);
    let head = format!("HTTP/1.1 200 OK\r\n{HTML}Content-Length: 5\r\n\r\n").into_bytes();
    let empty = answer(200, HTML, b"");
    let (_server, store) = scripted(vec![Some(head), Some(empty)]);
    assert_eq!(store.head(&object.0, None).unwrap().size, Some(5));
    put(&store, &object).unwrap();
}

#[test]
fn a_listing_that_breaks_off_is_the_connections_fault() {
    let listing = answer(200, XML, b"<ListBucketResult><IsTruncated>false</IsTruncated>");
    let cut = [&listing[..listing.len() - 10], b""].concat();
    let (_server, store) = scripted(vec![Some(cut); 9]);
    let failed = store.list(None, None).unwrap_err();
    assert_eq!(failed.code(), Code::Network, "{failed}");
    assert!(
        failed
            .message()
            .contains("the connection broke within the answer"),
        "{failed}"
    );
    let (_server, store) = scripted(vec![Some(listing); 9]);
    let failed = store.list(None, None).unwrap_err();
    assert_eq!(failed.code(), Code::Server, "{failed}");
}

#[test]
fn interim_answers_have_an_end() {
    let flood = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(400_000);
    let (server, _) = scripted(vec![Some(flood)]);
    let store = open(&server, &[("Retries", "0")]);
    let failed = get(&store, &Key::of(b"x")).unwrap_err();
    assert!(
        failed.message().contains("an answer whose head never ends"),
        "{failed}"
    );
}

#[test]
fn an_object_has_one_size() {
    let head = |lengths: &str| format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\n{lengths}\r\n").into_bytes();
    let (same, two) = (
        head("Content-Length: 5\r\nContent-Length: 5\r\n"),
        head("Content-Length: 5\r\nContent-Length: 6\r\n"),
    );
    let (server, _) = scripted(vec![Some(same), Some(two)]);
    let store = open(&server, &[("Retries", "0")]);
    assert_eq!(store.head(&content(5).0, None).unwrap().size, Some(5));
    let failed = store.head(&content(5).0, None).unwrap_err();
    assert_eq!(failed.code(), Code::Server, "{failed}");
    assert!(
        failed.message().contains("the answer's content-length is '6'"),
        "{failed}"
    );
}

/// Reading it would take longer with every level.
#[test]
fn documents_that_nest_without_end_are_not_read() {
    let start = Instant::now();
    let nested = "<a>".repeat(80_000);
    let failing = answer(500, XML, format!("<Error>{nested}").as_bytes());
    let endless = answer(
        200,
        XML,
        format!("<ListBucketResult>{}", nested.repeat(4)).as_bytes(),
    );
    let crowded = format!("<ListBucketResult>{}</ListBucketResult>", "<a/>".repeat(60_000));
    let crowded = answer(200, XML, crowded.as_bytes());
    let (server, _) = scripted(vec![
        Some(failing),
        Some(endless.clone()),
        Some(endless),
        Some(crowded),
    ]);
    let store = open(&server, &[("Retries", "0")]);
    assert_eq!(get(&store, &Key::of(b"x")).unwrap_err().code(), Code::Server);
    assert_eq!(store.list(None, None).unwrap_err().code(), Code::Server);
    assert_eq!(store.inspect("acl", None).unwrap_err().code(), Code::Server);
    let failed = store.list(None, None).unwrap_err();
    assert!(failed.message().contains("can't be parsed"), "{failed}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}
