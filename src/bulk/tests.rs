use super::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::config::Config;
use crate::s3::testing::{error, Server};

fn store(server: &Server, more: &[(&str, &str)]) -> &'static Store {
    let fixed = [
        ("Bucket", "files"),
        ("Host", server.host.as_str()),
        ("AccessKeyId", "ID"),
        ("SecretAccessKey", "secret"),
    ];
    let (config, mistakes) =
        Config::parse_in(fixed.into_iter().chain(more.iter().copied()), |_| None).unwrap();
    Box::leak(Box::new(Store::new(config, mistakes)))
}

fn finish(bulk: &Bulk) -> BTreeMap<u64, Result<(Key, bool)>> {
    let mut results = BTreeMap::new();
    while bulk.outstanding() > 0 {
        if let Some(done) = bulk.wait(LONGEST_WAIT) {
            assert!(results.insert(done.id, done.result).is_none(), "twice");
        }
    }
    results
}

#[test]
fn many_contents_are_stored_at_once() {
    let under_way = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let server = Server::slow(
        Duration::from_millis(20),
        Arc::clone(&under_way),
        Arc::clone(&most),
    );
    let bulk = Bulk::new(store(&server, &[]), 8, 1 << 20);
    let contents: Vec<Vec<u8>> = (0..100u8).map(|n| vec![n; 100]).collect();
    for (id, content) in contents.iter().enumerate() {
        let key = Key::of(content);
        let key = Some(&key).filter(|_| id % 2 == 0);
        assert!(bulk.submit(id as u64, key, content, Some("text/plain")).unwrap());
    }
    let results = finish(&bulk);
    assert_eq!(results.len(), 100);
    for (id, content) in contents.iter().enumerate() {
        let (key, was_there) = results[&(id as u64)].as_ref().unwrap();
        assert_eq!((*key, *was_there), (Key::of(content), false));
        assert_eq!(server.state().objects[&format!("/files/{key}")], *content);
    }
    assert!((4..=8).contains(&most.load(Relaxed)), "{most:?}");
    assert!(bulk.wait(LONGEST_WAIT).is_none(), "nothing to wait for");
}

#[test]
fn room_is_bounded() {
    let server = Server::start();
    let bulk = Bulk::new(store(&server, &[]), 2, 10_000);
    assert!(bulk.submit(0, None, &[0; 50_000], None).unwrap(), "alone");
    assert!(!bulk.submit(1, None, &[1; 10], None).unwrap());
    assert!(finish(&bulk)[&0].is_ok());
    let mut refused = 0;
    for id in 1..200 {
        while !bulk
            .submit(id, None, &id.to_be_bytes().repeat(300), None)
            .unwrap()
        {
            refused += 1;
            assert!(bulk.shared.state().held <= 10_000);
            bulk.wait(LONGEST_WAIT);
        }
    }
    assert!(refused > 0);
}

#[test]
fn each_failure_is_its_own() {
    let server = Server::with(|seen, _| (seen.body == b"bad").then(|| error(403, "AccessDenied")));
    let bulk = Bulk::new(store(&server, &[]), 4, 1 << 20);
    let wrong = Key::of(b"another");
    assert!(bulk.submit(1, None, b"good", None).unwrap());
    assert!(bulk.submit(2, None, b"bad", None).unwrap());
    assert!(bulk.submit(3, Some(&wrong), b"good", None).unwrap());
    let results = finish(&bulk);
    assert!(results[&1].is_ok());
    assert!(bulk.submit(4, None, b"good", None).unwrap());
    assert!(finish(&bulk)[&4].as_ref().unwrap().1, "it was there");
    assert_eq!(results[&2].as_ref().unwrap_err().code(), Code::Denied);
    assert_eq!(results[&3].as_ref().unwrap_err().code(), Code::Mismatch);
}

#[test]
fn it_ends_at_once() {
    let server = Server::slow(Duration::from_secs(60), Arc::default(), Arc::default());
    let bulk = Bulk::new(store(&server, &[]), 4, 1 << 20);
    for id in 0..20 {
        assert!(bulk.submit(id, None, &[id as u8], None).unwrap());
    }
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    drop(bulk);
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn waiting_is_bounded() {
    let server = Server::slow(Duration::from_secs(60), Arc::default(), Arc::default());
    let bulk = Bulk::new(store(&server, &[]), 1, 1 << 20);
    assert!(bulk.submit(0, None, b"x", None).unwrap());
    let start = Instant::now();
    assert!(bulk.wait(Duration::from_secs(50)).is_none());
    assert!(start.elapsed() < Duration::from_secs(1) && start.elapsed() >= LONGEST_WAIT);
}
