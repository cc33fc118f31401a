//! Store, Get and Delete against a server that may do anything; each test looks into the bucket.

mod addresses;
mod answers;
mod copies;
mod learned;
mod options;
mod outage;
mod resume;
mod slow;
mod trouble;
mod upload;

use super::upload::Discard;
use super::*;
use crate::s3::testing::{answer, error, Seen, Server, State};
use crate::s3::ASK_ABOVE;

const IF_NEW: &str = "PUT if-none-match:*";

fn open(server: &Server, given: &[(&str, &str)]) -> Store {
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

fn content(size: usize) -> (Key, Vec<u8>) {
    let content: Vec<u8> = (0..size as u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(size)
        .collect();
    (Key::of(&content), content)
}

fn path(key: &Key) -> String {
    format!("/files/{key}")
}

fn put(store: &Store, (key, content): &(Key, Vec<u8>)) -> Result<()> {
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

    fn content(&self, size: usize) -> Option<&[u8]> {
        self.get(..size)
    }
}

fn get(store: &Store, key: &Key) -> Result<Vec<u8>> {
    let mut output = Vec::new();
    let size = store.get(key, &mut output, None)?;
    output.truncate(size as usize);
    Ok(output)
}

fn assert_stored(server: &Server, (key, content): &(Key, Vec<u8>)) {
    assert!(
        server.state().objects.get(&path(key)) == Some(content),
        "not stored whole"
    );
}

/// Leaves out the one about http://, which every store of these tests has.
fn warnings(store: &Store) -> Vec<String> {
    std::iter::from_fn(|| store.next_message())
        .filter(|message| message.level == Level::Warning)
        .map(|message| message.text)
        .filter(|text| !text.starts_with("option Host begins with http://"))
        .collect()
}

#[test]
fn small_content_takes_one_round_trip_and_one_connection() {
    let (server, store) = scripted(vec![]);
    for size in [0, 1, 10_000, ASK_ABOVE] {
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
fn a_duplicate_is_believed_only_when_whole() {
    for size in [1000, ASK_ABOVE + 1] {
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

/// moto 5.2.5 answers so to a form, and keeps nothing.
#[test]
fn success_with_the_etag_of_nothing_is_none() {
    let nothing = answer(200, "ETag: \"d41d8cd98f00b204e9800998ecf8427e\"\r\n", b"");
    let (server, store) = scripted(vec![Some(nothing.clone())]);
    let object = content(1000);
    put(&store, &object).unwrap();
    assert_stored(&server, &object);
    let (_server, store) = scripted(vec![Some(nothing)]);
    put(&store, &content(0)).unwrap();
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
    for (checksum, mode) in [("auto", ""), ("never", ""), ("always", "ENABLED")] {
        let server = Server::start();
        let store = open(&server, &[("Checksum", checksum)]);
        assert_eq!(store.head(&object.0, None).unwrap_err().code(), Code::NotFound);
        put(&store, &object).unwrap();
        let told = Head {
            size: Some(1000),
            checksum: None,
        };
        assert_eq!(store.head(&object.0, None).unwrap(), told);
        let state = server.state();
        let sent = state.requests.last().unwrap().header("x-amz-checksum-mode");
        assert_eq!(sent, mode, "another server may refuse it");
    }
    let kept = base64::encode(object.0.as_bytes());
    let is_kept = [
        ("x-amz-checksum-type: FULL_OBJECT", true),
        ("x-amz-checksum-type: COMPOSITE", false),
        ("x-amz-storage-class: GLACIER_IR", true),
        ("x-amz-storage-class: DEEP_ARCHIVE", false),
        (
            "x-amz-storage-class: GLACIER\r\nx-amz-restore: ongoing-request=\"true\"",
            false,
        ),
        (
            "x-amz-storage-class: GLACIER\r\nx-amz-restore: ongoing-request=\"false\"",
            true,
        ),
        ("x-amz-archive-status: ARCHIVE_ACCESS", false),
    ];
    let told = |(lines, _): &(&str, bool)| {
        let head = "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 1000";
        Some(format!("{head}\r\nx-amz-checksum-sha256: {kept}\r\n{lines}\r\n\r\n").into_bytes())
    };
    let (_server, store) = scripted(is_kept.iter().map(told).collect());
    for (lines, is_kept) in is_kept {
        let checksum = store.head(&object.0, None).unwrap().checksum;
        assert_eq!(checksum, is_kept.then_some(object.0), "{lines}");
    }
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

#[test]
fn nothing_is_started_before_the_first_call() {
    let (server, store) = scripted(vec![]);
    assert!(store.local().is_idle());
    assert_eq!(server.methods(), [""; 0]);
}
